// The viewer of Explore: one store, several places on the page. Streamlit mounts each place and tells it what the view
// is; everything that depends on the picture, the networks, the class and the layer is fetched and drawn here.

import { classify, explain, fetchArrays, fetchReport, RequestError, storePicture } from "./api.js";
import { el, find, once, save, setText, toggle, update } from "./dom.js";
import { fileName } from "./picture_layout.js";
import {
  awaited,
  EMPTY,
  isNear,
  keepNewest,
  keyOf,
  loading,
  needsFetch,
  needsValues,
  reduce,
  shownLayer,
  unasked,
  valueKey,
} from "./store.js";
import { formatFragment, parseFragment, showsSheet } from "./url.js";
import { arithmeticView } from "./views/arithmetic.js";
import { barView } from "./views/bar.js";
import { changesView } from "./views/changes.js";
import { keepSheets } from "./views/gallery.js";
import { introductionView } from "./views/introduction.js";
import { headerView } from "./views/layer_header.js";
import { panelView } from "./views/layer_panel.js";
import { ownInputView } from "./views/own_input.js";
import { predictionsView } from "./views/predictions.js";
import { stripView } from "./views/strip.js";

const CACHED = 8; // messages, so that Back needs no request
const REST_MS = 100; // after a choice was drawn, before the server hears of it: another choice may follow at once
const MOVING_MS = 400; // the same while a hand moves a dial
const PATIENCE_MS = 5000; // after which the server hears of a choice that is not drawn yet
const IDLE_MS = 400; // without a choice, after which all layers are fetched
const ASKED_AT_ONCE = 2; // pictures of a contact sheet
const AGAIN_MS = 1000; // after the server had no time for a picture
const TRIES = 10; // for each picture
const DRAG_MS = 200; // between two addresses while a slider is dragged

/** @type {State} */
let state = EMPTY;
/** The words for each network in a list. @type {Record<string, string>} */
let labels = {};
let limit = 0; // megabytes of a file
/** @type {Map<string, Draw>} */
const places = new Map();
/** @type {Map<string, Message>} */
const cache = new Map();
/** @type {AbortController | null} */
let fetching = null;
/** @type {string | null} */
let fetched = null; // what is being fetched
/** Pictures of the contact sheet that are being classified. @type {Set<File>} */
const asked = new Set();
let rest = REST_MS;
/** @type {LiveFrame | null} */
let waiting = null; // the newest of those that came while another was answered
let sending = false;
let painting = false; // whether an answer to a moving hand is on its way to the screen
let dropped = 0; // counts the choices of another picture: frames from before them are answered no more
let endOwnInput = () => {};
let told = ""; // the selection that the server heard last
let renewed = ""; // the token for which a new one was asked
/** @type {{choice: (choice: Partial<View> & {number: number}) => void, selection: (selection: LayerSelection) => void} | null} */
let server = null;
/** @type {Record<string, ReturnType<typeof setTimeout>>} */
const timers = {};

/** @type {(name: string, wait: number, call: () => void) => void} */
function after(name, wait, call) {
  clearTimeout(timers[name]);
  timers[name] = setTimeout(call, wait);
}

/** @type {(event: StoreEvent) => void} */
function dispatch(event) {
  const before = state;
  state = reduce(state, event);
  if (state === before) return;
  request();
  classifySheet();
  draw();
}

function draw() {
  for (const place of places.values()) place(state);
  const { dataset } = document.documentElement;
  if (!places.has("overview")) delete dataset.viewer;
  else dataset.viewer = isBusy() ? "busy" : state.message?.every ? "complete" : "idle";
}

/** Whether the message of the view is shown. */
const isShown = () => state.view !== null && state.key === keyOf(state.view);

