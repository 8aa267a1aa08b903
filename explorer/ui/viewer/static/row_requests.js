// Asks the server for the rows of the strip until all are measured; what was wanted before is asked for no more.

import { RequestError, sentence } from "./api.js";
import { needsRows, rowsKey } from "./rows.js";

const AGAIN_MS = 1000; // while the page is on its way to the networks, or the server is out of reach
const TRIES = 10;
/** @type {LayerRows} what is known where the server gives no answer */
const NOTHING = { layers: [], rows: [], costs: {}, progress: "", done: true, csv: "" };

/**
 * What the requests need of the viewer.
 * @typedef {object} Viewer
 * @property {() => State} now
 * @property {(event: StoreEvent) => void} show changes the state and draws it
 * @property {() => boolean} isSeen whether the strip is on the page
 * @property {(token: string) => void} renew asks the page for a new token
 * @property {(token: string, question: object, signal: AbortSignal) => Promise<LayerRows>} ask
 * @property {number} [again]
 */

/** Called at each change of the state. @type {(viewer: Viewer) => () => Promise<void>} */
export function rowRequests({ now, show, isSeen, renew, ask, again = AGAIN_MS }) {
  /** @type {{key: string, controller: AbortController} | null} */
  let asking = null;
  return async () => {
    const key = rowsKey(now());
    if (asking && asking.key === key) return;
    asking?.controller.abort();
    asking = null;
    if (key === null || !needsRows(now())) return;
    const own = { key, controller: new AbortController() };
    asking = own;
    for (let tries = 1; asking === own && needsRows(now()) && isSeen(); ) {
      const { data, view, selection, started } = now();
      if (!data || !view) break;
      const { networks, layers, step } = view;
      const question = { networks, layers, step, rows: selection.rows, start: started };
      try {
        const answer = await ask(data.token, question, own.controller.signal);
        if (asking === own) show({ type: "rows", key, answer });
      } catch (error) {
        if (own.controller.signal.aborted) break;
        if (error instanceof RequestError && error.code === "session") renew(data.token);
        tries += 1;
        if (tries > TRIES) {
          show({ type: "rows", key, answer: NOTHING });
          show({ type: "failed", error: sentence(error) });
          break;
        }
        await new Promise((done) => setTimeout(done, again));
      }
    }
    if (asking === own) asking = null;
  };
}
