// The Node worker: loads the scripts of one release and runs their functions for the gateway. python.py is its twin:
// the same parts in the same order, the same names, and what one accepts the other accepts.
//
// The gateway starts it in the release's folder with one end of a UNIX stream socketpair as fd 3. A message is one
// JSON object on one line, `{"type": T, "data": D}`.
//
//   gateway → worker   LoadFunctions           {"id","path","jsons":[{"language_id":"node","path":".","scripts":[…]}]}
//                      CallFunction            {"id","name","args":[…]}
//                      Probe                   asks whether the worker still reads
//   worker → gateway   GetApplicationMetadata  the functions that were loaded, once
//                      FunctionInvokeResult    {"id","result"}; no `result` for undefined
//                      FunctionInvokeError     {"id","error":{"name","message","stack"}}
//                      ProbeResult             the answer to Probe
//                      Retire                  {"reason"}: asks for another worker in its place, once
//
// Odd messages never end the worker. One of an unknown type is ignored. A line that is not a message, and a message
// without the data of its type, is ignored and logged. A call with an `id` but without a usable name or arguments is
// answered with the error `InvalidCall`. Missing `args` count as none.
//
// A script that fails to load ends the worker with code 1. After the load, an error outside a call (in a timer, in a
// promise that is not awaited) makes the worker ask to be replaced. The end of the channel ends it with code 0, and
// handlers of `exit` run.
//
// Functions with declared types have their arguments checked by node_binding.js. It is loaded, with the readers of
// declarations (node_jsdoc.js, node_typescript.js), only for scripts that declare types. Likewise the parts that serve
// web apps, requests, files and streams are loaded by the first call or script that needs one: see `part`.
'use strict';

const fs = require('fs');
const Module = require('module');
const net = require('net');
const path = require('path');
const { pathToFileURL } = require('url');
const { inspect, types } = require('util');
const { isUtf8 } = require('buffer');

// Kept here because functions may replace the global ones (fake timers, instrumentation).
const { parse, stringify } = JSON;
const { nextTick } = process;
const { bigint: monotonic } = process.hrtime; // not `performance`: loading it takes 1 ms
const { writeSync } = fs;
const dateToJSON = Date.prototype.toJSON;
const sourceOf = Function.prototype.call.bind(Function.prototype.toString);

