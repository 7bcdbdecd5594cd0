// Results that are more than a value: a `Response` of the Web, or of a library with the same shape, and generators,
// iterators and streams. node.js loads this for the first result that is an object of a class.
'use strict';

const { STATUS_CODES } = require('http');
const { types } = require('util');
const { toText } = require('./node_header_text.js');

module.exports = function answers(worker) {
  // Answers the call if its result is more than a value.
  function answer(id, result) {
    if (isResponse(result)) {
      respond(id, result);
      return true;
    }
    const source = sourceOf(result);
    if (source === undefined) return false;
    if (isBytes(result)) {
      worker.part('streams').sendBody(id, { status: 200, headers: [['content-type', BINARY]] }, source);
    } else worker.part('streams').sendItems(id, source);
    return true;
  }

  // Answers the call with a Response, without the body if the request was for its head only.
  function respond(id, response, hasBody = true) {
    let head;
    let source;
    try {
      head = headOf(response);
      if (response.bodyUsed) throw plainError('the body of the Response has been read already');
      source = hasBody ? bodyOf(response.body) : undefined;
      if (!hasBody) response.body?.cancel?.().catch(() => {});
    } catch (thrown) {
      worker.fail(id, worker.describeError(thrown));
      return;
    }
    if (source === undefined) worker.respond(id, head);
    else worker.part('streams').sendBody(id, head, source);
  }

  return { answer, respond, sourceOf };
};

const BINARY = 'application/octet-stream';

function isResponse(value) {
  const { status, headers, arrayBuffer } = value;
  return typeof status === 'number' && typeof headers?.forEach === 'function' && typeof arrayBuffer === 'function';
}

function headOf({ status, headers }) {
  if (!(status >= 200 && status <= 599)) throw plainError(`a Response of status ${status} cannot be sent`);
  const pairs = [];
  headers.forEach((value, name) => {
    if (name.toLowerCase() !== 'set-cookie') pairs.push([name, toText(value)]);
  });
  const cookies = headers.getSetCookie?.() ?? headers.raw?.()['set-cookie'] ?? headers.get('set-cookie') ?? [];
  for (const cookie of [cookies].flat()) pairs.push(['set-cookie', toText(cookie)]);
  return { status, headers: pairs };
}

function plainError(message) {
  const error = new TypeError(message);
  error.stack = undefined; // it would show frames of the worker, none of the function
  return error;
}

// The source of a body: a stream, or with some libraries its bytes.
function bodyOf(body) {
  return typeof body === 'string' || types.isUint8Array(body) ? sourceOf([body].values()) : sourceOf(body);
}

// {next, close} of anything that gives values one after another, or undefined. `close` gives up what is left.
function sourceOf(value) {
  if (value === null || value === undefined) return undefined;
  if (typeof value.getReader === 'function') {
    const reader = value.getReader();
    return { next: () => reader.read(), close: () => reader.cancel() };
  }
  if (isReadable(value)) {
    const iterator = value[Symbol.asyncIterator]();
    return { next: () => iterator.next(), close: () => { value.destroy(); } };
  }
  const iterator = value[Symbol.asyncIterator]?.() ?? value;
  if (typeof iterator.next !== 'function') return undefined;
  return { next: () => iterator.next(), close: () => iterator.return?.() };
}

function isReadable(value) {
  return typeof value.pipe === 'function' && typeof value.destroy === 'function'
    && typeof value[Symbol.asyncIterator] === 'function';
}

// Whether a Readable gives bytes: its pieces are no values.
function isBytes(value) {
  return isReadable(value) && value.readableObjectMode === false && value.readableEncoding === null;
}

// What a thrown error says of the answer: {status, headers}, of libraries such as http-errors, or nothing. The text of
// an error that is not meant for callers is replaced as Express and Koa do.
function answerOf(thrown) {
  const { status, statusCode, status_code: snake, headers, expose } = thrown;
  const found = [status, statusCode, snake].find((one) => Number.isInteger(one) && one >= 400 && one <= 599);
  if (found === undefined) return undefined;
  const own = types.isProxy(headers) || headers === null || typeof headers !== 'object' ? {} : headers;
  const isText = (value) => typeof value === 'string' || typeof value === 'number';
  const pairs = Object.entries(own).filter(([, value]) => isText(value)).map(([name, value]) => [name, String(value)]);
  const told = pairs.length === 0 ? {} : { headers: pairs };
  const hidden = expose === false ? { message: STATUS_CODES[found] ?? String(found) } : {};
  return { status: found, ...told, ...hidden };
}

module.exports.answerOf = answerOf;
module.exports.isResponse = isResponse;
