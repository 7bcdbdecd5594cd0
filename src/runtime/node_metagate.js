// The module `metagate` of functions: `require('metagate')` and `import … from 'metagate'`. Its types are in
// types/metagate.d.ts.
'use strict';

const { inspect } = require('util');
const { current } = require('./node_requests.js');

const TRACEPARENT = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-/;
const LEVELS = ['debug', 'info', 'warn', 'error'];

// The HTTP request of the call that runs.
function request() {
  const found = current();
  if (found !== undefined) return found;
  throw new Error('request() is only known inside a call; import metagate at the top of the script');
}

// Writes one line of JSON with the ids of the request and of its trace: log([level,] message [, fields]).
function log(...given) {
  const isLevel = given.length > 1 && LEVELS.includes(given[0]) && typeof given[1] !== 'object';
  const [level, message, fields] = isLevel ? given : ['info', ...given];
  const own = { level, message: typeof message === 'string' ? message : inspect(message) };
  const call = current();
  if (call !== undefined) {
    own.request_id = call.id;
    const [, trace_id, span_id] = TRACEPARENT.exec(call.headers.get('traceparent')) ?? [];
    if (trace_id !== undefined) Object.assign(own, { trace_id, span_id });
  }
  process.stdout.write(`${lineOf({ ...own, ...fields, ...own })}\n`);
}

function lineOf(record) {
  try {
    return JSON.stringify(record, (key, value) => {
      if (typeof value === 'bigint') return String(value);
      if (value instanceof Error) return value.stack ?? String(value);
      return value;
    });
  } catch {
    const { level, message, request_id, ...fields } = record; // a field that has no JSON, such as a cycle
    return JSON.stringify({ level, message, request_id, fields: inspect(fields, { breakLength: Infinity }) });
  }
}

// Node makes these when they are first looked at, which takes some milliseconds. Node 18 has `File` elsewhere.
const classes = {
  get Response() { return globalThis.Response; },
  get File() { return globalThis.File ?? require('buffer').File; },
};

exports.request = request;
exports.log = log;
// Written so that Node finds the names for `import { Response } from 'metagate'`.
Object.defineProperty(exports, 'Response', { enumerable: true, get: function () { return classes.Response; } });
Object.defineProperty(exports, 'File', { enumerable: true, get: function () { return classes.File; } });
