// The HTTP requests of calls, as functions see them: `request()` of the module `metagate`. node.js loads this for calls
// that come with a request; the gateway sends it only to workers whose scripts ask for it.
'use strict';

const { AsyncLocalStorage } = require('async_hooks');
const { toBytes } = require('./node_header_text.js');

const OPEN_TELEMETRY = Symbol.for('opentelemetry.js.api.1');
const storage = new AsyncLocalStorage();
const open = new Map(); // the request of each call that has not been answered, by the call's id

// How OpenTelemetry reads headers.
const fields = {
  get: (headers, name) => headers.get(name) ?? undefined,
  keys: (headers) => [...headers.keys()],
};

// The request of one call. What takes time to make is made when it is first asked for.
class Request {
  #raw;
  #end;
  #query;
  #headers;
  #abort;

  constructor({ request, timeout, args }) {
    this.#raw = request;
    this.#end = timeout === undefined ? undefined : Date.now() + timeout;
    // The headers of a whole request are its second argument.
    this.#headers = request.headers ?? (Array.isArray(args?.[1]) ? args[1] : []);
  }

  get id() { return this.#raw.id; }
  get method() { return this.#raw.method; }
  get path() { return this.#raw.path; }
  get client() { return this.#raw.client; }
  get scheme() { return this.#raw.scheme; }
  get host() { return this.#raw.host; }
  get base() { return this.#raw.base; }
  get context() { return (this.#raw.context ??= {}); }

  get query() {
    return (this.#query ??= new URLSearchParams(this.#raw.query ?? ''));
  }

  get headers() {
    if (Array.isArray(this.#headers)) this.#headers = headersOf(this.#headers);
    return this.#headers;
  }

  // When the gateway gives the call up, or undefined.
  get deadline() {
    return this.#end === undefined ? undefined : new Date(this.#end);
  }

  // Fires when the caller has left or the call has timed out.
  get signal() {
    return (this.#abort ??= new AbortController()).signal;
  }

  // Fires the signal, also the one of a later look at it.
  static cancel(request) {
    request.#abort ??= new AbortController();
    storage.run(request, () => request.#abort.abort()); // so that its listeners know the request
  }

  [Symbol.for('nodejs.util.inspect.custom')](depth, options, inspect) {
    const { id, method, path, client } = this;
    return `Request ${inspect({ id, method, path, client }, options)}`;
  }
}

// `Headers` of pairs. A value has a character for each byte, as everywhere in Node.
function headersOf(pairs) {
  const headers = new Headers();
  for (const [name, value] of pairs) {
    try {
      headers.append(name, toBytes(value));
    } catch {
      // A name that HTTP allows and this Node does not.
    }
  }
  return headers;
}

// Runs the function of a call that has a request.
function run(call, fn) {
  const request = new Request(call);
  open.set(call.id, request);
  return storage.run(request, () => inTrace(request, fn));
}

// Where the functions use OpenTelemetry, makes the `traceparent` of the request the parent of the spans that `fn`
// makes. The API has its parts in this global, in every version 1.
function inTrace(request, fn) {
  const { context, propagation } = globalThis[OPEN_TELEMETRY] ?? {};
  if (context === undefined || propagation === undefined) return fn();
  let parent;
  try {
    parent = propagation.extract(context.active(), request.headers, fields);
  } catch {
    return fn(); // spans without a parent are better than no call
  }
  return context.with(parent, fn);
}

// Runs what belongs to a call that has been started, such as the steps of its generator.
function within(id, fn) {
  const request = open.get(id);
  return request === undefined ? fn() : storage.run(request, () => inTrace(request, fn));
}

// The caller of the call has left, or its time is over.
function cancel(id) {
  const request = open.get(id);
  if (request !== undefined) Request.cancel(request);
}

// The call has been answered.
function end(id) {
  open.delete(id);
}

// The request of the call that runs here, or undefined.
function current() {
  return storage.getStore();
}

module.exports = { run, within, cancel, end, current, headersOf };
