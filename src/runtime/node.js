// The Node worker: loads the scripts of one deployment and runs their functions for the gateway.
//
// It is started in the deployment's folder with one end of a UNIX stream socketpair as fd 3. A message is one JSON
// object on one line, `{"type": T, "data": D}`; unknown types are ignored.
//
//   gateway → worker   LoadFunctions           {"id","path","jsons":[{"language_id":"node","path":".","scripts":["index.js"]}]}
//                      CallFunction            {"id","name","args":[…]}
//                      Probe                   asks whether the worker still reads
//   worker → gateway   ProbeResult             the answer to Probe
//                      GetApplicationMetadata  what was loaded, once
//                      FunctionInvokeResult    {"id","result"}; no `result` for undefined
//                      FunctionInvokeError     {"id","error":{"name","message","stack"}}
//
// A script that fails to load ends the worker with code 1. An error outside a call (a timer, a promise nobody awaits)
// ends it as it ends any Node program. The end of the channel ends it with code 0.
'use strict';

const fs = require('fs');
const { createRequire } = require('module');
const net = require('net');
const path = require('path');
const { pathToFileURL } = require('url');
const { inspect, types } = require('util');

// Held here because functions may replace the global ones (fake timers, instrumentation).
const { parse, stringify } = JSON;
const { nextTick } = process;
const { bigint: monotonic } = process.hrtime; // not `performance`, which takes a millisecond to load
const { writeSync } = fs;
const dateToJSON = Date.prototype.toJSON;
const sourceOf = Function.prototype.call.bind(Function.prototype.toString);

const CHANNEL = Number(process.env.METAGATE_CHANNEL_FD ?? 3);
const READ_BYTES = 256 * 1024;
// 0.2 ms. Answers are gathered into one write; none waits longer than this for other functions' work.
const HOLD_NS = 200_000n;
// From here on gathering saves nothing, and a string is dearer to write than a buffer.
const LARGE = 64 * 1024;
// After the end of the channel, calls under way get this long.
const GRACE_MS = 1000;
// Objects nested deeper than this, among them circular ones, are rendered the careful way.
const PLAIN_DEPTH = 50;
// JSON readers stop at a depth of 128, the gateway's among them; the message around a result takes some of it.
const MAX_DEPTH = 120;

// --- rendering of values ---------------------------------------------------------------------------------------------

// The JSON text of a result, undefined for none. What JSON.stringify would lose in silence (NaN, functions, maps) is an
// error that names its place.
function render(value) {
  switch (typeof value) {
    case 'undefined': return undefined;
    case 'boolean': return value ? 'true' : 'false';
    case 'string': return stringify(value);
    case 'number': return Number.isFinite(value) ? String(value) : renderCarefully(value);
    case 'object': return value === null || isPlain(value, 0) ? stringify(value) : renderCarefully(value);
    default: return renderCarefully(value);
  }
}

// Whether JSON.stringify renders the object without losing anything. `false` only means: look closer.
function isPlain(value, depth) {
  if (depth > PLAIN_DEPTH) return false;
  if (value.toJSON !== undefined) return value.toJSON === dateToJSON && value instanceof Date;
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) if (!isPlainItem(value[i], depth)) return false;
    return true;
  }
  let empty = true;
  for (const key in value) {
    if (!isPlainItem(value[key], depth)) return false;
    empty = false;
  }
  if (!empty) return true;
  // Nothing to enumerate: `{}`, or a map, a set, an iterator.
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function isPlainItem(item, depth) {
  switch (typeof item) {
    case 'string': case 'boolean': case 'undefined': return true;
    case 'number': return Number.isFinite(item);
    case 'object': return item === null || isPlain(item, depth + 1);
    default: return false;
  }
}

// As JSON.stringify renders, but knows the place of each value. Several times slower.
function renderCarefully(root) {
  const open = []; // the objects around the value, outermost first: {holder, path}
  return stringify(root, function check(key, value) {
    while (open.length > 0 && open.at(-1).holder !== this) open.pop();
    const place = open.length === 0 ? 'result' : open.at(-1).path + step(this, key);
    const lost = whyNotJSON(value);
    if (lost !== undefined) throw notJSON(`${place} is ${lost}`);
    if (typeof value === 'object' && value !== null) {
      const same = open.find((outer) => outer.holder === value);
      if (same !== undefined) throw notJSON(`${place} is circular: it is ${same.path} again`);
      if (open.length > MAX_DEPTH) throw notJSON(`result is nested deeper than ${MAX_DEPTH} levels`);
      open.push({ holder: value, path: place });
    }
    return value;
  });
}

function step(holder, key) {
  if (Array.isArray(holder)) return `[${key}]`;
  return /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(key) ? `.${key}` : `[${stringify(key)}]`;
}

