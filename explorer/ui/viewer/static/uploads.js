// Picture files that a person chose, dropped or pasted: one is shown, several become a contact sheet.

import { RequestError, sentence } from "./api.js";
import { unasked } from "./store.js";

const ASKED_AT_ONCE = 2; // pictures of a contact sheet
const AGAIN_MS = 1000; // after the server had no time for a picture
const TRIES = 10; // for each picture

/** A sentence about a file that is too large, else "". @type {(file: File, limit: number) => string} */
export const tooLarge = ({ name, size }, limit) =>
  size > limit * 2 ** 20 ? `\`${name}\` has ${Math.ceil(size / 2 ** 20)} MB and the limit is ${limit}. Choose a smaller one.` : "";

const UNWRITTEN = ["button", "checkbox", "color", "file", "radio", "range", "reset", "submit"]; // types of an input without text

/** Whether a text is written there. @type {(target: EventTarget) => boolean} */
function isWritten(target) {
  const { localName, type = "", isContentEditable = false } = /** @type {Partial<HTMLInputElement>} */ (target);
  return localName === "textarea" || isContentEditable || (localName === "input" && !UNWRITTEN.includes(type));
}

/**
 * The pasted files that are meant as pictures. None in a field that takes text, and none beside a text: Office adds a
 * picture of it. A file manager adds the names of the files alone.
 * @type {(event: ClipboardEvent) => File[]}
 */
export function pastedPictures(event) {
  const files = [...(event.clipboardData?.files ?? [])];
  if (event.composedPath().some(isWritten)) return [];
  const text = event.clipboardData?.getData("text/plain") ?? "";
  return text && !files.every(({ name }) => text.includes(name)) ? [] : files;
}

/** @type {(file: File) => {name: string}} */
export const named = (file) => ({ name: file.name.slice(0, 300) });

/**
 * What the files need of the viewer.
 * @typedef {object} Viewer
 * @property {() => State} now
 * @property {(event: StoreEvent) => void} dispatch
 * @property {(file: File) => void} show a file on this page
 * @property {() => void} address writes the one of what is shown
 * @property {(token: string) => unknown} renew the token of a lost connection
 * @property {typeof import("./api.js").classify} classify
 * @property {typeof import("./api.js").storePicture} store
 * @property {number} [again] milliseconds before a busy server is asked once more
 */

/** @param {Viewer} viewer */
export function uploads({ now, dispatch, show, address, renew, classify, store, again = AGAIN_MS }) {
  let limit = 0; // megabytes of a file
  /** Pictures of the contact sheet that are being classified. @type {Set<File>} */
  const asked = new Set();

  /**
   * A person chose files. `tell` takes the name of one on a page without the viewer.
   * @type {(files: File[], token: string, tell: ((picture: string) => void) | null) => Promise<void>}
   */
  async function choose(files, token, tell) {
    const [file] = files;
    if (!file) return;
    if (files.length > 1) {
      if (tell) return dispatch({ type: "refused", error: "Several images make a contact sheet: choose them on Explore." });
      dispatch({ type: "files", files });
      return address();
    }
    const error = tooLarge(file, limit);
    if (error) return dispatch({ type: "refused", error });
    if (!tell) return show(file);
    dispatch({ type: "uploading", name: file.name });
    try {
      tell(await store(token, named(file), file));
      dispatch({ type: "refused", error: "" });
    } catch (thrown) {
      dispatch({ type: "refused", error: sentence(thrown) });
    }
  }

  /** Asks the networks about the next pictures of the contact sheet. */
  function classifySheet() {
    for (const { file } of unasked(now())) {
      if (asked.size >= ASKED_AT_ONCE) break;
      if (!asked.has(file)) classifyFile(file);
    }
  }

  /** @type {(file: File) => Promise<void>} */
  async function classifyFile(file) {
    const { networks } = /** @type {Sheet} */ (now().sheet);
    let [found, error] = [/** @type {SheetMessage | null} */ (null), tooLarge(file, limit)];
    asked.add(file);
    for (let tries = 1; !found && !error && now().sheet?.open; tries += 1) {
      const token = now().data?.token ?? "";
      try {
        found = await classify(token, { ...named(file), networks }, file);
      } catch (problem) {
        const code = problem instanceof RequestError ? problem.code : "";
        if (code === "session") renew(token);
        if (code === "files") tries = 0; // many people send pictures
        if (["picture", "file", "incident"].includes(code) || tries === TRIES) error = sentence(problem);
        else await new Promise((done) => setTimeout(done, again)); // busy, out of reach, or the page has moved on
      }
    }
    asked.delete(file);
    if (found || error) dispatch({ type: "classified", file, networks, found, error });
    classifySheet();
  }

  /** What a person does with the contact sheet. @type {SheetActions} */
  const actions = {
    /** Back returns to the sheet: the server puts the picture into the next address. */
    pick(file) {
      dispatch({ type: "sheet", open: false });
      show(file);
    },
    show(open) {
      dispatch({ type: "sheet", open });
      address();
    },
  };

  return {
    choose,
    classifySheet,
    actions,
    setLimit(/** @type {number} */ most) {
      limit = most;
    },
  };
}
