// What the page has begun and not ended, so that a test can wait for the answer to what it did instead of for a time in
// which nothing seems to happen: runs of the script that were asked for and have not begun, requests that have no answer,
// and timers that are due within `SOON`. It runs before the page's own code.
(() => {
  const SOON = 300; // milliseconds; what a page does later than that it does by itself, and no test waits for it
  const RERUN = (11 << 3) | 2; // how a BackMsg that asks for a run begins: field 11, of a length (proto/BackMsg.proto)
  const NEW_SESSION = 4; // the field of the ForwardMsg with which each run begins (proto/ForwardMsg.proto)
  let asked = false;
  let requests = 0;
  const timers = new Set();
  globalThis.unanswered = () => asked || requests > 0 || timers.size > 0;

  const number = (bytes, place) => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[place++];
      value += (byte % 128) * factor;
      if (!(byte >= 128)) return [value, place];
    }
  };
  // Whether a message has that field, at its top: protobuf's wire format, a key and then a number or a length.
  const has = (bytes, wanted) => {
    for (let place = 0; place < bytes.length; ) {
      let value;
      let key;
      [key, place] = number(bytes, place);
      if (key >> 3 === wanted) return true;
      [value, place] = number(bytes, place);
      if (key % 8 === 2) place += value;
    }
    return false;
  };

  const Socket = globalThis.WebSocket;
  globalThis.WebSocket = class extends Socket {
    constructor(...given) {
      super(...given);
      this.addEventListener("message", ({ data }) => {
        if (data instanceof ArrayBuffer && has(new Uint8Array(data), NEW_SESSION)) asked = false;
      });
      this.addEventListener("close", () => (asked = false));
    }
    send(data) {
      if (data[0] === RERUN) asked = true;
      super.send(data);
    }
  };

  const fetch = globalThis.fetch;
  globalThis.fetch = async (...given) => {
    requests += 1;
    try {
      return await fetch(...given);
    } finally {
      requests -= 1;
    }
  };
  const send = XMLHttpRequest.prototype.send;
  XMLHttpRequest.prototype.send = function (...given) {
    requests += 1;
    this.addEventListener("loadend", () => (requests -= 1), { once: true });
    send.apply(this, given);
  };

  const { setTimeout, clearTimeout } = globalThis;
  globalThis.setTimeout = (call, wait, ...given) => {
    const timer = setTimeout((...values) => {
      timers.delete(timer);
      call(...values);
    }, wait, ...given);
    if (wait > 0 && wait <= SOON) timers.add(timer);
    return timer;
  };
  globalThis.clearTimeout = (timer) => {
    timers.delete(timer);
    clearTimeout(timer);
  };
})();
