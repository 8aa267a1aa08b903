// What the page has begun and not ended, so that a test can wait for the answer to what it did instead of for a time in
// which nothing seems to happen: runs of the script that were asked for and have not ended, requests that have no answer,
// components whose code has yet to be called, and timers that are due within `SOON`. It runs before the page's own code.
(() => {
  const SOON = 300; // milliseconds; what a page does later than that it does by itself, and no test waits for it
  const RERUN = (11 << 3) | 2; // how a BackMsg that asks for a run begins: field 11, of a length (proto/BackMsg.proto)
  // Of a ForwardMsg (proto/ForwardMsg.proto): the field with which each run begins, and the one that says how it ended,
  // with the value for "another run follows at once".
  const NEW_SESSION = 4;
  const SCRIPT_FINISHED = 6;
  const EARLY_FOR_RERUN = 2;
  const SEPARATE = 1000; // milliseconds from the end of a run within which a run that was asked for beside it begins
  let asked = false; // for a run that has not ended
  let begun = false; // that run
  let owed = 0; // runs that were asked for and have not begun; the server may answer several with one
  let alone; // the timer after which the last run is known to have been the answer to all
  let requests = 0;
  const timers = new Set();
  globalThis.hasPendingWork = () => asked || requests > 0 || timers.size > 0;

  const number = (bytes, place) => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[place++];
      value += (byte % 128) * factor;
      if (!(byte >= 128)) return [value, place];
    }
  };
  // The fields at the top of a message with their numbers or lengths: protobuf's wire format.
  const fields = (bytes) => {
    const found = new Map();
    for (let place = 0; place < bytes.length; ) {
      let value;
      let key;
      [key, place] = number(bytes, place);
      [value, place] = number(bytes, place);
      found.set(key >> 3, value);
      if (key % 8 === 2) place += value;
    }
    return found;
  };

  const Socket = globalThis.WebSocket;
  globalThis.WebSocket = class extends Socket {
    constructor(...given) {
      super(...given);
      this.addEventListener("message", ({ data }) => {
        const said = data instanceof ArrayBuffer ? fields(new Uint8Array(data)) : new Map();
        if (said.has(NEW_SESSION)) {
          clearTimeout(alone);
          owed = Math.max(0, owed - 1);
          asked = begun = true;
        }
        if (said.get(SCRIPT_FINISHED) === EARLY_FOR_RERUN) begun = false;
        else if (said.has(SCRIPT_FINISHED) && begun) {
          begun = false;
          if (owed) alone = setTimeout(rest, SEPARATE);
          else asked = false;
        }
      });
      this.addEventListener("close", rest);
    }
    send(data) {
      if (data[0] === RERUN) {
        clearTimeout(alone);
        owed += 1;
        [asked, begun] = [true, false];
      }
      super.send(data);
    }
  };
  const rest = () => {
    clearTimeout(alone);
    owed = 0;
    asked = begun = false;
  };

  const fetch = globalThis.fetch;
  globalThis.fetch = async (...given) => {
    requests += 1;
    const ended = () => (requests -= 1);
    try {
      const answer = await fetch(...given);
      answer.clone().arrayBuffer().then(ended, ended); // the whole of it, not its head
      return answer;
    } catch (error) {
      ended();
      throw error;
    }
  };
  const send = XMLHttpRequest.prototype.send;
  XMLHttpRequest.prototype.send = function (...given) {
    send.apply(this, given); // throws where there is nothing to wait for
    requests += 1;
    this.addEventListener("loadend", () => (requests -= 1), { once: true });
  };

  // Streamlit puts a component's code behind an address, and imports that before each call of the component, which is
  // neither a request nor a timer. The import is seen where it makes a text of the address; of two imports of our own, one
  // after the other, the second ends when Streamlit has called it. Others put the code of workers behind addresses.
  const COMPONENT = "\n//# sourceURL=st-bidi-";
  const components = new WeakSet();
  globalThis.Blob = new Proxy(Blob, {
    construct(target, given, as) {
      const blob = Reflect.construct(target, given, as);
      const text = Array.isArray(given[0]) ? given[0][0] : null;
      if (typeof text === "string" && text.includes(COMPONENT)) components.add(blob);
      return blob;
    },
  });
  const { createObjectURL } = URL;
  URL.createObjectURL = (what) => {
    const address = createObjectURL.call(URL, what);
    if (!components.has(what)) return address;
    const follow = async () => {
      requests += 1;
      for (let turn = 0; turn < 2; turn += 1) await import(address).catch(() => {}); // Streamlit says what is wrong
      requests -= 1;
    };
    return Object.assign(new String(address), {
      toString() {
        follow();
        return address;
      },
    });
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
