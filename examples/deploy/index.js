// One function. The greeting is a variable of the release.
const { capitalize } = require('./words');

module.exports = {
  greet: (name) => `${process.env.GREETING ?? 'Hi'}, ${capitalize(name)}!`,
};
