// The viewer of Explore: one store. Everything that depends on the picture, the networks, the class and the layer is
// fetched here; every place of the page draws it, and the server hears what was chosen.

import { classify, explain, fetchRows, RequestError, sentence, storePicture } from "./api.js";
import { liveFrames } from "./live_frames.js";
import { rowRequests } from "./row_requests.js";
import { needsRows } from "./rows.js";
import { EMPTY, isNear, keepNewest, keyOf, needsFetch, needsValues, reduce, shownLayer, unasked, valueKey } from "./store.js";
import { named, uploads } from "./uploads.js";
import { formatFragment, parseFragment, showsSheet } from "./url.js";
import { keepSheets } from "./views/gallery.js";

const CACHED = 8; // messages, so that Back needs no request
const REST_MS = 100; // after a choice was drawn, before the server hears of it: another choice may follow at once
const MOVING_MS = 400; // the same while a hand moves a dial
const PATIENCE_MS = 5000; // after which the server hears of a choice that is not drawn yet
const IDLE_MS = 400; // without a choice, after which all layers are fetched
const VALUE_TABS = ["layer", "block"]; // those with the arithmetic of a value
const DRAG_MS = 200; // between two addresses while a slider is dragged

/** @type {State} */
let state = EMPTY;
/** @type {Map<string, Draw>} */
export const places = new Map();
/** @type {Map<string, Message>} */
const cache = new Map();
/** @type {AbortController | null} */
let fetching = null;
/** @type {string | null} */
let fetched = null; // what is being fetched
let rest = REST_MS;
let painting = false; // whether an answer to a moving hand is on its way to the screen
let isPlaying = () => false;
let told = ""; // the selection that the server heard last
let renewed = ""; // the token for which a new one was asked
/**
 * @type {{
 *   choice: (choice: Partial<View> & {number: number}) => void,
 *   selection: (selection: LayerSelection) => void,
 *   unit: (unit: UnitPlace) => void,
 * } | null}
 */
let server = null;
/** @type {Record<string, ReturnType<typeof setTimeout>>} */
const timers = {};

/** @type {(name: string, wait: number, call: () => void) => void} */
function after(name, wait, call) {
  clearTimeout(timers[name]);
  timers[name] = setTimeout(call, wait);
}

export const now = () => state;

/** @type {(event: StoreEvent) => void} */
export function dispatch(event) {
  const before = state;
  state = reduce(state, event);
  if (state === before) return;
  request();
  files.classifySheet();
  draw();
}

function draw() {
  for (const place of places.values()) place(state);
  const { dataset } = document.documentElement;
  if (!places.has("overview")) delete dataset.viewer;
  else dataset.viewer = isBusy() ? "busy" : state.message?.every ? "complete" : "idle";
}

/** Whether the message of the view is shown. */
export const isShown = () => state.view !== null && state.key === keyOf(state.view);

/** Whether something is still to come, or the server has yet to hear of a choice. */
function isBusy() {
  if (state.uploading || (state.chosen !== null && server) || unasked(state).length || needsRows(state)) return true;
  return !state.error && (!isShown() || needsFetch(state) || wantsValues());
}

/**
 * A person chose something that the browser draws by itself. `dragged`: one of many, of which the address keeps the last.
 * @type {Select}
 */
export function select(changes, dragged = false) {
  dispatch({ type: "select", changes });
  if (dragged) after("address", DRAG_MS, () => writeAddress("replace"));
  else writeAddress("push");
  tellSelection();
}

/** A person chose another picture, class, pair of networks, set of layers or dials. @type {Choose} */
export function choose(changes, dragged = false, rests = dragged ? MOVING_MS : REST_MS) {
  rest = rests;
  if (changes.picture) frames.drop();
  dispatch({ type: "choose", changes });
  after("choice", isShown() ? rest : PATIENCE_MS, tellChoice);
}

function tellChoice() {
  clearTimeout(timers.choice);
  if (state.chosen !== null) server?.choice({ ...state.chosen, number: state.number });
}

/** The panels that the server draws need the selection; while none is open, it hears of nothing. */
function tellSelection() {
  if (state.data && state.data.tab !== "layer") after("selection", REST_MS, sendSelection);
}

