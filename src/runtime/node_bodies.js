// Arguments that are bytes and files of a request's body. node.js loads this for the first call with such a body.
'use strict';

const buffer = require('buffer');
const fs = require('fs');

const contents = new WeakMap(); // of files: their bytes, or the path where they are

// The arguments of a call whose body has bytes or files: a promise if files are on disk.
function open({ body, args }) {
  if (body === 'bytes') return [Buffer.from(args[0], 'base64')];
  const opened = args.map((value) => (Array.isArray(value) ? all(value.map(openField)) : openField(value)));
  return all(opened);
}

// A promise only if one of the values is one.
function all(values) {
  return values.some((value) => value instanceof Promise) ? Promise.all(values) : values;
}

function openField(value) {
  if (value === null || typeof value !== 'object') return value;
  const { path, base64 } = value;
  if (typeof path !== 'string') return fileOf(Buffer.from(base64 ?? '', 'base64'), value);
  if (fs.openAsBlob === undefined) return fileOf(fs.readFileSync(path), value);
  return fs.openAsBlob(path).then((blob) => fileOf(blob, value));
}

function fileOf(content, { filename, type, path }) {
  const File = globalThis.File ?? buffer.File; // Node 18 has it there only; it takes some milliseconds to load
  const file = new File([content], filename ?? '', { type: type ?? '' });
  contents.set(file, path ?? content);
  return file;
}

// The bytes of a file that came with a call, or undefined for other values.
function bytesOf(file) {
  const content = typeof file === 'object' && file !== null ? contents.get(file) : undefined;
  return typeof content === 'string' ? fs.readFileSync(content) : content;
}

function isFile(value) {
  return typeof value === 'object' && value !== null && contents.has(value);
}

module.exports = { open, bytesOf, isFile };
