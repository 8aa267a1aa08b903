// The state of the viewer: one value, changed by one pure function.

import { DEFAULTS } from "./url.js";

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

/** Names all that a message depends on. @type {(view: View) => string} */
export const keyOf = (view) => JSON.stringify(view);

/**
 * The state after an event. It changes nothing in place but the layers of a message, which only grow.
 * @type {(state: State, event: StoreEvent) => State}
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

/** `fragment`: the selection in the address. @type {(state: State, data: RunData, fragment: LayerSelection | null) => State} */
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

/** @type {(view: View) => string} */
const names = (view) => view.networks.map((network) => network.name).join();

/**
 * A message with the layers of another one of the same view. The whole map of a channel replaces the one before.
 * @type {(message: Message, more: Message) => Message}
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
 * Keeps a value as the newest; the oldest ones go.
 * @template Key, Value
 * @param {Map<Key, Value>} map
 * @param {Key} key
 * @param {Value} value
 * @param {number} most
 */
export function keepNewest(map, key, value, most) {
  map.delete(key); // else an old one keeps its place, which is the first to go
  map.set(key, value);
  for (const oldest of map.keys()) {
    if (map.size <= most) break;
    map.delete(oldest);
  }
}

/** The layer that is shown: the chosen one where a network has it. @type {(state: State) => string | null} */
export function shownLayer({ message, selection }) {
  if (!message) return selection.layer;
  return message.columns.some((column) => column.name === selection.layer) ? selection.layer : message.layer;
}

/** Whether the shown layer, or the whole map of the chosen channel, has to be fetched. @type {(state: State) => boolean} */
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