function sendSelection() {
  clearTimeout(timers.selection);
  const { data, selection } = state;
  const text = JSON.stringify(selection);
  if (!data || text === told || (data.confirmed && text === JSON.stringify(data.selection))) return;
  told = text;
  server?.selection(selection);
}

/** @type {(how: "push" | "replace") => void} */
function writeAddress(how) {
  clearTimeout(timers.address);
  // The address of an open sheet keeps it until the server has put the opened picture into the next one.
  const waits = how === "replace" && state.chosen?.picture && showsSheet(location.hash);
  const sheet = Boolean(state.sheet && (state.sheet.open || waits));
  const address = `${location.pathname}${location.search}${formatFragment(state.selection, sheet)}`;
  if (address === `${location.pathname}${location.search}${location.hash}`) return;
  history[how === "push" ? "pushState" : "replaceState"](history.state, "", address);
}

/** Only some tabs show them, and the server knows none of a hand at work. */
const wantsValues = () => VALUE_TABS.includes(state.data?.tab ?? "") && !state.live && needsValues(state);

/** Fetches what the state needs and nothing has: the view, else the shown layer. */
function request() {
  if (!state.data || !state.view || frames.isSending() || painting || state.live) return; // of a hand at work the next answer is about to come
  const key = keyOf(state.view);
  if (state.key !== key) {
    const cached = cache.get(key);
    if (!cached) return load(key, "view", {});
    keepNewest(cache, key, cached, CACHED);
    state = reduce(state, { type: "received", key, message: cached });
    afterDrawing();
  }
  if (needsFetch(state)) return load(key, `layer ${shownLayer(state)} ${state.selection.channel}`, { only: "layer" });
  if (wantsValues()) return load(key, `values ${valueKey(state)}`, { only: state.selection.field === "effective" ? "field" : "value" });
  after("idle", IDLE_MS, prefetch);
  measure();
}

const measure = rowRequests({
  now,
  show(event) {
    state = reduce(state, event);
    draw();
  },
  isSeen: () => places.has("overview") && !isPlaying(),
  renew,
  ask: fetchRows,
});

function prefetch() {
  const { message, view, data } = state;
  if (!message || !view || !data || data.tab !== "layer" || message.every || !message.prefetch) return;
  if (isShown() && fetched === null && places.size) load(keyOf(view), "all layers", { only: "layers" });
}

/** @type {(key: string, what: string, more: object, file?: File) => void} */
async function load(key, what, more, file) {
  const { data, view } = state;
  if (!data || !view || (fetched === `${what} ${key}` && !file) || (state.uploading && !file)) return;
  if (what === "view" && fetched?.startsWith("view ") && isNear(fetched.slice(5), key)) return; // its answer asks for this
  const controller = begin(`${what} ${key}`);
  const { picture, ...fields } = view;
  const { layer, channel, at } = state.selection;
  const question = { ...fields, layer, channel, at, ...more };
  /** @type {StoreEvent} */
  let event;
  try {
    const wanted = file ? { ...question, frame: null } : { ...question, picture };
    const message = await explain(data.token, wanted, controller.signal, file);
    if (controller.signal.aborted) return;
    keepSheets(message.sheets ?? {});
    const type = what === "view" ? "received" : "layers";
    event = { type: file ? "uploaded" : type, key, message };
    if (what.startsWith("values ")) event = { type: "values", key: what.slice(7), message: /** @type {any} */ (message) };
  } catch (error) {
    if (controller.signal.aborted) return;
    const code = error instanceof RequestError ? error.code : "";
    const text = sentence(error);
    if (code === "session" && renew(data.token)) {
      fetching = fetched = null;
      return;
    }
    if (!file && (code === "networks" || code === "superseded")) {
      fetching = fetched = null; // the page has moved on: what it shows now is about to come
      if (state.view && key !== keyOf(state.view)) return request();
      after("moved on", PATIENCE_MS, () => dispatch({ type: "failed", error: text }));
      return;
    }
    event = { type: file ? "refused" : "failed", error: text };
  }
  fetching = fetched = null;
  state = reduce(state, event);
  if (event.type === "uploaded" && state.view?.picture === picture) writeAddress("push"); // the query stays as it is
  if (event.type === "received" || event.type === "uploaded") afterDrawing();
  else if (event.type === "failed") tellChoice();
  if (state.message && state.key && isShown()) keepNewest(cache, state.key, state.message, CACHED);
  draw();
  const moves = state.view && what === "view" && key !== keyOf(state.view);
  if (moves && event.type === "received") await painted();
  if (event.type !== "failed" || moves) request(); // a refused file has ended what was being fetched
}

