// The state of the viewer: one value, changed by one pure function.

import { rowsKey } from "./rows.js";
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
  values: null,
  rows: null,
  offersRows: false,
  started: [],
  error: "",
  live: "",
  uploading: "",
  uploadError: "",
  sheet: null,
});

export const SHEET_FILES = 100; // on a contact sheet, at most

/** Names all that a message depends on. @type {(view: View) => string} */
export const keyOf = (view) => JSON.stringify(view);

/** @type {Partial<View>} */
const MOVED = { dials: "", attack: "", step: null };

/** Whether two views differ in nothing but what a hand moves: dials, attack and step, or what `but` says. @type {(key: string, other: string, but?: Partial<View>) => boolean} */
export function isNear(key, other, but = MOVED) {
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
  const now = reduced(state, event);
  const { sheet, view } = now;
  if (!sheet || !view || String(sheet.networks) === String(view.networks)) return now;
  return { ...now, sheet: { ...sheet, ...askedAnew(sheet.entries, view.networks) } };
}

/** Entries without answers of these networks. @type {(entries: SheetEntry[], networks: string[]) => Pick<Sheet, "entries" | "networks">} */
const askedAnew = (entries, networks) => ({ networks, entries: entries.map(({ file }) => ({ file, found: null, error: "" })) });

/** The first entries that the networks have yet to be asked about; none while the sheet is closed. @type {(state: Pick<State, "sheet">) => SheetEntry[]} */
export const unasked = ({ sheet }) => (sheet?.open ? sheet.entries.filter(({ found, error }) => !found && !error) : []);

