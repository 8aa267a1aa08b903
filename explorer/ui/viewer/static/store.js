// The state of the viewer: one value, changed by one pure function.

import { DEFAULTS } from "./url.js";

/** @typedef {import("./url.js").Selection} Selection */
/** @typedef {import("./message.js").Message} Message */

/**
 * What needs a pass through the networks; the server owns it. The browser hands it back as it is, with the picture that
 * was chosen here: PASS_FIELDS in explore_state.py, and the networks.
 * @typedef {{picture: string, networks: {name: string, title: string, colour: string, dashed: boolean}[],
 *   [field: string]: unknown}} View
 */

/**
 * @typedef {object} Data what a run of the page tells the viewer
 * @property {string} token of the session
 * @property {View} view
 * @property {string} tab the open tab; all but "layer" are drawn by the server
 * @property {string} query the query of the address
 * @property {number} visit counts how often the page was entered
 * @property {boolean} confirmed whether the server has heard of the selection in this visit
 * @property {number} entry counts what the server told of the selection
 * @property {Selection | null} initial the selection of a link that was opened, or that a control of the server changed;
 *   null where the page was entered again
 * @property {Selection} selection what the server knows of the selection
 */

/**
 * @typedef {object} State
 * @property {Data | null} data
 * @property {View | null} view what is to be shown: `data.view`, with the picture that was chosen here meanwhile
 * @property {string | null} chosen a picture that was chosen here and that no run has confirmed
 * @property {Message | null} message what is shown
 * @property {string | null} key of the view that the message is of
 * @property {Selection} selection
 * @property {string} error a sentence about the last request that failed; "" for none
 * @property {string} uploading the name of the file that is being read; "" for none
 * @property {string} uploadError a sentence about the last file that could not be shown
 */

/**
 * @typedef {{type: "data", data: Data, fragment: Selection | null}
 *   | {type: "select", changes: Partial<Selection>}
 *   | {type: "picture", picture: string}
 *   | {type: "history", selection: Selection}
 *   | {type: "received", key: string, message: Message}
 *   | {type: "layers", key: string, message: Message}
 *   | {type: "uploaded", key: string, message: Message}
 *   | {type: "uploading", name: string}
 *   | {type: "refused", error: string}
 *   | {type: "failed", error: string}} Event
 */

/** @type {Readonly<State>} */
export const EMPTY = Object.freeze({
  data: null,
  view: null,
  chosen: null,
  message: null,
  key: null,
  selection: DEFAULTS,
  error: "",
  uploading: "",
  uploadError: "",
});

/**
 * Names all that a message depends on.
 * @param {View} view
 */
export const keyOf = (view) => JSON.stringify(view);

/**
 * The state after an event. It changes nothing in place but the layers of a message, which only grow.
 * @param {State} state
 * @param {Event} event
 * @returns {State}
 */
export function reduce(state, event) {
  switch (event.type) {
    case "data":
      return withData(state, event.data, event.fragment);
    case "select":
      return { ...state, selection: { ...state.selection, ...event.changes } };
    case "history": // a picture that was chosen before is no longer wanted
      return { ...state, selection: event.selection, chosen: null, view: state.data?.view ?? null };
    case "picture": {
      if (!state.view) return state;
      const view = { ...state.view, picture: event.picture };
      return { ...state, chosen: event.picture, view, error: "", uploading: "", uploadError: "" };
    }
    case "received":
      if (!state.view || keyOf(state.view) !== event.key) return state; // something else was chosen meanwhile
      return { ...state, message: event.message, key: event.key, error: "" };
    case "uploaded": {
      if (!state.view) return state;
      const view = { ...state.view, picture: event.message.picture };
      const shown = { message: event.message, key: keyOf(view), error: "", uploading: "", uploadError: "" };
      return { ...state, view, chosen: view.picture, ...shown };
    }
    case "layers":
      if (!state.message || state.key !== event.key) return state;
      return { ...state, message: mergeLayers(state.message, event.message), error: "" };
    case "uploading":
      return { ...state, uploading: event.name, uploadError: "" };
    case "refused": // the picture that was shown stays
      return { ...state, uploading: "", uploadError: event.error };
    case "failed":
      return { ...state, error: event.error };
  }
}

/**
 * @param {State} state
 * @param {Data} data
 * @param {Selection | null} fragment the selection in the address, null where it has none
 * @returns {State}
 */
function withData(state, data, fragment) {
  const chosen = state.chosen === data.view.picture ? null : state.chosen;
  const view = chosen === null ? data.view : { ...data.view, picture: chosen };
  const before = state.data;
  let { selection } = state;
  if (!before || before.visit !== data.visit) selection = fragment ?? data.initial ?? selection;
  else if (before.entry !== data.entry) selection = data.initial ?? selection;
  else if (names(before.view) !== names(data.view)) selection = { ...selection, channel: null };
  return { ...state, data, view, chosen, selection, error: "" };
}

/** @param {View} view */
const names = (view) => view.networks.map((network) => network.name).join();

/**
 * A message with the layers of another one of the same view. The whole map of a channel replaces the one before.
 * @param {Message} message
 * @param {Message} more
 * @returns {Message}
 */
export function mergeLayers(message, more) {
  const networks = message.networks.map((network, index) => ({
    ...network,
    // All layers, fetched ahead, draw nothing anew; one layer may come with the whole map of another channel.
    layers: more.every ? { ...more.networks[index]?.layers, ...network.layers } : { ...network.layers, ...more.networks[index]?.layers },
  }));
  return { ...message, networks, every: message.every || more.every };
}

/**
 * The layer that is shown: the chosen one where a network has it.
 * @param {State} state
 * @returns {string | null}
 */
export function shownLayer({ message, selection }) {
  if (!message) return selection.layer;
  return message.columns.some((column) => column.name === selection.layer) ? selection.layer : message.layer;
}

/**
 * Whether the shown layer, or the whole map of the chosen channel, has to be fetched.
 * @param {State} state
 */
export function needsFetch(state) {
  const layer = shownLayer(state);
  const { message, selection } = state;
  if (!message || layer === null) return false;
  const there = message.networks.map((network) => network.layers[layer]).filter(Boolean);
  if (!there.length) return true;
  return there.some(
    ({ reduced, channels, chosen }) =>
      reduced && selection.channel !== null && selection.channel < channels && chosen?.channel !== selection.channel,
  );
}