/**
 * The connection was lost: a run of the page brings a new token, and with it this view. Asks for it once.
 * @type {(token: string) => boolean}
 */
function renew(token) {
  if (!server || renewed === token) return false;
  renewed = token;
  server.choice({ ...state.chosen, number: state.number });
  return true;
}

/** Shows a file on this page. @type {(file: File) => void} */
function showFile(file) {
  frames.drop();
  dispatch({ type: "uploading", name: file.name });
  load(file.name, "file", named(file), file);
}

export const files = uploads({
  now,
  dispatch,
  show: showFile,
  address: () => writeAddress("push"),
  renew,
  classify,
  store: storePicture,
});

/** Until the browser has painted: what is asked for before would be older, and slow the painting down. @type {() => Promise<void>} */
async function painted() {
  painting = true;
  await new Promise(requestAnimationFrame);
  await new Promise((done) => setTimeout(done));
  painting = false;
}

/** Ends the request before. @type {(question: string) => AbortController} */
function begin(question) {
  fetching?.abort();
  clearTimeout(timers.idle);
  const controller = new AbortController();
  [fetching, fetched] = [controller, question];
  return controller;
}

export const frames = liveFrames({
  now,
  apply(event) {
    state = reduce(state, event);
    if (event.type === "uploaded") afterDrawing();
  },
  begin,
  end(controller) {
    if (fetching === controller) fetching = fetched = null;
  },
  abort: () => fetching?.abort(),
  ask: explain,
  draw() {
    if (state.message && state.key && !state.live && isShown()) keepNewest(cache, state.key, state.message, CACHED);
    draw();
  },
  painted,
  request,
});

/** What has to follow once a picture is on the screen. */
function afterDrawing() {
  tellSelection();
  if (state.chosen !== null) after("choice", rest, tellChoice);
}

addEventListener("popstate", () => {
  if (state.data && places.has("overview")) {
    frames.drop();
    dispatch({ type: "history", selection: parseFragment(location.hash), sheet: showsSheet(location.hash) });
    tellSelection();
  }
});

/** A place of the page: `draw` is called at each change, until the place is gone. @type {(name: string, place: Draw) => () => void} */
export function mount(name, place) {
  places.set(name, place);
  if (state.data || name === "bar") place(state);
  return () => {
    if (places.get(name) === place) places.delete(name);
    draw();
  };
}

/** Notes what tells whether a film asks for one step after the other. @type {(plays: () => boolean) => void} */
export function noteFilm(plays) {
  isPlaying = plays;
}

/** Shows nothing: it tells the store what the view is, and the server what was chosen here. @type {(component: Component<RunData>) => () => void} */
export function connection({ data, setTriggerValue }) {
  const own = {
    choice: (/** @type {Partial<View> & {number: number}} */ choice) => setTriggerValue("choice", choice),
    selection: (/** @type {LayerSelection} */ selection) => setTriggerValue("selection", selection),
    unit: (/** @type {UnitPlace} */ unit) => setTriggerValue("unit", unit),
  };
  server = own;
  places.set("connection", () => {});
  const fragment = location.hash ? parseFragment(location.hash) : null;
  const isCommand = state.data?.visit === data.visit && state.data?.entry !== data.entry;
  clearTimeout(timers["moved on"]);
  if (!data.confirmed || JSON.stringify(state.data?.selection) !== JSON.stringify(data.selection)) told = "";
  dispatch({ type: "data", data, fragment });
  writeAddress(isCommand ? "push" : "replace"); // a run that changed the query has dropped the fragment
  if (data.tab !== "layer" && !data.confirmed) sendSelection();
  else tellSelection();
  return () => {
    if (server !== own) return;
    server = null;
    places.delete("connection");
    draw();
  };
}

/** Opens the page of a channel within this session, which keeps its uploads; false where no server listens. @type {OpenUnit} */
export function openUnit(unit) {
  server?.unit(unit);
  return server !== null;
}
