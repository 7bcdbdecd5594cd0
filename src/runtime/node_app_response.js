// Reads the HTTP response that a server of Node writes to its socket. node_app_server.js uses it.
'use strict';

const { toText } = require('./node_header_text.js');

const HEAD = 1024 * 1024; // bytes of a head, or of a chunk's size, at most
const OF_CONNECTION = ['connection', 'keep-alive', 'transfer-encoding', 'proxy-connection', 'trailer', 'upgrade'];

class ResponseReader {
  head = undefined; // {status, headers}, once it is there
  isComplete = false;
  size = 0; // bytes of the body that wait here
  #isHead; // whether the request was for the head only
  #rest = Buffer.alloc(0); // what has not been read
  #body = [];
  #left = 0; // bytes of the body, or of the chunk, that are still to come
  #state = 'head';

  constructor(isHead) {
    this.#isHead = isHead;
  }

  add(bytes) {
    if (this.isComplete) return;
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    while (!this.isComplete && this.#step()) { /* what is there is read */ }
    if (this.#rest.length > HEAD) throw new Error('the app has written no HTTP response');
  }

  // The server writes no more.
  end() {
    if (this.#state === 'rest') this.isComplete = true;
  }

  // The bytes of the body that have come since the last time.
  take() {
    const [only] = this.#body;
    const bytes = this.#body.length === 1 ? only : Buffer.concat(this.#body);
    this.#body = [];
    this.size = 0;
    return bytes;
  }

  // Reads one part, or says that more bytes are needed.
  #step() {
    switch (this.#state) {
      case 'head': return this.#readHead();
      case 'length': return this.#readBody('done');
      case 'rest': this.#left = Infinity; return this.#readBody('done');
      case 'chunk': return this.#readBody('chunk end');
      case 'chunk size': return this.#readLine((line) => {
        this.#left = Number.parseInt(line, 16);
        if (!(this.#left >= 0)) throw new Error('the app has written a chunk without a size');
        this.#state = this.#left === 0 ? 'trailer' : 'chunk';
      });
      case 'chunk end': return this.#readLine(() => { this.#state = 'chunk size'; });
      default: return this.#readLine((line) => { this.isComplete = line === ''; }); // trailers
    }
  }

  #readLine(read) {
    const end = this.#rest.indexOf('\r\n');
    if (end === -1) return false;
    const line = this.#rest.toString('latin1', 0, end);
    this.#rest = this.#rest.subarray(end + 2);
    read(line);
    return true;
  }

  #readBody(after) {
    if (this.#rest.length === 0) return false;
    const part = this.#left < this.#rest.length ? this.#rest.subarray(0, this.#left) : this.#rest;
    this.#rest = this.#rest.subarray(part.length);
    this.#left -= part.length;
    this.size += part.length;
    this.#body.push(part);
    if (this.#left === 0) {
      this.#state = after;
      this.isComplete = after === 'done';
    }
    return true;
  }

  #readHead() {
    const end = this.#rest.indexOf('\r\n\r\n');
    if (end === -1) return false;
    const [first, ...lines] = this.#rest.toString('latin1', 0, end).split('\r\n');
    this.#rest = this.#rest.subarray(end + 4);
    const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(first)?.[1]);
    if (Number.isNaN(status)) throw new Error('the app has written no HTTP response');
    if (status < 200) return true; // 100 Continue, 103 Early Hints: the response follows
    const headers = [];
    let length;
    let isChunked = false;
    for (const line of lines) {
      const colon = line.indexOf(':');
      const name = line.slice(0, colon).toLowerCase();
      const value = line.slice(colon + 1).trim();
      if (name === 'content-length') length = Number(value);
      if (name === 'transfer-encoding') isChunked = /chunked/i.test(value);
      if (!OF_CONNECTION.includes(name)) headers.push([name, toText(value)]);
    }
    this.head = { status, headers };
    this.#left = length;
    this.#state = isChunked ? 'chunk size' : length === undefined ? 'rest' : 'length';
    this.isComplete = this.#isHead || status === 204 || status === 304 || (!isChunked && length === 0);
    return true;
  }
}

module.exports = { ResponseReader };
