// The state of the viewer: one value, changed by one pure function.

import { DEFAULTS } from "./url.js";

/** @type {Readonly<State>} */
export const EMPTY = Object.freeze({
  data: null,
  view: null,
  chosen: null,
  number: 0,
  message: null,
  key: null,
  selection: DEFAULTS,
  error: "",
  live: "",
  uploading: "",
  uploadError: "",
});

/** Names all that a message depends on. @type {(view: View) => string} */
export const keyOf = (view) => JSON.stringify(view);

/** Whether two views differ in nothing but what a hand moves: the dials, or what `but` says. @type {(key: string, other: string, but?: Partial<View>) => boolean} */
export function isNear(key, other, but = { dials: "" }) {
  const [one, two] = [key, other].map((each) => JSON.stringify({ ...JSON.parse(each), ...but }));
  return one === two;
}

/** The networks of the view that the shown message has not. @type {(state: Pick<State, "view" | "key" | "error">) => string[]} */
export function awaited({ view, key, error }) {
  const shown = key === null ? [] : JSON.parse(key).networks;
  return view && !error ? view.networks.filter((name) => !shown.includes(name)) : [];
}

/** What is said meanwhile. @type {(labels: string[]) => string} */
export const loading = (labels) => (labels.length ? `Loading ${labels.join(" and ")} …` : "");

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
    case "history": // what was chosen before is no longer wanted
      return { ...state, selection: event.selection, chosen: null, live: "", view: state.data?.view ?? null };
    case "choose":
      return { ...chosen(ended(state, event.changes), event.changes), error: "", uploading: "", uploadError: "" };
    case "received":
      // Something else was chosen meanwhile. Of moving dials each answer is drawn: the newest is asked for next.
      if (!state.view || !isNear(keyOf(state.view), event.key)) return state;
      return { ...state, message: event.message, key: event.key, error: "" };
    case "uploaded": {
      const now = chosen(state, { picture: event.message.picture });
      if (!now.view) return state;
      return { ...now, message: event.message, key: keyOf(now.view), error: "", live: "", uploading: "", uploadError: "" };
    }
    case "live": {
      // of a view that differs at most in what the hand has moved meanwhile
      const { picture } = event.message;
      if (!state.view || !isNear(keyOf(state.view), event.key, { dials: "", picture: "" })) return state;
      const key = keyOf({ ...JSON.parse(event.key), picture });
      return { ...state, view: { ...state.view, picture }, message: event.message, key, live: picture, error: "" };
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

/** A hand or camera without an answer gives way to the next choice. @type {(state: State, changes: Partial<View>) => State} */
function ended(state, { picture }) {
  if (!state.live || !state.view || !state.data || !(state.error || picture)) return state;
  return { ...state, live: "", view: { ...state.view, picture: state.data.view.picture } };
}

/** A choice, which the server has yet to hear of. @type {(state: State, changes: Partial<View>) => State} */
function chosen(state, changes) {
  if (!state.view) return state;
  let { selection } = state;
  if (changes.networks) selection = { ...selection, channel: null };
  const block = blockAround(selection.layer);
  if (changes.layers === "blocks" && block) selection = { ...selection, layer: block, channel: null };
  return {
    ...state,
    view: { ...state.view, ...changes },
    chosen: { ...state.chosen, ...changes },
    number: state.number + 1,
    selection,
  };
}

/** The block that a layer is inside of. @type {(layer: string | null) => string | undefined} */
const blockAround = (layer) => layer?.match(/^(stages\.\d+\.\d+)\./)?.[1];

/** `fragment`: the selection in the address. @type {(state: State, data: RunData, fragment: LayerSelection | null) => State} */
function withData(state, data, fragment) {
  const heard = data.heard === state.number || state.data?.visit !== data.visit;
  const chosen = heard ? null : state.chosen;
  const before = state.data;
  const live = before?.visit === data.visit ? state.live : "";
  const view = { ...data.view, ...chosen, ...(live && { picture: live }) };
  let { selection } = state;
  if (!before || before.visit !== data.visit) selection = fragment ?? data.initial ?? selection;
  else if (before.entry !== data.entry) selection = data.initial ?? selection;
  else if (String(state.view?.networks) !== String(view.networks)) selection = { ...selection, channel: null };
  const now = { ...state, data, view, chosen, selection, live, error: "" };
  // A link from before the strip had blocks alone: the layer in its fragment is inside one.
  const isOld = (!before || before.visit !== data.visit) && view.layers === "blocks" && blockAround(selection.layer);
  return isOld ? { ...now, view: { ...view, layers: "main" }, chosen: { ...chosen, layers: "main" }, number: now.number + 1 } : now;
}

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
