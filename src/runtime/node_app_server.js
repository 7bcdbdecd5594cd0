// Passes requests to a server of Node's own `http`, through its own parser and without a port: each request has a
// socket that exists in this process only. What the server writes to it is read as an HTTP response. node.js loads
// this for apps of Express, Fastify, Koa and the like.
'use strict';

const { Duplex } = require('stream');
const { setImmediate: later } = require('timers');
const { ResponseReader } = require('./node_app_response.js');
const { toBytes } = require('./node_header_text.js');

const WHOLE = 64 * 1024; // bytes of a body that may be answered in one piece

module.exports = function appServer(worker) {
  // The server's end of a connection with the request of one call.
  class Socket extends Duplex {
    #call;
    #inlet;
    #outlet;
    #response;
    #untaken = 0; // bytes of the request's body that wait in this stream
    #sent = Promise.resolve(); // when all that was written so far has been sent
    #isStarting = false;
    #isAnswered = false;

    constructor(call) {
      super();
      this.#call = call;
      const { client, scheme, base } = call.request ?? {};
      this.base = base ?? '';
      this.encrypted = scheme === 'https';
      this.remoteAddress = client ?? '127.0.0.1';
      this.remoteFamily = this.remoteAddress.includes(':') ? 'IPv6' : 'IPv4';
      this.remotePort = 0;
      this.localAddress = '127.0.0.1';
      this.localPort = this.encrypted ? 443 : 80;
      this.#outlet = new (worker.part('streams').Outlet)(call.id, () => { this.destroy(); });
      this.#response = new ResponseReader(call.args[0].method === 'HEAD');
      this.on('error', () => {}); // the call's answer says it
    }

    // What servers and frameworks call on a socket of the network.
    setTimeout() { return this; }
    setNoDelay() { return this; }
    setKeepAlive() { return this; }
    ref() { return this; }
    unref() { return this; }
    address() { return { address: this.localAddress, family: 'IPv4', port: this.localPort }; }

    // Writes the request to the server.
    begin() {
      const [{ method, uri, body, base64, stream }, headers] = this.#call.args;
      const isWhole = stream !== true;
      const bytes = body === undefined ? Buffer.from(base64 ?? '', 'base64') : Buffer.from(body);
      let isLong = false; // whether the request says how long its body is
      let hasHost = false;
      let head = `${method} ${uri} HTTP/1.1\r\n`;
      for (const [name, value] of headers) {
        if (name === 'content-length') {
          isLong = true;
          if (isWhole) continue;
        }
        hasHost ||= name === 'host';
        head += `${name}: ${toBytes(value)}\r\n`;
      }
      if (!hasHost) head += `host: ${this.#call.request?.host ?? 'localhost'}\r\n`;
      if (isWhole && (bytes.length > 0 || isLong)) head += `content-length: ${bytes.length}\r\n`;
      if (!isWhole && !isLong) head += 'transfer-encoding: chunked\r\n';
      head = Buffer.from(`${head}\r\n`, 'latin1');
      if (!isWhole) this.#receive(!isLong);
      this.push(bytes.length > 0 ? Buffer.concat([head, bytes]) : head);
    }

    // Passes on the body as it comes, in chunks if its length is not known.
    #receive(isChunked) {
      const { Inlet } = worker.part('inlets');
      this.#inlet = new Inlet(this.#call.id, {
        take: (bytes) => {
          if (bytes.length === 0 || this.destroyed) return;
          this.#untaken += bytes.length;
          if (isChunked) this.push(`${bytes.length.toString(16)}\r\n`);
          const hasRoom = this.push(bytes);
          if (isChunked) this.push('\r\n');
          if (hasRoom) this._read();
        },
        end: () => {
          if (isChunked && !this.destroyed) this.push('0\r\n\r\n');
        },
        fail: () => this.destroy(),
      });
    }

    _read() {
      const bytes = this.#untaken;
      this.#untaken = 0;
      if (bytes > 0) this.#inlet.taken(bytes);
    }

    _write(chunk, encoding, done) {
      this.#pass(chunk, done);
    }

    _writev(chunks, done) {
      this.#pass(Buffer.concat(chunks.map(({ chunk }) => chunk)), done);
    }

    _final(done) {
      this.#response.end();
      this.#pass(Buffer.alloc(0), done);
    }

    // Answers with what a handler has thrown.
    fail(thrown) {
      if (!this.#isAnswered) {
        this.#isAnswered = true;
        this.#outlet.fail(thrown);
      }
      this.destroy();
    }

    _destroy(error, done) {
      this.#inlet?.close();
      if (!this.#isAnswered) {
        this.#isAnswered = true;
        if (this.#outlet.isCancelled && this.#outlet.isStarted) this.#outlet.end();
        else this.#outlet.fail(error ?? brokenOff());
      }
      done(error);
    }

    // Sends what the server has written, and says when there is room for more.
    #pass(bytes, done) {
      const response = this.#response;
      if (this.#isAnswered) {
        done();
        return;
      }
      try {
        response.add(bytes);
      } catch (error) {
        done(error);
        return;
      }
      const outlet = this.#outlet;
      if (outlet.isStarted) {
        this.#send().then(() => done(), done);
      } else if (response.isComplete && response.size <= WHOLE) {
        outlet.whole(response.head, response.take());
        this.#finish();
        done();
      } else if (response.head !== undefined && response.size > WHOLE) {
        this.#start();
        this.#send().then(() => done(), done);
      } else {
        if (response.head !== undefined) this.#startLater();
        done();
      }
    }

    // What the server writes in this turn of the event loop may complete the answer.
    #startLater() {
      if (this.#isStarting) return;
      this.#isStarting = true;
      later(() => {
        if (this.#isAnswered || this.#outlet.isStarted) return;
        this.#start();
        this.#send();
      });
    }

    #start() {
      this.#outlet.start(this.#response.head);
    }

    #send() {
      this.#sent = this.#sent.then(async () => {
        if (this.#isAnswered) return;
        await this.#outlet.bytes(this.#response.take());
        if (this.#isAnswered || !this.#response.isComplete || this.#response.size > 0) return;
        this.#outlet.end();
        this.#finish();
      });
      return this.#sent;
    }

    // Closes the connection when the server has seen that its answer has been written.
    #finish() {
      this.#isAnswered = true;
      later(() => this.destroy());
    }
  }

  const prepared = new WeakSet();

  // Serves one call of an app.
  function serve(server, call) {
    if (!prepared.has(server)) {
      prepared.add(server);
      server.prependListener('request', tellBase);
    }
    const socket = new Socket(call);
    try {
      server.emit(server.listenerCount('secureConnection') > 0 ? 'secureConnection' : 'connection', socket);
      socket.begin();
    } catch (thrown) {
      socket.fail(thrown);
    }
  }

  return { serve };
};

function brokenOff() {
  const error = new Error('the app closed the connection before its answer was complete');
  error.stack = undefined; // it would show frames of the worker, none of the app
  return error;
}

// Frameworks that serve an app below a path know the path by these names.
function tellBase(request) {
  const { base } = request.socket;
  if (!base) return;
  request.baseUrl = base;
  request.originalUrl = base + request.url;
}
