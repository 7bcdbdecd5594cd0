module.exports = { slugify: (text) => text.toLowerCase().match(/[a-z0-9]+/g).join('-') };
