// The MetaCall worker: run as `metacall metacall.js`, it loads the scripts of one release, in any languages that the
// MetaCall runtime supports, and runs their functions for the gateway.
//
// The gateway starts it in the release's folder with one end of a UNIX stream socketpair as fd 3, which Node itself
// opens (NODE_CHANNEL_FD). A message is one JSON object on one line, `{"type": T, "data": D}`.
//
//   gateway → worker   LoadFunctions           {"id","path","jsons":[{"language_id":"py","path":".","scripts":[…]}]}
//                      CallFunction            {"id","name","args":[…]}
//   worker → gateway   GetApplicationMetadata  the functions that were loaded, once
//                      FunctionInvokeResult    {"id","result"}; no `result` for undefined
//                      FunctionInvokeError     {"id","error":{"name","message","stack"}}
//
// Messages of unknown types and calls without an id are ignored. The runtime converts values between languages. A
// script that fails to load ends the worker with code 1. The end of the channel ends it with code 0 and without
// waiting for running calls, because Node then closes both directions.
'use strict';

const fs = require('fs');
const os = require('os');
const path = require('path');
const { inspect, types } = require('util');
const {
  metacall_execution_path: executionPath,
  metacall_inspect: inspectRuntime,
  metacall_load_from_configuration_export: loadConfiguration,
} = require('metacall');

// The gateway refuses results that nest deeper, and takes the worker for broken.
const MAX_DEPTH = 128;

// --- rendering of values ---------------------------------------------------------------------------------------------

// Throws an error that names the place of a value that JSON.stringify would drop or refuse. `process.send` renders the
// result later.
function check(result) {
  const fault = findFault(result, []);
  if (fault !== undefined) throw notJSON(`result${fault.place} is ${fault.why}`);
}

// The first fault in a value; `open` holds the objects that contain it. The place is built while returning, so that a
// result without faults costs no text.
function findFault(value, open) {
  if (value !== null && value !== undefined && typeof value.toJSON === 'function') value = value.toJSON();
  const why = whyNotJSON(value);
  if (why !== undefined) return { place: '', why };
  if (typeof value !== 'object' || value === null) return undefined;
  if (open.includes(value)) return { place: '', why: 'circular: it contains itself' };
  if (open.length === MAX_DEPTH) return { place: '', why: `nested deeper than ${MAX_DEPTH} levels` };
  open.push(value);
  for (const key of Array.isArray(value) ? value.keys() : Object.keys(value)) {
    const fault = findFault(value[key], open);
    if (fault !== undefined) return { place: step(key) + fault.place, why: fault.why };
  }
  open.pop();
  return undefined;
}

function step(key) {
  return /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
}

function whyNotJSON(value) {
  switch (typeof value) {
    case 'bigint': return 'a BigInt: JSON has no integer of any size here; return a string or Number';
    case 'function': return 'a function: JSON has no functions';
    case 'symbol': return 'a Symbol: JSON has no symbols; return a string';
    case 'number':
      return Number.isFinite(value) ? undefined : `${value}: JSON has no such number; return null or a string`;
    default: break;
  }
  if (types.isMap(value)) return 'a Map: JSON would lose its entries; return Object.fromEntries(map)';
  if (types.isSet(value)) return 'a Set: JSON would lose its items; return [...set]';
  if (types.isPromise(value)) return 'a Promise: only the result itself is awaited';
  return undefined;
}

function notJSON(message) {
  const error = new TypeError(message);
  error.stack = undefined; // it would show frames of the worker, none of the function
  return error;
}

// A thrown value as the protocol's error. It must not throw, although getters of the thrown object may.
function describeError(thrown) {
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
    const text = inspect(thrown, { breakLength: Infinity }).slice(0, 500);
    return { name: 'Error', message: `thrown, but not an Error: ${text}` };
  } catch {
    return { name: 'Error', message: `thrown, but cannot be shown: a value of type ${typeof thrown}` };
  }
}

// --- signatures ------------------------------------------------------------------------------------------------------

const UNKNOWN_TYPE = { name: '', id: 20 };

// The handles of one configuration among those that the runtime lists, which include scripts of its own. The runtime
// names a handle by the script as given, by a path relative to an execution path or by the absolute path. It lists one
// handle, with the name of the first script, for all scripts of a configuration.
function handlesOf(configuration, listed, folder) {
  const base = path.resolve(folder, configuration.path);
  const scripts = new Map(configuration.scripts.map((script) => [path.resolve(base, script), script]));
  const left = new Set(configuration.names.filter((name) => functions.get(name).configuration === configuration));
  const handles = [];
  for (const { name, scope } of listed) {
    const file = [path.resolve(base, name), path.resolve(folder, name)].find((candidate) => scripts.has(candidate));
    if (file === undefined) continue;
    const funcs = (scope.funcs ?? []).filter((func) => left.delete(func.name));
    handles.push({ name: scripts.get(file), scope: { ...scope, funcs } });
  }
  // Exported functions that the runtime does not describe can still be called.
  if (left.size > 0) {
    const signature = { ret: { type: UNKNOWN_TYPE }, args: [] };
    const funcs = [...left].map((name) => ({ name, signature, async: false }));
    const scope = { name: 'global_namespace', funcs, classes: [], objects: [] };
    handles.push({ name: configuration.scripts[0], scope });
  }
  return handles;
}

