// One function. What it greets with comes from the environment of the release.
const { capitalize } = require('./words');

module.exports = {
  greet: (name) => `${process.env.GREETING ?? 'Hi'}, ${capitalize(name)}!`,
};
