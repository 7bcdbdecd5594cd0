// Text functions: every function of module.exports can be called.
'use strict';

const { createHash } = require('node:crypto');
const { readFile } = require('node:fs/promises');

/** "Crème brûlée, twice!" → "creme-brulee-twice" */
function slugify(text) {
  return text
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');
}

/** The first words of a text, with an ellipsis if words were left out. */
function excerpt(text, words = 10) {
  const all = text.split(/\s+/).filter(Boolean);
  return all.length <= words ? all.join(' ') : all.slice(0, words).join(' ') + ' …';
}

/** Puts values into a template: fill("Hello {{name}}", { name: "Ada" }). */
function fill(template, values) {
  return template.replace(/\{\{(\w+)\}\}/g, (_, name) => {
    if (!Object.hasOwn(values, name)) throw new Error(`the template needs a value for "${name}"`);
    return String(values[name]);
  });
}

/** The digest of this file; an async function, which the gateway awaits. */
async function fingerprint() {
  const source = await readFile(__filename);
  return createHash('sha256').update(source).digest('hex').slice(0, 16);
}

module.exports = { slugify, excerpt, fill, fingerprint };
