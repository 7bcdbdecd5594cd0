// Streams from functions to the gateway: what a generator yields, and the bytes of bodies. The gateway gives credit in
// bytes; without any left nothing is taken from the generator. node.js loads this for the first stream.
'use strict';

const { isUtf8 } = require('buffer');
const { setImmediate: later, setTimeout, clearTimeout } = require('timers');

const { bigint: monotonic } = process.hrtime;

const CREDIT = 1024; // bytes that a stream has at its start
const PIECE = 64 * 1024; // bytes of a message at most
const CHARACTER = 4; // bytes of the longest one
// 1 ms. A stream that has taken this long without a pause lets other calls run.
const TURN_NS = 1_000_000n;
// 1 s. A generator that waits runs its `finally` only after that, which may be never; its call ends before.
const CLOSE_MS = 1000;

module.exports = function streams(worker) {
  const piece = Math.max(CHARACTER, Math.min(PIECE, Math.floor(worker.MAX_MESSAGE / 8)));
  const outlets = new Map(); // of the calls whose answers are streams, or may become streams, by id

  // The way to the gateway of one answer. `close` is called once if the caller leaves; it may return a promise.
  class Outlet {
    #credit = CREDIT;
    #wake;
    #turn = monotonic();
    isStarted = false;
    isCancelled = false;
    closed = undefined; // what `close` has returned
    #isOver = false;
    #patience;

    constructor(id, close) {
      Object.assign(this, { id, close });
      outlets.set(id, this);
      worker.begin();
    }

    // An answer in one piece.
    whole(head, bytes) {
      if (this.#isOver) return;
      worker.respond(this.id, { ...head, ...inBody(bytes) });
      this.#release();
    }

    start(head) {
      this.isStarted = true;
      worker.send('StreamStart', head === undefined ? { id: this.id } : { id: this.id, response: head });
    }

    // Sends one item, when the gateway takes it.
    async item(json) {
      if (this.isCancelled) return;
      const id = JSON.stringify(this.id);
      const size = Buffer.byteLength(json);
      if (size <= Math.min(this.#credit, piece)) {
        this.#credit -= size;
        worker.answer(`{"type":"StreamItem","data":{"id":${id},"item":${json}}}\n`);
        return;
      }
      const bytes = Buffer.from(json);
      for (let at = 0; at < bytes.length && !this.isCancelled;) {
        let end = Math.min(at + Math.min(this.#credit, piece), bytes.length);
        while (end < bytes.length && end > at && (bytes[end] & 0xc0) === 0x80) end -= 1;
        if (end === at) {
          await this.room(CHARACTER);
          continue;
        }
        this.#credit -= end - at;
        const part = bytes.toString('utf8', at, end);
        at = end;
        worker.send('StreamItem', { id: this.id, part, ...(at === bytes.length ? { last: true } : {}) });
        if (at < bytes.length) await this.room();
      }
    }

    async bytes(bytes) {
      for (let at = 0; at < bytes.length && !this.isCancelled;) {
        await this.room();
        const end = Math.min(at + Math.min(this.#credit, piece), bytes.length);
        if (end === at) continue; // cancelled
        const part = bytes.subarray(at, end);
        this.#credit -= part.length;
        at = end;
        const data = isUtf8(part) ? { text: part.toString() } : { base64: part.toString('base64') };
        worker.send('StreamData', { id: this.id, ...data });
      }
    }

    // Waits until the gateway takes some bytes, or the caller has left.
    async room(bytes = 1) {
      if (monotonic() - this.#turn > TURN_NS) {
        await new Promise((resolve) => { later(resolve); });
        this.#turn = monotonic();
      }
      while (this.#credit < bytes && !this.isCancelled) {
        await new Promise((resolve) => { this.#wake = resolve; });
        this.#turn = monotonic();
      }
    }

    end() {
      if (this.#isOver) return;
      worker.send('StreamEnd', { id: this.id });
      this.#release();
    }

    fail(thrown) {
      if (this.#isOver) return;
      worker.fail(this.id, worker.describeError(thrown));
      this.#release();
    }

    add(bytes) {
      this.#credit += bytes;
      this.#wake?.();
    }

    cancel() {
      if (this.isCancelled) return;
      this.isCancelled = true;
      // A `finally` that throws is reported in place of the end.
      this.closed = Promise.resolve().then(() => this.close());
      this.closed.catch(() => {});
      this.#patience = setTimeout(() => {
        if (this.isStarted) this.end();
        else this.fail(new Error('the caller has left'));
      }, CLOSE_MS);
      this.#wake?.();
    }

    #release() {
      this.#isOver = true;
      clearTimeout(this.#patience);
      outlets.delete(this.id);
      worker.end(this.id);
      worker.finish();
    }
  }

  // Sends what a generator, an iterator or a stream of objects gives.
  async function sendItems(id, source) {
    const outlet = new Outlet(id, source.close);
    outlet.start();
    try {
      for (;;) {
        await outlet.room();
        if (outlet.isCancelled) break;
        const { done, value } = await source.next();
        if (done || outlet.isCancelled) break;
        let json;
        try {
          json = worker.render(await value) ?? 'null';
        } catch (thrown) {
          await source.close();
          throw thrown;
        }
        await outlet.item(json);
      }
      await outlet.closed;
      outlet.end();
    } catch (thrown) {
      finishFailed(outlet, thrown);
    }
  }

  // Sends a body: whole, if all of it is there at once and small, else as it comes.
  async function sendBody(id, head, source) {
    const outlet = new Outlet(id, source.close);
    try {
      const start = [];
      let size = 0;
      let next = step(source);
      while (size <= PIECE && !outlet.isCancelled) {
        const there = await soon(next);
        if (there === undefined) break;
        if (there.done) {
          outlet.whole(head, Buffer.concat(start));
          return;
        }
        start.push(bytesOf(there.value));
        size += start.at(-1).length;
        next = step(source);
      }
      outlet.start(head);
      await outlet.bytes(Buffer.concat(start));
      for (;;) {
        if (outlet.isCancelled) break;
        const { done, value } = await next;
        if (done || outlet.isCancelled) break;
        await outlet.bytes(bytesOf(value));
        await outlet.room();
        next = step(source);
      }
      await outlet.closed;
      outlet.end();
    } catch (thrown) {
      finishFailed(outlet, thrown);
    }
  }

  // The error of a stream that was closed because its caller has left is no error of the function.
  function finishFailed(outlet, thrown) {
    if (outlet.isCancelled && outlet.isStarted && isAbort(thrown)) outlet.end();
    else outlet.fail(thrown);
  }

  // A message of the gateway.
  function receive(type, { id, bytes }) {
    if (type === 'CancelCall') outlets.get(id)?.cancel();
    else if (Number.isSafeInteger(bytes) && bytes > 0) outlets.get(id)?.add(bytes);
  }

  return { Outlet, sendItems, sendBody, receive };
};

// The next step of a source. Its error is thrown where it is awaited, which may be later or never.
function step(source) {
  const next = Promise.resolve(source.next());
  next.catch(() => {});
  return next;
}

// A step that is there in this turn of the event loop, else undefined.
function soon(next) {
  const late = new Promise((resolve) => { later(resolve); });
  return Promise.race([next, late]);
}

function isAbort(thrown) {
  const codes = ['ABORT_ERR', 'ERR_STREAM_PREMATURE_CLOSE', 'ERR_STREAM_DESTROYED'];
  return thrown?.name === 'AbortError' || codes.includes(thrown?.code);
}

function bytesOf(chunk) {
  if (typeof chunk === 'string') return Buffer.from(chunk);
  if (ArrayBuffer.isView(chunk)) return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  if (chunk instanceof ArrayBuffer) return Buffer.from(chunk);
  throw new TypeError(`a body is made of bytes and text, and this one of type ${typeof chunk}`);
}

// The members of a whole answer that have these bytes.
function inBody(bytes) {
  if (bytes.length === 0) return {};
  return isUtf8(bytes) ? { body: bytes.toString() } : { base64: bytes.toString('base64') };
}
