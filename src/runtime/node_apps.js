// Web apps of scripts: which export is one, and how it is served. An app is an object with `fetch`, an application of
// Express, Fastify, Koa or hapi, a server of Node's `http`, or a handler `(req, res)`. node.js loads this for scripts
// that export something like it, and for deployments with `app` or `handler`.
'use strict';

const fs = require('fs');
const http = require('http');
const path = require('path');
const { types } = require('util');

const requests = require('./node_requests.js');

const NAMES = ['app', 'application', 'server', 'handler']; // of exports, after the default one
const LAMBDA = ['handler', 'lambda_handler'];
const ENDINGS = ['', '.js', '.mjs', '.cjs', '.ts', '.mts', '.cts', '/index.js'];
const REQUEST = /^_?(?:req|request)$/;
// What workers of Cloudflare get as the third argument: the process goes on by itself.
const CONTEXT = {
  waitUntil(promise) { Promise.resolve(promise).catch(console.error); },
  passThroughOnException() {},
};
const RESPONSE = /^_?(?:res|response|reply)$/;

module.exports = function apps(worker) {
  // The app of scripts {script, namespace, exported}, as {language, script, http, serve, left}, or undefined. `left`
  // has the names of other functions; `settings` has the deployment's `app` and `handler`.
  async function find(loaded, settings) {
    const isLambda = settings.handler === 'lambda';
    const [, name] = split(settings.app);
    for (const { language, script, namespace, exported } of loaded) {
      const candidates = name === undefined ? candidatesOf(namespace, exported, isLambda) : [at(namespace, name)];
      for (const [value, self] of candidates) {
        const serve = isLambda ? lambdaOf(value, self) : await serverOf(value, self, name !== undefined);
        if (serve !== undefined) {
          return { language, script, http: isLambda || 'stream', serve, left: leftOut(loaded, value) };
        }
      }
      const [only] = exported;
      const isFetch = !isLambda && name === undefined && exported.length === 1 && only[0] === 'fetch';
      if (isFetch) return { language, script, http: 'stream', serve: fetchOf(only[1], only[2]) };
    }
    if (settings.app === undefined && !isLambda) return undefined;
    throw notFound(loaded, settings);
  }

  // The app of a server that listens.
  function ofServer(server) {
    catchListeners(server);
    return (call) => worker.part('app_server').serve(server, call);
  }

  // What a listener of the server throws at once is the error of its call, not one outside of calls.
  function catchListeners(server) {
    const emit = server.emit;
    server.emit = function emitCaught(event, ...args) {
      if (event !== 'request') return Reflect.apply(emit, this, [event, ...args]);
      try {
        return Reflect.apply(emit, this, [event, ...args]);
      } catch (thrown) {
        const { socket } = args[0];
        if (typeof socket.fail !== 'function') throw thrown; // a server that the script uses itself
        socket.fail(thrown);
        return true;
      }
    };
  }

  // What serves calls of an app, or undefined for what is none. What is `named` may be any function.
  async function serverOf(value, self, isNamed) {
    if (value === null || (typeof value !== 'object' && typeof value !== 'function')) return undefined;
    if (value instanceof http.Server) return ofServer(value);
    if (typeof value.inject === 'function') {
      const prepare = value.ready ?? value.initialize; // Fastify, hapi
      const server = value.server instanceof http.Server ? value.server : value.listener;
      if (typeof prepare === 'function' && server instanceof http.Server) {
        await prepare.call(value);
        return ofServer(server);
      }
    }
    if (typeof value.fetch === 'function') return fetchOf(value.fetch, value);
    if (typeof value.use === 'function') {
      if (typeof value.callback === 'function') return handlerOf(value.callback(), value); // Koa
      if (typeof value === 'function' && typeof value.handle === 'function') return handlerOf(value, self); // Express
    }
    if (typeof value !== 'function') return undefined;
    const parameters = worker.parametersOf(value).map((one) => one.name);
    const isHandler = parameters.length <= 3 && REQUEST.test(parameters[0]) && RESPONSE.test(parameters[1]);
    if (isHandler || (isNamed && value.length > 1)) return handlerOf(value, self);
    return isNamed ? fetchOf(value, self) : undefined;
  }

  // Serves calls with a handler `(req, res)`. One of a middleware gets a `next`; applications have their own last one.
  function handlerOf(handler, self) {
    const hasNext = handler.length === 3 && typeof handler.handle !== 'function';
    const server = http.createServer((req, res) => {
      const fail = (thrown) => req.socket.fail(thrown);
      const next = (error) => {
        if (error) fail(error);
        else res.writeHead(404).end();
      };
      try {
        Reflect.apply(handler, self, hasNext ? [req, res, next] : [req, res])?.catch?.(fail);
      } catch (thrown) {
        fail(thrown);
      }
    });
    return ofServer(server);
  }

  // Serves calls with a function from a `Request` of the Web to a `Response`.
  function fetchOf(fetch, self) {
    return async (call) => {
      worker.begin();
      try {
        const response = await Reflect.apply(fetch, self, [requestOf(call), process.env, CONTEXT]);
        if (!worker.isResponse(response)) throw new TypeError('fetch of the app has not returned a Response');
        const hasBody = call.args[0].method !== 'HEAD';
        worker.part('answers').respond(call.id, response, hasBody);
      } catch (thrown) {
        worker.raise(call.id, thrown);
      }
      worker.finish();
    };
  }

  function requestOf({ id, args: [{ method, uri, body, base64, stream }, pairs], request = {} }) {
    const headers = requests.headersOf(pairs);
    const { scheme = 'http', host = headers.get('host') ?? 'localhost' } = request;
    const options = { method, headers, signal: requests.current()?.signal };
    const hasBody = method !== 'GET' && method !== 'HEAD';
    if (hasBody && stream === true) Object.assign(options, { body: bodyOf(id), duplex: 'half' });
    else if (hasBody && body !== undefined) options.body = body;
    else if (hasBody && base64 !== undefined) options.body = Buffer.from(base64, 'base64');
    // A text would get a content type.
    if (typeof options.body === 'string') options.body = Buffer.from(options.body);
    return new Request(`${scheme}://${host}${uri}`, options);
  }

  // A body that comes piece by piece. What waits in it has not been taken.
  function bodyOf(id) {
    let inlet;
    let waiting = 0;
    return new ReadableStream({
      start(controller) {
        inlet = new (worker.part('inlets').Inlet)(id, {
          take(bytes) {
            controller.enqueue(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length));
            if (controller.desiredSize > 0) inlet.taken(bytes.length);
            else waiting += bytes.length;
          },
          end: () => controller.close(),
          fail: (message) => controller.error(new Error(message)),
        });
      },
      pull() {
        const bytes = waiting;
        waiting = 0;
        if (bytes > 0) inlet.taken(bytes);
      },
      cancel: () => inlet.close(),
    }, new ByteLengthQueuingStrategy({ highWaterMark: 64 * 1024 }));
  }

  // Serves calls with a handler of AWS Lambda.
  function lambdaOf(handler, self) {
    if (typeof handler !== 'function') return undefined;
    const lambda = require('./node_lambda.js');
    return async (call) => {
      worker.begin();
      try {
        const result = await lambda.run(handler, self, call, handler.name || 'handler');
        const { head, bytes } = lambda.responseOf(result);
        worker.part('streams').sendBody(call.id, head, worker.part('answers').sourceOf([bytes].values()));
      } catch (thrown) {
        worker.raise(call.id, thrown);
      }
      worker.finish();
    };
  }

