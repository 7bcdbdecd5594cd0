// Values of HTTP headers. In Node each character of one is a byte; messages of the gateway have text.
'use strict';

const { isUtf8 } = require('buffer');

const ASCII = /^[\0-\x7f]*$/;

// The value of a message as Node has it.
function toBytes(text) {
  return ASCII.test(text) ? text : Buffer.from(text).toString('latin1');
}

// The value of Node as the text of a message: what its bytes say in UTF-8, if they are that.
function toText(value) {
  if (ASCII.test(value)) return value;
  const bytes = Buffer.from(value, 'latin1');
  return isUtf8(bytes) ? bytes.toString() : value;
}

module.exports = { toBytes, toText };
