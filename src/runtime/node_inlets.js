// Bodies of requests that come to a function piece by piece. The gateway sends no more than it has credit for: what
// the function has taken is given back. node.js loads this for the first body.
'use strict';

const CREDIT = 32 * 1024; // bytes that are gathered before they are given back

module.exports = function inlets(worker) {
  const inlets = new Map(); // by the id of the call

  // `take(bytes)`, `end()` and `fail(message)` get what comes.
  class Inlet {
    #taken = 0;

    constructor(id, receiver) {
      Object.assign(this, { id, receiver });
      inlets.set(id, this);
    }

    // So many bytes have been taken; others may come.
    taken(bytes) {
      this.#taken += bytes;
      if (this.#taken < CREDIT || !inlets.has(this.id)) return;
      worker.send('BodyCredit', { id: this.id, bytes: this.#taken });
      this.#taken = 0;
    }

    close() {
      inlets.delete(this.id);
    }
  }

  function receive(type, { id, text, base64, message }) {
    const inlet = inlets.get(id);
    if (inlet === undefined) return; // the function has answered without reading all of it
    if (type === 'BodyData') {
      inlet.receiver.take(typeof text === 'string' ? Buffer.from(text) : Buffer.from(base64 ?? '', 'base64'));
      return;
    }
    inlet.close();
    if (type === 'BodyEnd') inlet.receiver.end();
    else inlet.receiver.fail(typeof message === 'string' ? message : 'the body ended early');
  }

  return { Inlet, receive };
};
