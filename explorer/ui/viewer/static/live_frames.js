// A drawing hand or a camera: its frames are answered one at a time, and of those that came meanwhile the newest.

import { RequestError, sentence } from "./api.js";
import { isNear, keyOf } from "./store.js";

const REST_MS = 100; // after the page has moved on, before the next frame is asked about

/**
 * What the frames need of the viewer.
 * @typedef {object} Viewer
 * @property {() => State} now
 * @property {(event: StoreEvent) => void} apply changes the state and draws nothing
 * @property {(question: string) => AbortController} begin ends the request before, and notes what is asked now
 * @property {(controller: AbortController) => void} end of that request, where it is still the newest
 * @property {() => void} abort the request that is on its way
 * @property {typeof import("./api.js").explain} ask
 * @property {() => void} draw
 * @property {() => Promise<void>} painted
 * @property {() => void} request what the state needs, once no frame waits
 */

/** @type {(viewer: Viewer) => {follow: Follow, drop: () => void, isSending: () => boolean}} */
export function liveFrames({ now, apply, begin, end, abort, ask, draw, painted, request }) {
  /** @type {LiveFrame | null} */
  let waiting = null; // the newest of those that came while another was answered
  let sending = false;
  let dropped = 0; // counts the choices of another picture: frames from before them are answered no more

  /** @type {Follow} */
  async function follow(frame) {
    if (!waiting?.keep || frame.keep) waiting = frame; // what the session is to keep is not passed over
    if (sending) return true;
    let drawn = true;
    sending = true;
    while (waiting && drawn) {
      const next = waiting;
      waiting = null;
      drawn = await answer(next);
      if (waiting) await painted();
    }
    sending = false;
    waiting = null;
    request();
    return drawn;
  }

  function drop() {
    dropped += 1;
    waiting = null;
    if (sending) abort();
  }

  /** @type {Follow} */
  async function answer(frame) {
    const state = now();
    const { data, view } = state;
    if (state.uploading) return true;
    if (!data || !view) return false;
    const before = dropped;
    const controller = begin("drawing");
    const { picture: _, ...fields } = view;
    const { layer, channel } = state.selection;
    const { bytes, ...drawing } = frame;
    const key = keyOf(view);
    const part = state.live ? view.frame : null; // a frame is of its picture, or of this hand or camera
    let error = "";
    try {
      const message = await ask(data.token, { ...fields, frame: part, layer, channel, drawing }, controller.signal, new Blob([bytes]));
      if (before !== dropped) return true;
      const shown = now().view;
      const same = shown && isNear(key, keyOf(shown), { picture: "" });
      if (frame.keep && !same)
        waiting ??= frame; // it is asked once more, with what was chosen meanwhile
      else apply({ type: frame.keep ? "uploaded" : "live", key, message, frame: part });
    } catch (thrown) {
      if (before !== dropped) return true;
      const code = thrown instanceof RequestError ? thrown.code : "";
      if (code === "superseded" || code === "networks") {
        if (frame.keep) waiting ??= frame; // the page is on its way to what was chosen meanwhile
        await new Promise((done) => setTimeout(done, REST_MS));
      } else if (!controller.signal.aborted) error = sentence(thrown);
      else if (frame.keep) waiting ??= frame;
    }
    end(controller);
    if (error) apply({ type: "failed", error });
    draw();
    return !error;
  }

  return { follow, drop, isSending: () => sending };
}
