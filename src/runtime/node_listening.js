// Servers that a script starts while it is loaded. The port of an app is the gateway's, so `listen(3000)` opens none:
// the server is remembered, and is told that it listens. If the deployment turns out to have functions, it is a server
// that they use, and listens after all. Port 0 and sockets of files are such servers from the start.
'use strict';

const http = require('http');
const https = require('https');

const PATIENCE_MS = 5000; // that a script without functions gets until its server listens

module.exports = function listening() {
  const held = []; // {server, args, listen} of servers that have not been opened
  let found; // called with the next one

  // In place of `server.listen(…args)`.
  function listen(server, args, original) {
    const isApp = server instanceof http.Server || server instanceof https.Server;
    const port = portOf(args);
    if (!isApp || port === undefined || held.some((one) => one.server === server)) return original.apply(server, args);
    held.push({ server, args, original });
    pretend(server, port, args.find((one) => typeof one === 'function'));
    found?.();
    return server;
  }

  // The first of them, as soon as there is one; undefined if there is none in time.
  async function first() {
    if (held.length === 0) {
      await new Promise((resolve) => {
        found = resolve;
        setTimeout(resolve, PATIENCE_MS);
      });
    }
    return held[0]?.server;
  }

  // What there is no port for, as a line of the log, or undefined.
  function note() {
    if (held.length === 0) return undefined;
    const ports = held.map(({ args }) => `listen(${portOf(args) || ''})`).join(', ');
    return `${ports} opens no port: the app is served below the address of the deployment, at /http`;
  }

  // The deployment has functions: its servers listen.
  function open() {
    for (const { server, args, original } of held.splice(0)) {
      for (const name of ['listening', 'address', 'close']) delete server[name];
      original.apply(server, args.filter((one) => typeof one !== 'function'));
    }
  }

  return { listen, first, note, open };
};

// The port that an app asks for, 0 for none in particular; undefined for other servers.
function portOf([first]) {
  const options = first !== null && typeof first === 'object' ? first : { port: first };
  const { port, path, fd, _handle: handle } = options;
  if (path !== undefined || fd !== undefined || handle !== undefined) return undefined;
  if (port === undefined || port === null || typeof port === 'function') return 0;
  const number = Number(port);
  return number > 0 && number < 65536 ? number : undefined;
}

function pretend(server, port, callback) {
  const define = (name, value) => Object.defineProperty(server, name, { value, configurable: true, writable: true });
  define('listening', true);
  define('address', () => ({ address: '::', family: 'IPv6', port }));
  define('close', function close(done) {
    process.nextTick(() => {
      server.emit('close');
      done?.();
    });
    return server;
  });
  if (callback !== undefined) server.once('listening', callback);
  process.nextTick(() => server.emit('listening'));
}