// "main:app" as ["main", "app"]; either may be missing.
function split(app) {
  if (app === undefined) return [undefined, undefined];
  const colon = app.lastIndexOf(':');
  const [module, name] = colon === -1 ? [app, ''] : [app.slice(0, colon), app.slice(colon + 1)];
  return [module || undefined, name || undefined];
}

// The script that `app` names, relative to the folder, or undefined if it names none. Calls `fail` if there is none.
function scriptOf(folder, app, fail) {
  const [module] = split(app);
  if (module === undefined) return undefined;
  const isFile = (name) => fs.statSync(path.join(folder, name), { throwIfNoEntry: false })?.isFile();
  const found = ENDINGS.map((ending) => module + ending).find(isFile);
  const [setting, script] = [app, module].map((text) => JSON.stringify(text));
  if (found === undefined) fail(plainError(`app = ${setting}: there is no script ${script}`));
  return found;
}

  // The exports that may be an app, as [value, what it is called on]. An object of the project's own class with several
  // methods is one of functions, whatever their names.
  function candidatesOf(namespace, exported, isLambda) {
    const isOwn = exported.length > 1 && !('default' in Object(namespace)) && worker.isOwnInstance(Object(namespace));
    return exportsLikeApps(namespace, isLambda).filter(([value]) => !isOwn || value !== namespace);
  }

  return { find, ofServer, scriptOf };
};

function exportsLikeApps(namespace, isLambda) {
  const exports = Object(namespace);
  const inner = Object(exports.default); // what a bundler has made of `module.exports`
  const names = isLambda ? LAMBDA : NAMES;
  const main = 'default' in exports && !isLambda ? [[exports.default, exports]] : [];
  // Without a default export, the export itself; an object of exports is no app, whatever their names.
  if (main.length === 0 && !isLambda && isWhole(namespace)) main.push([namespace, undefined]);
  const named = names.flatMap((name) => [exports, inner].filter((one) => name in one).map((one) => [one[name], one]));
  const other = isLambda && 'default' in exports ? [[exports.default, exports]] : [];
  const own = isLambda && typeof namespace === 'function' ? [[namespace, undefined]] : [];
  return [...main, ...named, ...other, ...own];
}

// Whether `module.exports` is one thing, and not an object of functions.
function isWhole(namespace) {
  if (types.isModuleNamespaceObject(namespace) || namespace?.__esModule === true) return false;
  return Object.getPrototypeOf(Object(namespace)) !== Object.prototype || typeof namespace?.inject === 'function';
}

// The names of the functions that are exported as well, and cannot be called.
function leftOut(loaded, app) {
  const isOther = ([name, fn]) => fn !== app && Object(app)[name] !== fn;
  return loaded.flatMap(({ exported }) => exported.filter(isOther).map(([name]) => name));
}

// The value at a path such as "app" or "servers.main", and what holds it.
function at(namespace, name) {
  let holder;
  let value = namespace;
  for (const key of name.split('.')) {
    holder = value;
    value = Object(value)[key] ?? Object(Object(value).default)[key];
  }
  return [value, holder];
}

function notFound(loaded, { app, handler }) {
  const names = loaded.flatMap(({ exported }) => exported.map(([name]) => name)).join(', ');
  const what = handler === 'lambda' ? 'no function "handler"' : 'no app';
  const where = app === undefined ? '' : ` at ${JSON.stringify(app)}`;
  return plainError(`there is ${what}${where}; exported ${names === '' ? 'is nothing' : `are ${names}`}`);
}

// An error without a stack, which would show the worker only.
function plainError(message) {
  const error = new Error(message);
  error.stack = undefined;
  return error;
}