// --- loading ---------------------------------------------------------------------------------------------------------

const functions = new Map(); // name → {fn, configuration}

function load({ id, path: folder, jsons }) {
  const configurations = (jsons.length > 0 ? jsons : configurationsIn(folder)).map((json) => ({ path: '.', ...json }));
  // The runtime reads configurations from files. The release's folder is not written to, so they go to a temporary one.
  // Where pip has put the release's packages. The runtime's start script sets PYTHONPATH itself.
  const packages_ = path.join(folder, '.packages', 'python');
  const hasPython = configurations.some((one) => one.language_id === 'py');
  if (hasPython && fs.existsSync(packages_)) executionPath('py', packages_);
  const scratch = fs.mkdtempSync(path.join(fs.realpathSync(os.tmpdir()), 'metagate-'));
  try {
    for (const [i, configuration] of configurations.entries()) {
      loadScripts(configuration, folder, path.join(scratch, `metacall-${i}.json`));
    }
  } finally {
    fs.rmSync(scratch, { recursive: true, force: true });
  }
  const listed = inspectRuntime();
  const packages = {};
  for (const configuration of configurations) {
    const language = configuration.language_id;
    packages[language] = [...(packages[language] ?? []), ...handlesOf(configuration, listed[language] ?? [], folder)];
  }
  send('GetApplicationMetadata', { status: 'ready', prefix: '', suffix: id, version: 'v1', packages, ports: [] });
}

// The configurations of the folder's files. MetaCall FaaS lists in LoadFunctions only those without a file.
function configurationsIn(folder) {
  const files = fs.readdirSync(folder).filter((name) => /^metacall(-.+)?\.json$/.test(name)).sort();
  return files.map((name) => JSON.parse(fs.readFileSync(path.join(folder, name), 'utf8')));
}

function loadScripts(configuration, folder, file) {
  const { language_id: language, path: below, scripts } = configuration;
  const base = path.resolve(folder, below);
  // A relative path, because older runtimes append even an absolute `path` to the folder of the file.
  const relative = path.relative(path.dirname(file), base);
  fs.writeFileSync(file, JSON.stringify({ language_id: language, path: relative, scripts }));
  executionPath(language, folder);
  executionPath(language, base);
  let exported;
  try {
    exported = loadConfiguration(file);
    if (exported === null || exported === undefined) throw new Error('the runtime refused the scripts');
  } catch (error) {
    // The runtime prints the error of the script, but not always the script's name.
    console.error(`metagate: ${language} scripts ${inspect(scripts)} failed to load`);
    throw error;
  }
  configuration.names = Object.keys(exported).filter((name) => typeof exported[name] === 'function');
  for (const name of configuration.names) {
    const earlier = functions.get(name)?.configuration;
    if (earlier !== undefined) {
      const [now, before] = [inspect(scripts), inspect(earlier.scripts)];
      console.error(`metagate: ${now} replaces the function ${inspect(name)} of ${before}`);
    }
    functions.set(name, { fn: exported[name], configuration });
  }
}

// --- calling ---------------------------------------------------------------------------------------------------------

async function perform({ id, name, args }) {
  const entry = functions.get(name);
  if (entry === undefined) {
    fail(id, { name: 'FunctionNotFound', message: `no function ${JSON.stringify(name)}` });
    return;
  }
  try {
    const result = await entry.fn(...(args ?? []));
    // An error of another language may arrive as a value.
    if (types.isNativeError(result)) throw result;
    check(result);
    succeed(id, result);
  } catch (thrown) {
    fail(id, describeError(thrown));
  }
}

function succeed(id, result) {
  send('FunctionInvokeResult', { id, result });
}

function fail(id, error) {
  send('FunctionInvokeError', { id, error });
}

// --- channel ---------------------------------------------------------------------------------------------------------

const sendMessage = process.send?.bind(process);

// The callback takes the error when the gateway is gone; without a callback Node would emit it and end the process.
function send(type, data) {
  sendMessage({ type, data }, () => {});
}

function receive(message) {
  // Without an id there is nothing to answer.
  if (message?.type === 'CallFunction' && typeof message.data?.id === 'string') perform(message.data);
  if (message?.type !== 'LoadFunctions') return;
  try {
    load(message.data);
  } catch (error) {
    console.error(error?.stack ?? error);
    process.exit(1); // no message is waiting to be sent that this could cut off
  }
}

// --- start -----------------------------------------------------------------------------------------------------------

if (sendMessage === undefined) {
  console.error('metagate: no channel: NODE_CHANNEL_FD is not set');
  process.exit(1);
}
delete process.env.METAGATE_CHANNEL_FD;
delete process.env.METAGATE_CONCURRENCY;
delete process.env.METAGATE_MAX_MESSAGE;
process.send = undefined; // libraries that find it send messages such as `ready`, and the channel is not theirs
process.on('message', receive);
process.on('disconnect', () => process.exit(0));