/** @type {(state: State, event: StoreEvent) => State} */
function reduced(state, event) {
  switch (event.type) {
    case "data":
      return withData(state, event.data, event.fragment);
    case "select":
      return { ...state, selection: selected(state.selection, event.changes) };
    case "values":
      if (valueKey(state) !== event.key) return state; // another value was chosen meanwhile
      return { ...state, values: { key: event.key, body: event.message.body, networks: event.message.values }, error: "" };
    case "rows":
      if (rowsKey(state) !== event.key) return state; // others are wanted by now
      return { ...state, rows: { key: event.key, answer: event.answer } };
    case "offers rows":
      return { ...state, offersRows: event.open };
    case "start":
      return state.started.includes(event.row) ? state : { ...state, started: [...state.started, event.row] };
    case "history": // what was chosen before is no longer wanted
      return {
        ...state,
        selection: event.selection,
        chosen: null,
        live: "",
        view: state.data?.view ?? null,
        sheet: state.sheet && { ...state.sheet, open: event.sheet },
      };
    case "files": {
      const [files, excess] = [event.files.slice(0, SHEET_FILES), event.files.slice(SHEET_FILES)];
      const entries = files.map((file) => ({ file, found: null, error: "" }));
      const sheet = { open: true, networks: state.view?.networks ?? [], entries, excess: excess.map(({ name }) => name) };
      return { ...state, sheet, uploading: "", uploadError: "" };
    }
    case "classified": {
      const { file, networks, found, error } = event;
      if (!state.sheet || String(state.sheet.networks) !== String(networks)) return state; // of others meanwhile
      const entries = state.sheet.entries.map((entry) => (entry.file === file ? { file, found, error } : entry));
      return { ...state, sheet: { ...state.sheet, entries } };
    }
    case "sheet":
      return { ...state, sheet: state.sheet && { ...state.sheet, open: event.open } };
    case "choose":
      return { ...chosen(ended(state, event.changes), event.changes), error: "", uploading: "", uploadError: "" };
    case "received":
      // Something else was chosen meanwhile. Of moving dials each answer is drawn: the newest is asked for next.
      if (!state.view || !isNear(keyOf(state.view), event.key)) return state;
      return { ...state, message: event.message, key: event.key, error: "" };
    case "uploaded": {
      const now = chosen(state, { picture: event.message.picture, ...(event.frame && { frame: event.frame }) });
      if (!now.view) return state;
      return { ...now, message: event.message, key: keyOf(now.view), error: "", live: "", uploading: "", uploadError: "" };
    }
    case "live": {
      // of a view that differs at most in what the hand has moved meanwhile
      const { picture } = event.message;
      if (!state.view || !isNear(keyOf(state.view), event.key, { ...MOVED, picture: "" })) return state;
      const now = { picture, frame: event.frame };
      const key = keyOf({ ...JSON.parse(event.key), ...now });
      return { ...state, view: { ...state.view, ...now }, message: event.message, key, live: picture, error: "" };
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
 * A place belongs to its layer, and one that names its own layer to no channel.
 * @type {(selection: LayerSelection, changes: Partial<LayerSelection>) => LayerSelection}
 */
function selected(selection, changes) {
  const now = { ...selection, ...changes };
  if ("at" in changes) return now;
  const isElsewhere = changes.layer !== undefined && changes.layer !== selection.layer;
  const isLost = isElsewhere || (changes.channel !== undefined && /[a-z]/i.test(selection.at ?? ""));
  return isLost ? { ...now, at: null } : now;
}

/** Names all that the shown arithmetic depends on; null where no value is chosen. @type {(state: State) => string | null} */
export function valueKey(state) {
  const { selection, key } = state;
  if (selection.at === null || key === null) return null;
  return JSON.stringify([key, shownLayer(state), selection.channel, selection.at, selection.field]);
}

/** Whether the arithmetic of the chosen value has to be fetched. @type {(state: State) => boolean} */
export const needsValues = (state) => state.message !== null && valueKey(state) !== null && state.values?.key !== valueKey(state);

/** A hand or camera without an answer gives way to the next choice. @type {(state: State, changes: Partial<View>) => State} */
function ended(state, { picture }) {
  if (!state.live || !state.view || !state.data || !(state.error || picture)) return state;
  const { picture: before, frame } = state.data.view;
  return { ...state, live: "", view: { ...state.view, picture: before, frame } };
}

/** A choice, which the server has yet to hear of. @type {(state: State, given: Partial<View>) => State} */
function chosen(state, given) {
  if (!state.view) return state;
  const framed = given.picture && state.view.frame ? { frame: null, ...given } : given; // a frame is of its picture
  const changes = given.networks && (state.view.step ?? null) !== null ? { step: null, ...framed } : framed; // a step is of its networks
  let { selection } = state;
  if (changes.networks) selection = { ...selection, channel: null };
  const block = state.message?.columns.find((column) => column.name === selection.layer)?.block;
  if (changes.layers === "blocks" && block) selection = { ...selection, layer: block, channel: null };
  return {
    ...state,
    view: { ...state.view, ...changes },
    chosen: { ...state.chosen, ...changes },
    number: state.number + 1,
    selection,
    ...((changes.networks || changes.layers) && { started: [] }), // what takes long is begun for what is seen
  };
}

/** `fragment`: the selection in the address. @type {(state: State, data: RunData, fragment: LayerSelection | null) => State} */
function withData(state, data, fragment) {
  const heard = data.heard === state.number || state.data?.visit !== data.visit;
  const chosen = heard ? null : state.chosen;
  const before = state.data;
  const live = before?.visit === data.visit ? state.live : "";
  const view = { ...data.view, ...chosen, ...(live && { picture: live, frame: state.view?.frame ?? null }) };
  let { selection } = state;
  if (!before || before.visit !== data.visit) selection = fragment ?? data.initial ?? selection;
  else if (before.entry !== data.entry) selection = data.initial ?? selection;
  else if (String(state.view?.networks) !== String(view.networks)) selection = { ...selection, channel: null };
  const now = { ...state, data, view, chosen, selection, live, error: "" };
  // A link from before the strip had blocks alone: the layer in its fragment is inside one, and so of a network of the app.
  const isInside = /^stages\.\d+\.\d+\./.test(selection.layer ?? "");
  const isOld = (!before || before.visit !== data.visit) && view.layers === "blocks" && isInside;
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