/** Whether something is still to come, or the server has yet to hear of a choice. */
function isBusy() {
  if (state.uploading || (state.chosen !== null && server) || unasked(state).length) return true;
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
export function choose(changes, dragged = false) {
  rest = dragged ? MOVING_MS : REST_MS;
  if (changes.picture) dropFrames();
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

/** Only the Layer tab shows them, and the server knows none of a hand at work. */
const wantsValues = () => state.data?.tab === "layer" && !state.live && needsValues(state);

/** Fetches what the state needs and nothing has: the view, else the shown layer. */
function request() {
  if (!state.data || !state.view || sending || painting || state.live) return; // of a hand at work the next answer is about to come
  const key = keyOf(state.view);
  if (state.key !== key) {
    const cached = cache.get(key);
    if (!cached) return load(key, "view", {});
    keepNewest(cache, key, cached, CACHED);
    state = reduce(state, { type: "received", key, message: cached });
    afterDrawing();
  }
  if (needsFetch(state)) return load(key, `layer ${shownLayer(state)} ${state.selection.channel}`, { only: "layer" });
  if (wantsValues()) return load(key, `values ${valueKey(state)}`, { only: state.effective ? "field" : "value" });
  after("idle", IDLE_MS, prefetch);
}

function prefetch() {
  const { message, view, data } = state;
  if (!message || !view || !data || data.tab !== "layer" || message.every || !message.prefetch) return;
  if (isShown() && fetched === null && places.size) load(keyOf(view), "all layers", { only: "layers" });
}

/** @type {(error: unknown) => string} */
const sentence = (error) => (error instanceof RequestError ? error.message : String(error));

/** @type {(key: string, what: string, more: object, file?: File) => void} */
async function load(key, what, more, file) {
  const { data, view } = state;
  if (!data || !view || (fetched === `${what} ${key}` && !file) || (state.uploading && !file)) return;
  if (what === "view" && fetched?.startsWith("view ") && isNear(fetched.slice(5), key)) return; // its answer asks for this
  fetching?.abort();
  clearTimeout(timers.idle);
  const controller = new AbortController();
  fetching = controller;
  fetched = `${what} ${key}`;
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
  if ((event.type !== "failed" && event.type !== "refused") || moves) request();
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

/** A sentence about a file that is too large, else "". @type {(file: File, limit: number) => string} */
const tooLarge = ({ name, size }, limit) =>
  size > limit * 2 ** 20 ? `\`${name}\` has ${Math.ceil(size / 2 ** 20)} MB and the limit is ${limit}. Choose a smaller one.` : "";

/** @type {(file: File) => {name: string}} */
const named = (file) => ({ name: file.name.slice(0, 300) });

/** Shows a file on this page. @type {(file: File) => void} */
function showFile(file) {
  dropFrames();
  dispatch({ type: "uploading", name: file.name });
  load(file.name, "file", named(file), file);
}

/**
 * A person chose, dropped or pasted picture files. `tell` takes the name of one on a page without the viewer.
 * @type {(files: File[], data: BarData, tell: ((picture: string) => void) | null) => Promise<void>}
 */
async function chooseFiles(files, { limit, token }, tell) {
  const [file] = files;
  if (!file) return;
  if (files.length > 1) {
    if (tell) return dispatch({ type: "refused", error: "Several pictures make a contact sheet: choose them on Explore." });
    dispatch({ type: "files", files });
    return writeAddress("push");
  }
  const error = tooLarge(file, limit);
  if (error) return dispatch({ type: "refused", error });
  if (!tell) return showFile(file);
  dispatch({ type: "uploading", name: file.name });
  try {
    tell(await storePicture(token, named(file), file));
    dispatch({ type: "refused", error: "" });
  } catch (error) {
    dispatch({ type: "refused", error: sentence(error) });
  }
}

/** Asks the networks about the next pictures of the contact sheet. */
function classifySheet() {
  for (const { file } of unasked(state)) {
    if (asked.size >= ASKED_AT_ONCE) break;
    if (!asked.has(file)) classifyFile(file);
  }
}

/** @type {(file: File) => Promise<void>} */
async function classifyFile(file) {
  const { networks } = /** @type {Sheet} */ (state.sheet);
  let [found, error] = [/** @type {SheetMessage | null} */ (null), tooLarge(file, limit)];
  asked.add(file);
  for (let tries = 1; !found && !error && state.sheet?.open; tries += 1) {
    const token = state.data?.token ?? "";
    try {
      found = await classify(token, { ...named(file), networks }, file);
    } catch (problem) {
      const code = problem instanceof RequestError ? problem.code : "";
      if (code === "session") renew(token);
      if (code === "files") tries = 0; // many people send pictures
      if (["picture", "file", "incident"].includes(code) || tries === TRIES) error = sentence(problem);
      else await new Promise((done) => setTimeout(done, AGAIN_MS)); // busy, out of reach, or the page has moved on
    }
  }
  asked.delete(file);
  if (found || error) dispatch({ type: "classified", file, networks, found, error });
  classifySheet();
}

/** What a person does with the contact sheet. */
const sheetActions = {
  /** Back returns to the sheet: the server puts the picture into the next address. @type {(file: File) => void} */
  pick(file) {
    dispatch({ type: "sheet", open: false });
    showFile(file);
  },
  /** @type {(open: boolean) => void} */
  show(open) {
    dispatch({ type: "sheet", open });
    writeAddress("push");
  },
};

/** Until the browser has painted: what is asked for before would be older, and slow the painting down. @type {() => Promise<void>} */
async function painted() {
  painting = true;
  await new Promise(requestAnimationFrame);
  await new Promise((done) => setTimeout(done));
  painting = false;
}

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

function dropFrames() {
  dropped += 1;
  waiting = null;
  if (sending) fetching?.abort();
}

/** @type {Follow} */
async function answer(frame) {
  const { data, view, uploading } = state;
  if (uploading) return true;
  if (!data || !view) return false;
  const before = dropped;
  fetching?.abort();
  clearTimeout(timers.idle);
  const controller = new AbortController();
  [fetching, fetched] = [controller, "drawing"];
  const { picture: _, ...fields } = view;
  const { layer, channel } = state.selection;
  const { bytes, ...drawing } = frame;
  const key = keyOf(view);
  const part = state.live ? view.frame : null; // a frame is of its picture, or of this hand or camera
  let error = "";
  try {
    const message = await explain(data.token, { ...fields, frame: part, layer, channel, drawing }, controller.signal, new Blob([bytes]));
    if (before !== dropped) return true;
    const same = state.view && isNear(key, keyOf(state.view), { picture: "" });
    if (frame.keep && !same)
      waiting ??= frame; // it is asked once more, with what was chosen meanwhile
    else state = reduce(state, { type: frame.keep ? "uploaded" : "live", key, message, frame: part });
    if (frame.keep && same) afterDrawing();
  } catch (thrown) {
    if (before !== dropped) return true;
    const code = thrown instanceof RequestError ? thrown.code : "";
    if (code === "superseded" || code === "networks") {
      if (frame.keep) waiting ??= frame; // the page is on its way to what was chosen meanwhile
      await new Promise((done) => setTimeout(done, REST_MS));
    } else if (!controller.signal.aborted) error = sentence(thrown);
    else if (frame.keep) waiting ??= frame;
  }
  if (fetching === controller) fetching = fetched = null;
  if (error) state = reduce(state, { type: "failed", error });
  if (state.message && state.key && !state.live && isShown()) keepNewest(cache, state.key, state.message, CACHED);
  draw();
  return !error;
}

/** What has to follow once a picture is on the screen. */
function afterDrawing() {
  tellSelection();
  if (state.chosen !== null) after("choice", rest, tellChoice);
}

addEventListener("popstate", () => {
  if (state.data && places.has("overview")) {
    dropFrames();
    dispatch({ type: "history", selection: parseFragment(location.hash), sheet: showsSheet(location.hash) });
    tellSelection();
  }
});

/** A place of the page: `draw` is called at each change, until the place is gone. @type {(name: string, place: Draw) => () => void} */
function mount(name, place) {
  places.set(name, place);
  if (state.data || name === "bar") place(state);
  return () => {
    if (places.get(name) === place) places.delete(name);
    draw();
  };
}

/** Shows nothing: it tells the store what the view is, and the server what was chosen here. @type {(component: Component<RunData>) => () => void} */
export function connection({ data, setTriggerValue }) {
  const own = {
    choice: (/** @type {Partial<View> & {number: number}} */ choice) => setTriggerValue("choice", choice),
    selection: (/** @type {LayerSelection} */ selection) => setTriggerValue("selection", selection),
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

/** @type {(component: Component) => () => void} */
export function overview({ parentElement }) {
  const place = once(parentElement, ".overview", (box) => {
    const [alert, lead, waiting] = [".error", ".lead", ".loading"].map((place) => find(box, place));
    const ownInput = ownInputView(find(box, ".own-input"), choose, follow);
    endOwnInput = ownInput.end;
    const predictions = predictionsView(find(box, ".around"), choose);
    const strip = stripView(find(box, ".strip"), select);
    const report = el("button", { type: "button", className: "download", onclick: downloadReport }, "Report (HTML)");
    report.title = "The image, both networks, this layer and the strip as one file that opens offline.";
    box.append(el("div", { className: "picture-tools" }, report));
    return (/** @type {State} */ now) => {
      setText(alert, now.error);
      toggle(alert, now.error !== "");
      toggle(lead, !now.error || now.message !== null); // without a strip it has nothing to introduce
      update(box, { ariaBusy: String(!isShown()) });
      const missing = awaited(now).map((name) => labels[name] ?? name);
      setText(waiting, loading(missing));
      box.classList.toggle("loads", missing.length > 0);
      ownInput.draw(now);
      if (!now.message) return;
      predictions(now);
      strip(now.message, shownLayer(now), now.selection, now.selection.at !== null);
    };
  });
  const unmount = mount("overview", place);
  return () => {
    endOwnInput();
    unmount();
  };
}

/** @type {(component: Component) => () => void} */
export function changes({ parentElement }) {
  const place = once(parentElement, ".changes", (root) => changesView(root, select, choose));
  return mount("changes", place);
}

/** @type {(component: Component) => () => void} */
export function introduction({ parentElement }) {
  const place = once(parentElement, ".introduction", (root) => introductionView(root, choose));
  return mount("introduction", ({ message }) => message && place(message));
}

/** The finding again, at the end of the page. @type {(component: Component) => () => void} */
export function ending({ parentElement }) {
  const finding = find(parentElement, ".finding");
  return mount("ending", ({ message }) => message && setText(finding, message.predictions.finding));
}

/** @type {(component: Component) => () => void} */
export function header({ parentElement }) {
  const place = once(parentElement, ".head", (root) => headerView(root, select));
  return mount("header", place);
}

/** @type {(component: Component) => () => void} */
export function layers({ parentElement }) {
  const place = once(parentElement, ".layers", (root) => panelView(root, select, downloadArrays));
  return mount("layers", place);
}

/** @type {(component: Component) => () => void} */
export function arithmetic({ parentElement }) {
  const wantField = (/** @type {boolean} */ wanted) => dispatch({ type: "effective", wanted });
  const place = once(parentElement, ".arithmetic", (root) => arithmeticView(root, select, wantField));
  return mount("arithmetic", place);
}

/** Saves the raw numbers of the shown layer of a network as an npz file. @type {(which: number) => void} */
async function downloadArrays(which) {
  const { data, view } = state;
  if (!data || !view) return;
  const name = view.networks[which];
  const question = { ...view, networks: [name], layer: shownLayer(state), evidence: state.selection.evidence };
  try {
    save(await fetchArrays(data.token, question), `${name}-layer.npz`);
  } catch (error) {
    dispatch({ type: "failed", error: sentence(error) });
  }
}

/** Saves the report of what is shown. */
async function downloadReport() {
  const { data, view, message, selection } = state;
  if (!data || !view || !message) return;
  const title = `Report of ${message.networks.map((network) => network.title).join(" and ")} on ${message.predictions.pictures[0].alt}`;
  const address = `${location.search}${formatFragment(selection)}`;
  try {
    save(await fetchReport(data.token, { ...view, ...selection, address }), fileName(title, "html"));
  } catch (error) {
    dispatch({ type: "failed", error: sentence(error) });
  }
}

/** @type {(component: Component<BarData>) => () => void} */
export function bar({ data, parentElement, setTriggerValue }) {
  const hasViewer = () => places.has("overview") || places.has("connection");
  const chosen = (/** @type {Partial<View>} */ changes) => {
    if (hasViewer()) choose(changes);
    else setTriggerValue("choice", { ...changes, number: 0 });
  };
  const given = (/** @type {File[]} */ files) => chooseFiles(files, data, hasViewer() ? null : (picture) => chosen({ picture }));
  const draw = { chosen, given };
  const place = once(parentElement, ".bar", (root) =>
    barView(
      root,
      data,
      (changes) => parentElement.draw?.chosen(changes),
      (files) => parentElement.draw?.given(files),
      sheetActions,
    ),
  );
  parentElement.draw = draw;
  keepSheets(data.sheets);
  limit = data.limit;
  labels = Object.fromEntries(data.networks.map(({ name, label }) => [name, label]));
  parentElement.listening?.abort(); // Streamlit calls this again after each run, and the end once
  const listening = new AbortController();
  parentElement.listening = listening;
  const { signal } = listening;
  document.addEventListener("paste", (event) => given([...(event.clipboardData?.files ?? [])]), { signal });
  const drop = (/** @type {DragEvent} */ event) => {
    if (event.defaultPrevented || !hasViewer() || !event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault(); // else the browser leaves the page
    if (event.type === "drop") given([...event.dataTransfer.files]);
  };
  document.addEventListener("dragover", drop, { signal });
  document.addEventListener("drop", drop, { signal });
  const unmount = mount("bar", (now) => place(data, now, hasViewer()));
  return () => {
    listening.abort();
    unmount();
  };
}