function whyNotJSON(value) {
  switch (typeof value) {
    case 'bigint': return 'a BigInt: JSON has no integer of any size here; return a string or Number';
    case 'function': return 'a function: JSON has no functions';
    case 'symbol': return 'a Symbol: JSON has no symbols; return a string';
    case 'number': return Number.isFinite(value) ? undefined : `${value}: JSON has no such number; return null or a string`;
    case 'object': break;
    default: return undefined;
  }
  if (types.isMap(value)) return 'a Map: JSON would lose its entries; return Object.fromEntries(map)';
  if (types.isSet(value)) return 'a Set: JSON would lose its items; return [...set]';
  if (value !== null && typeof value.next === 'function' && Object.keys(value).length === 0) {
    return 'an iterator, as generator functions return: JSON has no iterators; return an array';
  }
  return undefined;
}

function notJSON(message) {
  const error = new TypeError(message);
  error.stack = undefined; // it would show the worker, not the function
  return error;
}

// Whatever was thrown, as the protocol's error. Must not throw itself: the getters of a thrown object may.
function describe(thrown) {
  try {
    if (types.isNativeError(thrown) || typeof thrown?.message === 'string') {
      const { name, message, stack } = thrown;
      return {
        name: typeof name === 'string' && name !== '' ? name : 'Error',
        message: String(message),
        stack: typeof stack === 'string' ? stack : undefined,
      };
    }
    if (typeof thrown === 'string') return { name: 'Error', message: thrown };
    return { name: 'Error', message: `thrown, but not an Error: ${inspect(thrown, { breakLength: Infinity }).slice(0, 500)}` };
  } catch {
    return { name: 'Error', message: `thrown, but cannot be shown: a value of type ${typeof thrown}` };
  }
}

// --- signatures ------------------------------------------------------------------------------------------------------

const UNKNOWN_TYPE = { name: '', id: 20 };

function describeFunction(name, fn) {
  const args = parameterNames(fn).map((arg) => ({ name: arg, type: UNKNOWN_TYPE }));
  return { name, signature: { ret: { type: UNKNOWN_TYPE }, args }, async: types.isAsyncFunction(fn) };
}

// The names as written in the source; `arg0`… for native and bound functions and for long patterns.
function parameterNames(fn) {
  const source = sourceOf(fn);
  const list = source.endsWith('{ [native code] }') ? undefined : parameterList(source);
  if (!list?.every((parameter) => PARAMETER.test(parameter))) {
    return Array.from({ length: Math.min(Number(fn.length) || 0, 255) }, (_, i) => `arg${i}`);
  }
  return list.map((parameter, i) => (parameter.length <= 60 ? parameter.replace(/^\.\.\./, '') : `arg${i}`));
}