const LANGUAGES = ['node', 'ts'];
const TYPESCRIPT = /(?<!\.d)\.[cm]?ts$/;
// Comments that declare types, and imports of scripts that may have them.
const COMMENTS = /@(?:param|arg|argument|returns?|yields?|type)\b/;
const IMPORTS = /\b(?:from|import)\s*\(?\s*['"]\./;
// What a script has that names the module `metagate`, or takes in another one that may.
const OPEN_TELEMETRY = Symbol.for('opentelemetry.js.api.1'); // where its API has its parts
const NAMES_MODULE = /\bmetagate\b|\b(?:from|import|require)\s*\(?\s*['"]\./;
// Exports that may be a web app, and the messages of bodies and streams, by the part that takes them.
const APPS = ['app', 'application', 'server', 'handler', 'fetch'];
const FLOWS = new Map([
  ['StreamCredit', 'streams'], ['CancelCall', 'streams'],
  ['BodyData', 'inlets'], ['BodyEnd', 'inlets'], ['BodyError', 'inlets'],
]);

const CHANNEL = Number(process.env.METAGATE_CHANNEL_FD ?? 3);
const READ_SIZE = 256 * 1024; // bytes
const MAX_MESSAGE = Number(process.env.METAGATE_MAX_MESSAGE ?? Infinity); // bytes of a line that the gateway reads
// Characters of an error's message and stack when the whole is longer than a message may be.
const ERROR_LENGTH = 20_000;
// 0.2 ms. Answers are gathered into one write; an answer waits no longer than this for calls that run after it.
const HOLD_NS = 200_000n;
// Characters from which on gathering answers saves nothing, and a string takes longer to write than a buffer.
const LARGE = 64 * 1024;
// Time that running calls get after the end of the channel.
const GRACE_MS = 1000;
// Objects that nest deeper than this, circular ones among them, go through `renderCarefully`.
const PLAIN_DEPTH = 50;
// The gateway refuses results of more than 128 levels, and the message around a result takes some of them.
const MAX_DEPTH = 120;

// --- rendering of values ---------------------------------------------------------------------------------------------

// The JSON text of a result, or undefined for undefined. Throws an error that names the place of a value that
// JSON.stringify would drop or change silently (NaN, a function, a Map).
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

// Whether JSON.stringify certainly renders the object completely. It may say false for an object that is fine.
function isPlain(value, depth) {
  if (depth > PLAIN_DEPTH) return false;
  if (value.toJSON !== undefined) return value.toJSON === dateToJSON && value instanceof Date && !isNaN(value);
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) if (!isPlainItem(value[i], depth)) return false;
    return true;
  }
  const prototype = Object.getPrototypeOf(value);
  // Others have forms of their own: bytes, a Map, an iterator.
  if (prototype !== Object.prototype && prototype !== null && tagOf(value) !== '[object Object]') return false;
  let empty = true;
  for (const key in value) {
    if (!isPlainItem(value[key], depth)) return false;
    empty = false;
  }
  return !empty || prototype === Object.prototype || prototype === null;
}

function isPlainItem(item, depth) {
  switch (typeof item) {
    case 'string': case 'boolean': case 'undefined': return true;
    case 'number': return Number.isFinite(item);
    case 'object': return item === null || isPlain(item, depth + 1);
    default: return false;
  }
}

// Renders as JSON.stringify does, but tracks the place of each value for errors, and writes a BigInt as a number with
// all its digits. It is several times slower.
function renderCarefully(root) {
  const open = []; // the objects that contain the value, outermost first: {holder, path}
  let mark; // begins the texts that stand for a BigInt: no value has it
  const json = stringify(root, function check(key, rendered) {
    while (open.length > 0 && open.at(-1).holder !== this) open.pop();
    const place = open.length === 0 ? 'result' : open.at(-1).path + step(this, key);
    // What the value was before its own toJSON: a Buffer's makes numbers of it.
    const value = convert(this[key], rendered);
    if (typeof value === 'bigint') return (mark ??= require('crypto').randomUUID()) + value;
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
  return mark === undefined ? json : json.replace(new RegExp(`"${mark}(-?\\d+)"`, 'g'), '$1');
}

function step(holder, key) {
  if (Array.isArray(holder)) return `[${key}]`;
  return /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(key) ? `.${key}` : `[${stringify(key)}]`;
}

// The plain value that stands for one of another kind, as in the results of Python functions.
function convert(value, rendered) {
  if (typeof value !== 'object' || value === null) return rendered;
  if (rendered === null && types.isDate(value)) return value; // an invalid one
  if (ArrayBuffer.isView(value)) {
    if (value instanceof Uint8Array || value instanceof DataView) {
      return renderBytes(Buffer.from(value.buffer, value.byteOffset, value.byteLength));
    }
    return Array.from(value);
  }
  if (types.isSet(value)) return [...value];
  if (types.isMap(value)) return withTextKeys(value) ?? rendered;
  if (types.isNativeError(value) && rendered === value) {
    return { name: String(value.name), message: String(value.message), ...value };
  }
  if (types.isBoxedPrimitive(value)) return value.valueOf();
  if (tagOf(value) === '[object File]') return { name: value.name, type: value.type, size: value.size };
  return rendered;
}

// The object of a Map with keys that have a text; undefined if some have none, or two have the same.
function withTextKeys(map) {
  const entries = [...map].map(([key, value]) => [textOfKey(key), value]);
  const texts = new Set(entries.map(([text]) => text));
  return texts.size < map.size || texts.has(undefined) ? undefined : Object.fromEntries(entries);
}

// What a key is as a value, as text.
function textOfKey(key) {
  if (types.isDate(key)) return isNaN(key) ? undefined : key.toISOString();
  if (tagOf(key) === '[object URL]') return key.href;
  return typeof key === 'symbol' || typeof key === 'function' || (typeof key === 'object' && key !== null)
    ? undefined : String(key);
}

// UTF-8 text if it is that, else base64.
function renderBytes(bytes) {
  return isUtf8(bytes) ? bytes.toString() : bytes.toString('base64');
}

function whyNotJSON(value) {
  switch (typeof value) {
    case 'function': return 'a function: JSON has no functions';
    case 'symbol': return 'a Symbol: JSON has no symbols; return a string';
    case 'number':
      return Number.isFinite(value) ? undefined : `${value}: JSON has no such number; return null or a string`;
    case 'object': break;
    default: return undefined;
  }
  if (value === null) return undefined;
  if (types.isMap(value)) return 'a Map with keys that are not text, or two of one text; return its entries: [...map]';
  if (types.isPromise(value)) return 'a Promise: await it first';
  if (types.isDate(value)) return 'an invalid Date';
  if (value !== null && typeof value.next === 'function' && Object.keys(value).length === 0) {
    return 'an iterator, as generator functions return: JSON has no iterators; return an array';
  }
  const tag = tagOf(value);
  if (tag !== '[object Object]' && tag !== '[object Array]' && Object.keys(value).length === 0) {
    return `${article(tag.slice(8, -1))}: JSON would lose all of it; return what it holds`;
  }
  return undefined;
}

function tagOf(value) {
  return Object.prototype.toString.call(value);
}

function article(name) {
  return `${/^[AEIOU]/.test(name) ? 'an' : 'a'} ${name}`;
}

function notJSON(message) {
  const error = new TypeError(message);
  error.stack = undefined; // it would show frames of the worker, none of the function
  return error;
}

// The setting whose limit an error of the system is about.
function limitHint({ code, syscall }) {
  const isSpawn = code === 'EAGAIN' && String(syscall).startsWith('spawn');
  const limit = isSpawn ? 'max_processes' : { EMFILE: 'max_files', EFBIG: 'max_file_size' }[code];
  return limit === undefined ? '' : ` (limit of this deployment: ${limit})`;
}

// A thrown value as the protocol's error. It must not throw, although getters of the thrown object may.
function describeError(thrown) {
  try {
    if (types.isNativeError(thrown) || typeof thrown?.message === 'string') {
      const { name, message, stack } = thrown;
      return {
        name: typeof name === 'string' && name !== '' ? name : 'Error',
        message: String(message) + limitHint(thrown),
        stack: typeof stack === 'string' ? stack : undefined,
        ...statusOf(thrown),
      };
    }
    if (typeof thrown === 'string') return { name: 'Error', message: thrown };
    const text = inspect(thrown, { breakLength: Infinity }).slice(0, 500);
    return { name: 'Error', message: `thrown, but not an Error: ${text}`, ...statusOf(Object(thrown)) };
  } catch {
    return { name: 'Error', message: `thrown, but cannot be shown: a value of type ${typeof thrown}` };
  }
}

// The status and headers that an error has for its answer, or nothing.
function statusOf(thrown) {
  const { status, statusCode, status_code: snake } = thrown;
  const isGiven = status !== undefined || statusCode !== undefined || snake !== undefined;
  return isGiven ? require('./node_answers.js').answerOf(thrown) : undefined;
}

// --- signatures ------------------------------------------------------------------------------------------------------

const UNKNOWN_TYPE = { name: '', id: 20 };
const TYPE_IDS = { boolean: 0, integer: 4, number: 6, string: 7, Buffer: 8, object: 10 };

// A function as the metadata lists it; `schema` has what its declared types say, or what its source shows.
function describeFunction(name, fn, parameters, typed) {
  const typeOf = (text) => (text ? { name: text, id: TYPE_IDS[text] ?? (text.endsWith('[]') ? 9 : 20) } : UNKNOWN_TYPE);
  const args = parameters.map(({ name: arg }, at) => ({ name: arg, type: typeOf(typed?.texts[at]) }));
  const signature = { ret: { type: typeOf(typed?.result) }, args };
  const described = { name, signature, async: types.isAsyncFunction(fn) };
  if (typed !== undefined) return { ...described, schema: typed.schema };
  const items = types.isGeneratorFunction(fn) ? { items: {} } : {};
  const isPlain = parameters.every((one) => !one.isRest && !one.isOptional && !one.isPattern);
  if (isPlain && items.items === undefined) return described;
  return { ...described, schema: { ...schemaOf(parameters), ...items } };
}

function schemaOf(parameters) {
  const listed = parameters.map(({ name: arg, isRest, isOptional, isPattern, isList, preset }) => ({
    name: arg,
    kind: isRest ? 'rest' : 'positional',
    required: !isRest && !isOptional,
    schema: isPattern ? { type: isList ? 'array' : 'object' } : { default: preset },
  }));
  return { parameters: listed, returns: {} };
}

// The parameters as {name, isRest, isOptional, isPattern, isList, isNamed, preset}. Names are as written in the source;
// `arg0`… for native and bound functions, `{…}` for long patterns.
function parametersOf(fn) {
  const source = sourceOf(fn);
  const list = source.endsWith('{ [native code] }') ? undefined : parameterList(source);
  if (!list?.every(({ parameter }) => PARAMETER.test(parameter))) {
    const length = Math.min(Number(fn.length) || 0, 255);
    const unknown = { isRest: false, isOptional: true, isPattern: false, isNamed: false };
    return Array.from({ length }, (_, i) => ({ name: `arg${i}`, ...unknown }));
  }
  return list.map(({ parameter, isOptional, preset }, i) => {
    const isRest = parameter.startsWith('...');
    const text = isRest ? parameter.slice(3) : parameter;
    const isPattern = /^[{[]/.test(text);
    const isList = text[0] === '[';
    const brief = isPattern ? (isList ? '[…]' : '{…}') : `arg${i}`;
    const name = parameter.length <= 60 ? text : brief;
    return { name, isRest, isOptional, isPattern, isList, isNamed: !isPattern, preset };
  });
}

// Blank or comment, string, template, arrow, dots, word, or any other character: enough of JavaScript's tokens to find
// commas and brackets. A `/` starts a regular expression only where no value has just ended.
const TOKEN = /\s+|\/\/.*|\/\*[^]*?\*\/|(['"`])(?:\\[^]|(?!\1)[^\\])*\1|=>|\.\.\.|[\p{ID_Continue}$\\]+|[^]/uy;
const REGEX = /\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\//uy;
const VALUE_END = /^(?!(?:return|typeof|void|delete|await|yield|case|in|of)$)[^]*[\p{ID_Continue}$)\]}'"`]$/u;
const PARAMETER = /^(?:\.\.\.)?(?:[\p{ID_Start}$_][\p{ID_Continue}$]*$|[{[])/u;

const PLAIN_PRESET = /^(?:true|false|null|-?\d+(?:\.\d+)?|(['"])[^'"\\]{0,200}\1)$/;

// The parameters in a function's source, without comments, as {parameter, isOptional: has a default, preset: that one
// if it is a plain value}, or undefined if it has no parameter list.
function parameterList(source) {
  const list = [];
  let inside = false; // the parentheses of the parameter list
  let inDefault = false;
  let depth = 0; // of brackets
  let text = ''; // the current parameter; before the list, the last word
  let preset = ''; // the default
  let last = ''; // the previous token
  for (let at = 0, token; at < source.length; at += token.length) {
    token = tokenAt(TOKEN, source, at);
    if (/^(\s|\/[/*])/.test(token)) {
      text += ' ';
      continue;
    }
    if (token === '/' && !VALUE_END.test(last)) token = tokenAt(REGEX, source, at) ?? token;
    last = token;
    if (depth === 0 && token === '=>') return [{ parameter: text.trim(), isOptional: false }];
    if ('([{'.includes(token)) depth += 1;
    if (')]}'.includes(token)) depth -= 1;
    if (!inside) {
      inside = depth === 1 && token === '(';
      text = inside ? '' : token; // `async`, `function`, a name, or the one parameter of an arrow function
    } else if (depth === 0 || (depth === 1 && token === ',')) {
      const parameter = text.trim().replace(/\s+/g, ' ').replace(/(?<=[[{(]) | (?=[\]}),:])/g, '');
      const value = PLAIN_PRESET.test(preset) ? parse(preset.replace(/^'|'$/g, '"')) : undefined;
      if (parameter !== '') list.push({ parameter, isOptional: inDefault, preset: value });
      if (depth === 0) return list;
      text = preset = '';
      inDefault = false;
    } else {
      if (inDefault) preset += token;
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

let loading = false; // LoadFunctions has come
// name → {fn, self, name, parameters, hasPattern, slow: its last call took longer than HOLD_NS}, of typed functions
// with {check, needsDigits, takesObject, hasOwnName, hasFreeKeys}; undefined until loaded
let functions;
let waiting = []; // calls that came while scripts were loading, with their lines

// Loads every script and sends the metadata, or ends the worker with code 1.
async function load({ id, path: folder, jsons, app, handler }) {
  loading = true;
  running += 1;
  const table = new Map();
  const loaded = []; // {language, script, module: its name in addresses, namespace, exported, declarationOf}
  const files = filesOf(folder, jsons, app);
  const isAsking = provideModule(files);
  const { declarations, warnings: unread } = readTypeScript(files, folder);
  for (const { language, script, file } of files) {
    const module = path.relative(folder, file).slice(0, -path.extname(file).length || undefined);
    try {
      const exported = new Map(); // the last of a name counts
      const { namespace } = await loadScript(file);
      for (const one of exportsOf(namespace, path.parse(script).name)) exported.set(one[0], one);
      const declarationOf = lookUp(declarations[file], namespace?.default) ?? readComments(file);
      loaded.push({ language, script, module, namespace, exported: [...exported.values()], declarationOf });
    } catch (error) {
      failLoad(script, file, folder, error);
      return;
    }
  }
  const found = await findApp(loaded, { app, handler }).catch(failApp);
  const packages = found === undefined ? addFunctions(loaded, table) : addApp(found, table);
  const accepts = ['names', 'files'];
  const usesRequest = isAsking || found !== undefined || isLoaded('node_requests.js');
  if (usesRequest || globalThis[OPEN_TELEMETRY] !== undefined) accepts.push('request', 'cancel', 'timeout');
  if (found === undefined) openServers();
  texts.clear();
  functions = table;
  const warned = [...warningsOf(found), ...unread];
  const warnings = warned.length === 0 ? undefined : warned;
  send('GetApplicationMetadata', {
    status: 'ready', prefix: '', suffix: id, version: 'v1', accepts, packages, warnings, ports: [],
  });
  process.on('uncaughtException', retire);
  for (const [call, line] of waiting) perform(call, line);
  waiting = undefined;
  finish();
}

// {language, script, file} of each script of the release, or of the one that `app` names.
function filesOf(folder, jsons, app) {
  const named = app === undefined ? undefined : part('apps').scriptOf(folder, app, failApp);
  if (named !== undefined) {
    return [{ language: LANGUAGES[TYPESCRIPT.test(named) ? 1 : 0], script: named, file: path.resolve(folder, named) }];
  }
  return jsons.flatMap(({ language_id: language, path: below, scripts }) => {
    if (LANGUAGES.includes(language)) {
      return scripts.map((script) => ({ language, script, file: path.resolve(folder, below ?? '.', script) }));
    }
    console.error(`metagate: ignored scripts of language ${inspect(language)}: this worker runs node`);
    return [];
  });
}

// Lets scripts import the module `metagate`. Says whether one of them names it.
function provideModule(files) {
  const scripts = files.map(({ file }) => file);
  if (!scripts.some((file) => NAMES_MODULE.test(readText(file)))) return false;
  const resolve = require('./node_resolve.js');
  const naming = resolve.naming(scripts, readText);
  if (resolve.imports(naming)) resolve.provideImport();
  return naming.length > 0;
}

// The web app among the exports, or the server that a script without functions starts.
async function findApp(loaded, settings) {
  const isNamed = settings.app !== undefined || settings.handler !== undefined;
  if (isNamed || loaded.some(({ namespace }) => mayBeApp(namespace))) {
    const found = await part('apps').find(loaded, settings);
    if (found !== undefined) return found;
  }
  const { language, script, exported } = loaded[0] ?? {};
  const hasFunctions = loaded.some((one) => one.exported.length > 0);
  const listens = () => parts.listening !== undefined || ownFiles().some((file) => readText(file).includes('.listen('));
  if (exported === undefined || hasFunctions || !listens()) return undefined;
  const server = await part('listening').first();
  return server && { language, script, http: 'stream', serve: part('apps').ofServer(server) };
}

// Whether it is worth looking for an app among the exports.
function mayBeApp(namespace) {
  const main = namespace?.default ?? namespace;
  if (typeof main === 'function' || ['fetch', 'listen', 'inject'].some((name) => typeof main?.[name] === 'function')) {
    return true;
  }
  return APPS.some((name) => Object(namespace)[name] !== undefined || Object(main)[name] !== undefined);
}

function failApp(error) {
  console.error(error?.stack ?? `metagate: ${error?.message}`);
  process.exit(1);
}

let holdsServers = true; // whether servers that listen open no port: the deployment is an app, or is being loaded

function openServers() {
  holdsServers = false;
  parts.listening?.open();
}

// Adds an app to the table of functions, as the function `http`. Returns the packages of the metadata.
function addApp({ language, script, http, serve }, table) {
  const note = parts.listening?.note();
  if (note !== undefined) console.error(`metagate: ${note}`);
  table.set('http', { name: 'http', parameters: [], serve });
  const signature = { ret: { type: UNKNOWN_TYPE }, args: [] };
  const funcs = [{ name: 'http', http, signature, async: true }];
  return { [language]: [{ name: script, scope: { name: 'global_namespace', funcs, classes: [], objects: [] } }] };
}

// What an app hides.
function warningsOf(app) {
  if (app?.left === undefined || app.left.length === 0) return [];
  return [`${app.script} exports a web app: functions are not called (${short(app.left.join(', '), 200)})`];
}

function isLoaded(name) {
  return require.cache[path.join(__dirname, name)] !== undefined;
}

// What the types of TypeScript scripts say, by file, nothing without the package `typescript`; and what is not read.
function readTypeScript(files, folder) {
  const scripts = files.map(({ file }) => file).filter((file) => TYPESCRIPT.test(file));
  if (scripts.length === 0) return { declarations: {}, warnings: [] };
  const names = short(scripts.map((file) => path.basename(file)).join(', '), 200);
  try {
    const { declarations, unknown, isUnread } = require('./node_typescript.js').readAll(scripts, folder);
    if (isUnread) {
      const why = 'the types of TypeScript are read with the package typescript, which is not there';
      return { declarations, warnings: [`${names}: ${why}: npm install typescript`] };
    }
    const lost = short(unknown.join(', '), 200);
    const what = `${names}: TypeScript does not find ${lost}, and parameters of such types take any value`;
    return { declarations, warnings: lost === '' ? [] : [`${what}: npm install the packages with these types`] };
  } catch (error) {
    const reason = /^\w*Error: .*/m.exec(error?.stderr)?.[0] ?? error?.message;
    const warning = `the types of ${names} are not known: ${short(reason, 200)}`;
    console.error(`metagate: ${warning}`);
    return { declarations: {}, warnings: [warning] };
  }
}

// A function that finds the declaration of an exported function among those of its script.
function lookUp(known, main) {
  if (known === undefined) return undefined;
  return (name, fn) => {
    if (Object.hasOwn(known, name)) return known[name];
    return fn === main ? known.default : undefined;
  };
}

// What the comments of a script say, or undefined if it has none that declare types.
function readComments(file) {
  const declares = (one) => COMMENTS.test(readText(one));
  if (!declares(file) && !IMPORTS.test(readText(file)) && !ownFiles().some(declares)) return undefined;
  try {
    const declarationOf = require('./node_jsdoc.js').declarationsOf(file);
    return (name, fn) => declarationOf(name, sourceOf(fn), typeof fn.name === 'string' ? fn.name : '');
  } catch (error) {
    console.error(`metagate: the comments of ${path.basename(file)} are not read: ${error?.message}`);
    return undefined;
  }
}

// Tries CommonJS first: it loads faster, and Node reports when a file is an ECMAScript module. What a script exports is
// inside an object, and imported through a module that exports it as a whole: a promise of exports with a function
// `then` would call that.
async function loadScript(file) {
  process.argv[1] = file;
  if (TYPESCRIPT.test(file)) requireTypeScript();
  if (!/\.m[jt]s$/.test(file)) {
    try {
      return { namespace: Module.createRequire(file)(file) };
    } catch (error) {
      if (error?.code !== 'ERR_REQUIRE_ESM' && error?.code !== 'ERR_REQUIRE_ASYNC_MODULE') throw error;
    }
  }
  const source = `export * as namespace from ${stringify(pathToFileURL(file))}`;
  return import(`data:text/javascript,${encodeURIComponent(source)}`);
}

// Throws an error if this Node does not run TypeScript, by itself or with what NODE_OPTIONS loads.
function requireTypeScript() {
  const hasHooks = /--(?:import|(?:experimental-)?loader)\b/.test(process.env.NODE_OPTIONS);
  if (process.features.typescript || require.extensions['.ts'] || hasHooks) return;
  const error = new Error(needsNewerNode());
  error[inspect.custom] = () => error.message; // its stack has frames of the worker only
  throw error;
}

// The callables that a module exports, as [name, callable, `this` of its calls].
function* exportsOf(module, stem) {
  const hasDefault = types.isModuleNamespaceObject(module) || module?.__esModule === true;
  const main = hasDefault ? module.default : module;
  if (typeof main === 'function') yield [nameOfDefault(main, stem), main, module];
  for (const object of new Set([main, module])) {
    // A function's own properties are its methods, such as those of a web framework's application.
    if (object === null || typeof object !== 'object') continue;
    if (isOwnInstance(object)) {
      for (const name of methodsOf(object)) yield [name, object[name], object];
    }
    for (const name of Object.keys(object)) {
      const value = object[name];
      if (hasDefault && object === module && name === 'default') continue;
      if (typeof value === 'function') yield [name, value, object];
      else if (typeof value === 'object' && value !== null && isOwnInstance(value)) {
        for (const method of methodsOf(value)) yield [`${name}/${method}`, value[method], value];
      }
    }
  }
}

// A default export without a name has that of its file. A bundler gives it one: `handler_default`.
function nameOfDefault(fn, stem) {
  const name = String(fn.name);
  const bundled = `${stem.replace(/[^\p{ID_Continue}$]/gu, '_')}_default`;
  return name === '' || name === 'default' || name === bundled ? stem : name;
}

// Whether it is an instance of a class that the project itself defines, not a package that it uses.
function isOwnInstance(object) {
  const { constructor } = object;
  if (types.isProxy(object) || types.isModuleNamespaceObject(object) || !isClass(constructor)) return false;
  const source = sourceOf(constructor);
  return ownFiles().some((file) => readText(file).includes(source));
}

function ownFiles() {
  const loaded = Object.keys(require.cache);
  const modules = `${path.sep}node_modules${path.sep}`;
  const isOwn = (file) => path.dirname(file) !== __dirname && !file.includes(modules);
  return [...new Set([process.argv[1], ...loaded])].filter(isOwn);
}

const texts = new Map(); // of files, while scripts load: each is looked at for every script

function readText(file) {
  if (!texts.has(file)) texts.set(file, readFile(file));
  return texts.get(file);
}

function readFile(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

// The public methods of an instance, those of its parent classes among them.
function methodsOf(object) {
  const names = new Set();
  let prototype = Object.getPrototypeOf(object);
  while (prototype !== null && prototype !== Object.prototype && isClass(prototype.constructor)) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
      if (typeof value === 'function' && name !== 'constructor' && !name.startsWith('_')) names.add(name);
    }
    prototype = Object.getPrototypeOf(prototype);
  }
  return names;
}

function isClass(value) {
  return typeof value === 'function' && /^class\b/.test(sourceOf(value));
}

// Adds the exports of the scripts to the table of functions. Returns the packages of the metadata. A name that several
// scripts export means none of their functions: each of them is called by the names of its script and its own.
function addFunctions(loaded, table) {
  const owners = new Map(); // name → the functions of that name
  for (const { exported } of loaded) {
    for (const [name, fn] of exported) {
      if (!isClass(fn)) owners.set(name, (owners.get(name) ?? new Set()).add(fn));
    }
  }
  const described = new Map();
  const methods = new Map(); // of exported instances: name → those with it
  const packages = {};
  for (const { language, script, module, exported, declarationOf } of loaded) {
    const scope = { name: 'global_namespace', funcs: [], classes: [], objects: [] };
    for (const [name, fn, self] of exported) {
      if (isClass(fn)) {
        scope.classes.push({ name });
        continue;
      }
      const full = `${module}/${name}`;
      const own = owners.get(name).size === 1 ? name : full;
      if (!table.has(own)) {
        const parameters = parametersOf(fn);
        const typed = typesOf(declarationOf, own, fn, path.basename(name), parameters);
        const { check, needsDigits, takesObject, hasOwnName, hasFreeKeys } = typed ?? {};
        const hasPattern = parameters.some((one) => one.isPattern);
        const only = { takesObject, hasOwnName, hasFreeKeys };
        const entry = { fn, self, name: own, parameters, hasPattern, check, needsDigits, ...only, slow: false };
        table.set(own, entry);
        described.set(own, describeFunction(own, fn, parameters, typed));
        scope.funcs.push(described.get(own));
      }
      if (own !== full && loaded.length > 1) (described.get(own).aliases ??= []).push(full);
      const method = path.basename(name);
      if (method !== name && !owners.has(method)) methods.set(method, (methods.get(method) ?? new Set()).add(own));
    }
    (packages[language] ??= []).push({ name: script, scope });
  }
  for (const [method, [own, other]] of methods) {
    if (other === undefined) (described.get(own).aliases ??= []).push(method);
  }
  return packages;
}

// What the declared types of a function say, or undefined if it declares none.
function typesOf(declarationOf, own, fn, name, parameters) {
  const declaration = declarationOf?.(name, fn);
  if (declaration === undefined) return undefined;
  const signature = signatureOf({ name: own, parameters });
  return require('./node_binding.js').prepare(declaration, parameters, signature, types.isGeneratorFunction(fn));
}

// What to do about a module that is not found, or nothing.
function missingModule(error, file, folder) {
  if (error?.code !== 'MODULE_NOT_FOUND' && error?.code !== 'ERR_MODULE_NOT_FOUND') return undefined;
  const name = /^Cannot find (?:module|package) '([^']+)'/.exec(error.message)?.[1];
  if (name === undefined || /^[./]/.test(name)) return undefined;
  if (name === 'metacall') {
    return '"metacall" is a part of the MetaCall runtime: set runtime = "metacall" for this deployment';
  }
  const package_ = name.split('/').slice(0, name.startsWith('@') ? 2 : 1).join('/');
  const requiring = error.requireStack?.find((one) => one.startsWith(folder + path.sep)) ?? file;
  let place = path.dirname(requiring);
  while (place !== folder && place.startsWith(folder + path.sep) && !hasPackageFile(place)) place = path.dirname(place);
  const where = stringify(path.relative(folder, place) || '.');
  if (!hasPackageFile(place)) return `${package_} is not installed: run "npm install ${package_}" in ${where}`;
  const listed = readText(path.join(place, 'package.json')).includes(stringify(package_));
  if (listed) return `${package_} is not installed: run "npm install" in ${where}`;
  return `${package_} is not a dependency in package.json: run "npm install ${package_}" in ${where}`;
}

function hasPackageFile(folder) {
  return fs.existsSync(path.join(folder, 'package.json'));
}

function needsNewerNode() {
  const { execPath, versions } = process;
  return `TypeScript needs Node 22.18 or newer, and this is Node ${versions.node} (${execPath}): set "interpreter" to \
a newer one, or deploy the compiled JavaScript`;
}

// What to do about TypeScript that Node refuses, or nothing.
function typeScriptHint({ code, message }) {
  if (code === 'ERR_UNKNOWN_FILE_EXTENSION' && /"\.[cm]?ts"/.test(message)) return needsNewerNode();
  const option = '--experimental-transform-types';
  const canCompile = process.allowedNodeEnvironmentFlags.has(option);
  if (code !== 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX' || !canCompile) return undefined;
  return `Node leaves types out and does not compile: set NODE_OPTIONS = "${option}" in "env", or deploy the compiled \
JavaScript`;
}

// Leaves the lines of the worker out of the stack of an error.
function leaveOutOwnFrames(error) {
  try {
    const isOwn = (line) => line.includes(__dirname + path.sep);
    error.stack = error.stack.split('\n').filter((line) => !isOwn(line)).join('\n');
  } catch {
    // thrown, but not an Error, or one that cannot be changed
  }
}

function failLoad(script, file, folder, error) {
  console.error(`metagate: script ${script} failed to load`);
  leaveOutOwnFrames(error);
  const advice = typeScriptHint(Object(error));
  if (advice !== undefined) console.error(`metagate: ${advice}`);
  if (!(error instanceof SyntaxError)) {
    console.error(error);
    const hint = missingModule(error, file, folder);
    if (hint !== undefined) console.error(`metagate: ${hint}`);
    process.exit(1);
  }
  // Node prints the line with the syntax error only for an uncaught error.
  process.removeAllListeners('uncaughtException');
  nextTick(() => { throw error; });
}

// --- parts -----------------------------------------------------------------------------------------------------------

const parts = {};

// What the parts use of this worker.
const worker = {
  MAX_MESSAGE,
  part, parametersOf, isOwnInstance, render, describeError, isResponse, // of values
  answer, send, fail, raise, respond, // of calls
  begin, finish, end,
};

// The part of this worker in node_<name>.js, which is loaded now if it has not been.
function part(name) {
  parts[name] ??= require(`./node_${name}.js`)(worker);
  return parts[name];
}

// --- arguments -------------------------------------------------------------------------------------------------------

// The arguments in the order of the parameters, and whether their names have decided it, for a call with the names of
// its arguments. Throws a BadArgument if some of the names are parameters and others are not. Without any such name the
// arguments stay in their order.
function bind(entry, args, names, isText) {
  const { parameters } = entry;
  const [only] = parameters;
  if (parameters.length === 1 && takesWhole(entry, only, names, args)) {
    return { args: [Object.fromEntries(names.map((name, i) => [name, args[i]]))], isByName: false };
  }
  // Most callers give all of them in the order of the parameters.
  if (names.length <= parameters.length && names.every((name, i) => isPlainly(parameters[i], name))) {
    return { args, isByName: true };
  }
  const places = names.map((name) => parameters.findIndex((one) => one.isNamed && one.name === name));
  const unknown = places.indexOf(-1);
  if (unknown !== -1) {
    if (places.every((place) => place === -1)) return { args, isByName: false };
    throw unknownArgument(names[unknown], entry);
  }
  const bound = [];
  let rest = [];
  places.forEach((place, i) => {
    if (!parameters[place].isRest) bound[place] = args[i];
    else if (Array.isArray(args[i])) rest = args[i];
    else if (isText) rest = [args[i]]; // a key that comes once
    else throw notAnArray(names[i], args[i]);
  });
  // A missing argument before the rest is undefined.
  if (rest.length > 0) bound.length = parameters.length - 1;
  return { args: [...bound, ...rest], isByName: true };
}

// Whether the only parameter of a function gets the object itself: it is destructured, or declared as an object. The
// object may also name the parameter. A field of that name is the object's own; so is any key of a type with free keys,
// unless its value is an object or null.
function takesWhole({ takesObject, hasOwnName, hasFreeKeys }, only, names, args) {
  if (only.isRest || !(only.isPattern || takesObject)) return false;
  if (names.length !== 1 || names[0] !== only.name || !only.isNamed || hasOwnName === true) return true;
  return hasFreeKeys === true && (typeof args[0] !== 'object' || Array.isArray(args[0]));
}

function isPlainly(parameter, name) {
  return parameter.name === name && parameter.isNamed && !parameter.isRest;
}

// Throws a BadArgument for a value that JavaScript cannot take apart.
function checkPatterns({ parameters }, args) {
  for (const [at, { name, isPattern, isList, isRest, isOptional }] of parameters.entries()) {
    const value = args[at];
    if (!isPattern || isRest || (value === undefined && isOptional)) continue;
    const fits = isList ? typeof value?.[Symbol.iterator] === 'function' : value !== null && value !== undefined;
    if (fits) continue;
    const expected = isList ? 'array' : 'object';
    const what = value === undefined ? 'nothing' : excerpt(value);
    throw new BadArgument(name, `argument ${at + 1} (${name}): expected ${expected}, found ${what}`, expected);
  }
}

// Arguments that do not fit the function, which was not run.
class BadArgument {
  constructor(argument, message, expected) {
    Object.assign(this, { argument: short(argument), message, expected });
  }

  describe() {
    return { name: 'BadArgument', kind: 'argument', ...this };
  }
}

function unknownArgument(name, entry) {
  const known = entry.parameters.filter((one) => one.isNamed).map((one) => one.name);
  return new BadArgument(name, `no parameter ${excerpt(name)}${nearest(name, known)}: ${signatureOf(entry)}`);
}

function notAnArray(name, value) {
  return new BadArgument(name, `argument ${excerpt(name)}: expected array, found ${excerpt(value)}`, 'array');
}

function signatureOf({ name, parameters }) {
  return `${name}(${parameters.map((one) => (one.isRest ? `...${one.name}` : one.name)).join(', ')})`;
}

function excerpt(value) {
  return short(stringify(value));
}

function short(text, length = 80) {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

// The name that a wrong one is most like, as a question, or nothing.
function nearest(name, names) {
  const best = names.map((one) => [distance(name, one), one]).sort(([a], [b]) => a - b)[0];
  const isNear = best !== undefined && best[0] <= 0.4 * Math.max(name.length, best[1].length);
  return isNear ? ` (did you mean ${stringify(best[1])}?)` : '';
}

// How many letters have to be changed, added or removed.
function distance(a, b) {
  if (a.length > 60 || b.length > 60) return Infinity;
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length];
}

// --- calling ---------------------------------------------------------------------------------------------------------

let running = 0; // calls that await something, streams, and the load
let requests; // node_requests.js, once a call has come with its request

// Runs one call, which came in this line, and answers it, now or when what it awaits is settled.
function perform(call, line) {
  if (functions === undefined && loading) {
    waiting.push([call, line]);
    return;
  }
  const { id, name } = call;
  const fault = faultOf(call);
  if (fault !== undefined) {
    fail(id, { name: 'InvalidCall', message: fault });
    return;
  }
  const entry = functions?.get(name);
  if (entry === undefined) {
    fail(id, { name: 'FunctionNotFound', message: `no function ${stringify(name)}` });
    return;
  }
  if (entry.serve !== undefined) serve(entry, call);
  else if (call.body === undefined) invoke(entry, call, call.args ?? [], line);
  else open(entry, call);
}

// Runs a function with the arguments of a call, which are in this line as they came.
function invoke(entry, call, args, line) {
  const { id } = call;
  if (call.names !== undefined || entry.check !== undefined || entry.hasPattern) {
    try {
      let isByName = false;
      const long = line && entry.needsDigits ? require('./node_binding.js').withLongNumbers(line) : undefined;
      args = long?.data.args ?? args;
      if (call.names !== undefined) ({ args, isByName } = bind(entry, args, call.names, call.text === true));
      if (entry.check !== undefined) args = entry.check(args, isByName, call.text === true);
      if (long !== undefined) args = require('./node_binding.js').withoutLongNumbers(args);
      if (entry.hasPattern) checkPatterns(entry, args);
    } catch (misfit) {
      fail(id, misfit.describe?.() ?? describeError(misfit));
      return;
    }
  }
  if (entry.slow) flush();
  let result;
  let thenable;
  try {
    result = call.request === undefined ? Reflect.apply(entry.fn, entry.self, args) : runWithRequest(entry, call, args);
    const kind = typeof result;
    thenable = ((kind === 'object' && result !== null) || kind === 'function') && typeof result.then === 'function';
  } catch (thrown) {
    raise(id, thrown);
  }
  if (thenable === true) settle(id, result);
  else if (thenable === false) succeed(id, result);
  const end = monotonic();
  entry.slow = end - clock > HOLD_NS;
  clock = end;
  if (reading && end - oldest > HOLD_NS) flush();
}

// Why a call cannot be run, or undefined.
function faultOf({ name, args }) {
  if (typeof name !== 'string') return 'name is not a string';
  if (args !== undefined && args !== null && !Array.isArray(args)) return 'args is not an array';
  return undefined;
}

async function settle(id, thenable) {
  running += 1;
  awaited = true;
  try {
    succeed(id, await thenable);
  } catch (thrown) {
    raise(id, thrown);
  }
  finish();
}

// Passes a whole request to an app.
function serve({ serve: take }, call) {
  const { args } = call;
  if (typeof args?.[0]?.method !== 'string' || typeof args[0].uri !== 'string' || !Array.isArray(args[1])) {
    fail(call.id, { name: 'InvalidCall', message: 'args are not an HTTP request' });
  } else if (call.request === undefined) take(call);
  else runWithRequest({ fn: take }, call, [call]);
}

// Runs a function whose arguments are bytes or files.
async function open(entry, call) {
  begin();
  try {
    const args = require('./node_bodies.js').open(call);
    invoke(entry, call, args instanceof Promise ? await args : args);
  } catch (thrown) {
    raise(call.id, thrown);
  }
  finish();
}

function runWithRequest({ fn, self }, call, args) {
  requests ??= require('./node_requests.js');
  return requests.run(call, () => Reflect.apply(fn, self, args));
}

// Answers a call with what its function has thrown.
function raise(id, thrown) {
  if (isResponse(thrown)) part('answers').respond(id, thrown);
  else fail(id, describeError(thrown));
}

// Whether a result may be more than a value: a Response, a generator, a stream.
function isOpen(value) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return value[Symbol.asyncIterator] !== undefined || typeof value.next === 'function'
    || typeof value.arrayBuffer === 'function';
}

function isResponse(value) {
  try {
    return isOpen(value) && require('./node_answers.js').isResponse(value);
  } catch {
    return false; // a proxy, or an object with getters that throw
  }
}

function succeed(id, result) {
  let json;
  try {
    if (isOpen(result) && within(id, () => part('answers').answer(id, result))) return;
    json = render(result);
  } catch (thrown) {
    fail(id, describeError(thrown));
    return;
  }
  const tail = json === undefined ? '}}\n' : ',"result":' + json + '}}\n';
  const line = '{"type":"FunctionInvokeResult","data":{"id":' + stringify(id) + tail;
  const size = sizeOf(line);
  if (size > MAX_MESSAGE) {
    const message = `the result has ${size} bytes, more than the deployment's max_message of ${MAX_MESSAGE} bytes`;
    fail(id, { name: 'ResultTooLarge', message, kind: 'result_too_large' });
    return;
  }
  answer(line);
  end(id);
}

// Bytes of a line, or a number that is small enough: a unit of a string has three bytes at most.
function sizeOf(line) {
  return line.length * 3 <= MAX_MESSAGE ? 0 : Buffer.byteLength(line);
}

function fail(id, error) {
  let line = messageLine('FunctionInvokeError', { id, error });
  if (sizeOf(line) > MAX_MESSAGE) {
    const cut = (text) => text?.slice(0, Math.min(ERROR_LENGTH, MAX_MESSAGE / 40));
    const { name, message, stack, ...rest } = error;
    const shorter = { name: cut(name), message: cut(message), stack: cut(stack), ...rest };
    line = messageLine('FunctionInvokeError', { id, error: shorter });
  }
  answer(line);
  end(id);
}

let retired = false;

// An error outside a call, or a rejection that nothing handles: it may have left the worker in any state.
function retire(error) {
  if (process.listenerCount('uncaughtException') > 1) return; // a script handles them itself
  const { name, message, stack } = describeError(error);
  console.error(`metagate: an error outside a call: ${stack ?? `${name}: ${message}`}`);
  if (retired) return;
  retired = true;
  send('Retire', { reason: short(`an error outside a call: ${name}: ${message}`, 300) });
}

// Runs what belongs to a call where `request()` of the module `metagate` finds its request.
function within(id, fn) {
  return requests === undefined ? fn() : requests.within(id, fn);
}

// Answers a call with a whole response.
function respond(id, response) {
  send('FunctionInvokeResult', { id, response });
  end(id);
}

// A call has been answered to its end.
function end(id) {
  requests?.end(id);
}

function begin() {
  running += 1;
}

function finish() {
  running -= 1;
  if (ended && running === 0) process.exit(0);
}

// --- channel ---------------------------------------------------------------------------------------------------------

let channel;
let ended = false; // the gateway has closed its end
let partial = []; // the pieces of a line whose end has not arrived
let reading = false; // inside `receive`
let awaited = false; // whether a call since the start of `receive` awaits something
let clock = 0n; // when the previous call ended
let out = ''; // answers to be written
let oldest = 0n; // when the first of them was added
let scheduled = false; // whether a flush is scheduled

// Handles the whole lines of one read, and keeps the rest for the next.
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
  // Functions that only await settled promises end in this turn of the event loop: their answers join this write.
  if (awaited && monotonic() - oldest < HOLD_NS) queueMicrotask(flushSoon);
  else flush();
  return true;
}

function handle(line) {
  let message;
  try {
    message = parse(line);
  } catch (error) {
    refuse(line, error);
    return;
  }
  const type = message?.type;
  const data = message?.data;
  if (type === 'CallFunction') {
    // Without an id there is nothing to answer.
    if (typeof data?.id === 'string') perform(data, line);
    else ignore(line, 'a call without an id');
  } else if (type === 'Probe') send('ProbeResult');
  else if (type === 'LoadFunctions' && !loading) {
    if (isLoad(data)) load(data);
    else ignore(line, 'not the data of LoadFunctions');
  } else if (FLOWS.has(type) && typeof data?.id === 'string') flow(type, data);
  else if (message === null || typeof message !== 'object' || Array.isArray(message)) ignore(line, 'not an object');
}

// Passes on a message about the bodies and streams of a call.
function flow(type, data) {
  if (type === 'CancelCall') requests?.cancel(data.id);
  parts[FLOWS.get(type)]?.receive(type, data);
}

// The start of a call as the gateway writes it. It finds the id in a line that is not JSON, such as one with NaN.
const CALL_START = /^\{"type":"CallFunction","data":\{"id":"([^"\\\u0000-\u001f]*)"/;

// Answers a line that is not JSON if it is a call; ignores it if not.
function refuse(line, error) {
  const call = CALL_START.exec(line);
  if (call !== null) fail(call[1], { name: 'InvalidCall', message: `the call cannot be read: ${error.message}` });
  else if (!/^[ \t\r]*$/.test(line)) ignore(line, 'not JSON');
}

function ignore(line, why) {
  console.error(`metagate: ignored a line of the channel: ${why}: ${stringify(line.slice(0, 200))}`);
}

function isLoad(data) {
  if (typeof data?.id !== 'string' || typeof data.path !== 'string' || !Array.isArray(data.jsons)) return false;
  const isText = (value) => typeof value === 'string';
  return data.jsons.every((json) => isText(json?.language_id) && isText(json.path ?? '.')
    && Array.isArray(json.scripts) && json.scripts.every(isText));
}

function send(type, data) {
  answer(messageLine(type, data));
}

// Half of a surrogate pair is no text for the gateway: one in an error, for example of a text that was cut, becomes
// U+FFFD. JSON.stringify writes each as an escape; other escapes are left alone.
function messageLine(type, data) {
  const line = stringify({ type, data }) + '\n';
  if (!line.includes('\\ud')) return line;
  return line.replace(/\\(?:u(d[89a-f][0-9a-f]{2})|.)/g, (escape, half) => (half === undefined ? escape : '\ufffd'));
}

function answer(line) {
  const time = reading ? clock : monotonic();
  if (out === '') oldest = time;
  out += line;
  if (out.length >= LARGE || time - oldest > HOLD_NS) flush();
  else if (!reading) flushSoon();
}

// Writes after everything that can end in this turn of the event loop has ended.
function flushSoon() {
  if (scheduled) return;
  scheduled = true;
  nextTick(() => {
    scheduled = false;
    flush();
  });
}

// Writes everything before it returns, so that no answer is lost however the process ends. While the socket is full the
// worker blocks; the gateway always reads, so this cannot deadlock.
function flush() {
  if (out === '') return;
  const bytes = out.length < LARGE ? out : Buffer.from(out);
  out = '';
  if (channel.destroyed) return; // after an error Node has closed fd 3, and the number may belong to another file
  try {
    const written = writeSome(bytes);
    if (written === bytes.length || written === Buffer.byteLength(bytes)) return;
    const rest = typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
    channel._handle.setBlocking(true);
    for (let at = written; at < rest.length;) at += writeSync(CHANNEL, rest, at);
    channel._handle.setBlocking(false);
  } catch (error) {
    // The gateway is gone; the next read finds the end of the channel.
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

function close() {
  if (ended) return;
  ended = true;
  if (running === 0) process.exit(0);
  setTimeout(() => process.exit(0), GRACE_MS);
}

// --- start -----------------------------------------------------------------------------------------------------------

const { listen } = net.Server.prototype;
net.Server.prototype.listen = function listenOrHold(...args) {
  return holdsServers ? part('listening').listen(this, args, listen) : Reflect.apply(listen, this, args);
};
const resolveFilename = Module._resolveFilename;
Module._resolveFilename = function resolve(request, ...rest) {
  const find = () => Reflect.apply(resolveFilename, this, [request, ...rest]);
  return request === 'metagate' ? require('./node_resolve.js').resolveRequire(find) : find();
};
delete process.env.METAGATE_CHANNEL_FD;
delete process.env.METAGATE_CONCURRENCY;
delete process.env.METAGATE_MAX_MESSAGE;
process.on('exit', flush);
// Without this, text that a full pipe has not accepted is lost at the exit.
for (const { _handle: pipe } of [process.stdout, process.stderr]) pipe?.setBlocking?.(true);
channel = new net.Socket({
  fd: CHANNEL,
  allowHalfOpen: true, // answers are still written after the gateway has closed its writing direction
  onread: { buffer: Buffer.allocUnsafeSlow(READ_SIZE), callback: receive },
});
channel.on('end', close);
channel.on('error', close);