// Blank or comment, string, template, arrow, dots, word, or any other character: as far as finding commas and brackets
// needs JavaScript's tokens. A regex counts as one only where no value has just ended.
const TOKEN = /\s+|\/\/.*|\/\*[^]*?\*\/|(['"`])(?:\\[^]|(?!\1)[^\\])*\1|=>|\.\.\.|[\p{ID_Continue}$\\]+|[^]/uy;
const REGEX = /\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\//uy;
const VALUE_END = /^(?!(?:return|typeof|void|delete|await|yield|case|in|of)$)[^]*[\p{ID_Continue}$)\]}'"`]$/u;
const PARAMETER = /^(?:\.\.\.)?(?:[\p{ID_Start}$_][\p{ID_Continue}$]*$|[{[])/u;

// The parameters in a function's source, without defaults and comments; undefined if they cannot be told.
function parameterList(source) {
  const list = [];
  let inside = false; // the parentheses of the list
  let inDefault = false;
  let depth = 0; // of brackets
  let text = ''; // of the parameter under way; before the list, the last word
  let last = ''; // the token before
  for (let at = 0, token; at < source.length; at += token.length) {
    token = tokenAt(TOKEN, source, at);
    if (/^(\s|\/[/*])/.test(token)) {
      text += ' ';
      continue;
    }
    if (token === '/' && !VALUE_END.test(last)) token = tokenAt(REGEX, source, at) ?? token;
    last = token;
    if (depth === 0 && token === '=>') return [text.trim()];
    if ('([{'.includes(token)) depth += 1;
    if (')]}'.includes(token)) depth -= 1;
    if (!inside) {
      inside = depth === 1 && token === '(';
      text = inside ? '' : token; // `async`, `function`, a name, or the one parameter of an arrow function
    } else if (depth === 0 || (depth === 1 && token === ',')) {
      const parameter = text.trim().replace(/\s+/g, ' ').replace(/(?<=[[{(]) | (?=[\]}),:])/g, '');
      if (parameter !== '') list.push(parameter);
      if (depth === 0) return list;
      text = '';
      inDefault = false;
    } else {
      inDefault ||= depth === 1 && token === '=';
      if (!inDefault) text += token;
    }
  }
  return undefined;
}

function tokenAt(pattern, source, at) {
  pattern.lastIndex = at;
  return pattern.exec(source)?.[0];
}

// --- loading ---------------------------------------------------------------------------------------------------------

let functions; // name → {fn, self, script, slow: did its last call hold others up}; undefined until all is loaded
let waiting = []; // calls that came before that

async function load({ id, path: folder, jsons }) {
  running += 1;
  const table = new Map();
  const handles = [];
  for (const { language_id: language, path: below = '.', scripts } of jsons) {
    if (language !== 'node') {
      console.error(`metagate: scripts of language ${inspect(language)} are left out: this worker runs node`);
      continue;
    }
    for (const script of scripts) {
      try {
        addScript(script, await loadScript(path.resolve(folder, below, script)), table, handles);
      } catch (error) {
        failLoad(script, error);
        return;
      }
    }
  }
  functions = table;
  const packages = handles.length > 0 ? { node: handles } : {};
  send('GetApplicationMetadata', { status: 'ready', prefix: '', suffix: id, version: 'v1', packages, ports: [] });
  for (const data of waiting) call(data);
  waiting = undefined;
  finish();
}

// CommonJS first: it starts faster, and Node itself says when a file is something else.
async function loadScript(file) {
  process.argv[1] = file;
  if (!file.endsWith('.mjs')) {
    try {
      return createRequire(file)(file);
    } catch (error) {
      if (error?.code !== 'ERR_REQUIRE_ESM' && error?.code !== 'ERR_REQUIRE_ASYNC_MODULE') throw error;
    }
  }
  return import(pathToFileURL(file));
}

// The callables a module exports, as [name, callable, `this` of its calls].
function* exportsOf(module, stem) {
  const hasDefault = types.isModuleNamespaceObject(module) || module?.__esModule === true;
  const main = hasDefault ? module.default : module;
  if (typeof main === 'function') {
    yield [main.name === '' || main.name === 'default' ? stem : String(main.name), main, module];
  }
  for (const object of new Set([main, module])) {
    if (object === null || (typeof object !== 'object' && typeof object !== 'function') || isClass(object)) continue;
    for (const name of Object.keys(object)) {
      const isDefault = hasDefault && object === module && name === 'default';
      if (typeof object[name] === 'function' && !isDefault) yield [name, object[name], object];
    }
  }
}

function isClass(value) {
  return typeof value === 'function' && /^class\b/.test(sourceOf(value));
}

// Puts what a script exports into the table and among the handles of the metadata.
function addScript(script, module, table, handles) {
  const funcs = new Map();
  const classes = new Set();
  for (const [name, fn, self] of exportsOf(module, path.parse(script).name)) {
    if (isClass(fn)) {
      classes.add(name);
      continue;
    }
    const earlier = table.get(name);
    if (earlier !== undefined && earlier.script !== script) {
      if (earlier.fn !== fn) console.error(`metagate: ${script} replaces the function ${inspect(name)} of ${earlier.script}`);
      for (const { scope } of handles) scope.funcs = scope.funcs.filter((func) => func.name !== name);
    }
    table.set(name, { fn, self, script, slow: false });
    funcs.set(name, describeFunction(name, fn));
  }
  const scope = { name: 'global_namespace', funcs: [...funcs.values()], classes: [], objects: [] };
  for (const name of classes) scope.classes.push({ name });
  handles.push({ name: script, scope });
}

function failLoad(script, error) {
  console.error(`metagate: script ${script} failed to load`);
  if (!(error instanceof SyntaxError)) {
    console.error(error);
    process.exit(1);
  }
  // Only of an uncaught error does Node show the line of the module that has the wrong syntax.
  process.removeAllListeners('uncaughtException');
  nextTick(() => { throw error; });
}

// --- calling ---------------------------------------------------------------------------------------------------------

let running = 0; // calls that await something, and the load

function call(data) {
  if (functions === undefined) {
    waiting.push(data);
    return;
  }
  const entry = functions.get(data.name);
  if (entry === undefined) {
    fail(data.id, { name: 'FunctionNotFound', message: `no function ${stringify(data.name)}` });
    return;
  }
  if (entry.slow) flush();
  let result;
  let thenable;
  try {
    result = Reflect.apply(entry.fn, entry.self, data.args ?? []);
    const kind = typeof result;
    thenable = ((kind === 'object' && result !== null) || kind === 'function') && typeof result.then === 'function';
  } catch (thrown) {
    fail(data.id, describe(thrown));
  }
  if (thenable === true) settle(data.id, result);
  else if (thenable === false) succeed(data.id, result);
  const end = monotonic();
  entry.slow = end - clock > HOLD_NS;
  clock = end;
  if (reading && end - oldest > HOLD_NS) flush();
}

async function settle(id, thenable) {
  running += 1;
  awaited = true;
  try {
    succeed(id, await thenable);
  } catch (thrown) {
    fail(id, describe(thrown));
  }
  finish();
}

function succeed(id, result) {
  let json;
  try {
    json = render(result);
  } catch (thrown) {
    fail(id, describe(thrown));
    return;
  }
  const tail = json === undefined ? '}}\n' : ',"result":' + json + '}}\n';
  answer('{"type":"FunctionInvokeResult","data":{"id":' + stringify(id) + tail);
}

function fail(id, error) {
  send('FunctionInvokeError', { id, error });
}

function finish() {
  running -= 1;
  if (ended && running === 0) process.exit(0);
}

// --- channel ---------------------------------------------------------------------------------------------------------

let channel;
let ended = false; // the gateway has closed its end
let partial = []; // the pieces of a line whose end has not come yet
let reading = false; // inside `receive`
let awaited = false; // a call since the start of `receive` awaits something
let clock = 0n; // when the call before ended
let out = ''; // answers to be written
let oldest = 0n; // when the first of them was given
let scheduled = false; // a flush will come

function receive(length, buffer) {
  const last = buffer.lastIndexOf(10, length - 1);
  if (last === -1) {
    partial.push(Buffer.from(buffer.subarray(0, length)));
    return true;
  }
  const whole = buffer.subarray(0, last);
  const text = (partial.length > 0 ? Buffer.concat([...partial, whole]) : whole).toString();
  partial = last + 1 < length ? [Buffer.from(buffer.subarray(last + 1, length))] : [];

  reading = true;
  awaited = false;
  clock = monotonic();
  for (let start = 0; start <= text.length;) {
    let end = text.indexOf('\n', start);
    if (end === -1) end = text.length;
    handle(text.slice(start, end));
    start = end + 1;
  }
  reading = false;
  if (out === '') return true;
  // Functions that only await what is there already end in this turn: their answers go with the others.
  if (awaited && monotonic() - oldest < HOLD_NS) queueMicrotask(flushSoon);
  else flush();
  return true;
}

function handle(line) {
  let message;
  try {
    message = parse(line);
  } catch (error) {
    console.error(`metagate: the channel gave a line that is not JSON: ${error.message}`);
    process.exit(1);
  }
  if (message?.type === 'CallFunction') call(message.data);
  else if (message?.type === 'Probe') send('ProbeResult');
  else if (message?.type === 'LoadFunctions' && running === 0 && functions === undefined) load(message.data);
}

function send(type, data) {
  answer(stringify({ type, data }) + '\n');
}

function answer(line) {
  const time = reading ? clock : monotonic();
  if (out === '') oldest = time;
  out += line;
  if (out.length >= LARGE || time - oldest > HOLD_NS) flush();
  else if (!reading) flushSoon();
}

// Writes once all that can end in this turn has ended.
function flushSoon() {
  if (scheduled) return;
  scheduled = true;
  nextTick(() => {
    scheduled = false;
    flush();
  });
}

// Writes at once and whole, so that nothing is lost however the process ends. While the socket is full the worker waits:
// the gateway reads always.
function flush() {
  if (out === '') return;
  const bytes = out.length < LARGE ? out : Buffer.from(out);
  out = '';
  if (channel.destroyed) return; // after an error: fd 3 may be another file by now
  try {
    const written = writeSome(bytes);
    if (written === bytes.length || written === Buffer.byteLength(bytes)) return;
    const rest = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
    channel._handle.setBlocking(true);
    for (let at = written; at < rest.length;) at += writeSync(CHANNEL, rest, at);
    channel._handle.setBlocking(false);
  } catch (error) {
    // The gateway has gone; the end of the channel will be read next.
    if (error.code !== 'EPIPE' && error.code !== 'ECONNRESET') throw error;
  }
}

function writeSome(bytes) {
  try {
    return writeSync(CHANNEL, bytes);
  } catch (error) {
    if (error.code === 'EAGAIN') return 0;
    throw error;
  }
}

function end() {
  if (ended) return;
  ended = true;
  if (running === 0) process.exit(0);
  setTimeout(() => process.exit(0), GRACE_MS);
}

// --- start -----------------------------------------------------------------------------------------------------------

delete process.env.METAGATE_CHANNEL_FD;
delete process.env.METAGATE_CONCURRENCY;
process.on('exit', flush);
// Without this, what a full pipe has not taken yet is lost at the exit.
for (const { _handle: pipe } of [process.stdout, process.stderr]) pipe?.setBlocking?.(true);
channel = new net.Socket({
  fd: CHANNEL,
  allowHalfOpen: true, // answers may follow the end of the calls
  onread: { buffer: Buffer.allocUnsafeSlow(READ_BYTES), callback: receive },
});
channel.on('end', end);
channel.on('error', end);
