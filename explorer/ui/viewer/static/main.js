// The places of Explore where Streamlit mounts the viewer: each draws what the store holds, and tells it what was chosen.

import { fetchArrays, fetchReport, sentence } from "./api.js";
import { el, find, once, save, setText, toggle, update } from "./dom.js";
import { fileName } from "./picture_layout.js";
import { rowCharts } from "./rows.js";
import { awaited, loading, shownLayer } from "./store.js";
import { pastedPictures } from "./uploads.js";
import { formatFragment } from "./url.js";
import { choose, dispatch, files, frames, isShown, mount, noteFilm, now, openUnit, places, select } from "./viewer.js";
import { arithmeticView } from "./views/arithmetic.js";
import { barView } from "./views/bar.js";
import { blockMapsView } from "./views/block_maps.js";
import { changesView } from "./views/changes.js";
import { filmView } from "./views/film.js";
import { keepSheets } from "./views/gallery.js";
import { introductionView } from "./views/introduction.js";
import { headerView } from "./views/layer_header.js";
import { panelView } from "./views/layer_panel.js";
import { ownInputView } from "./views/own_input.js";
import { predictionsView } from "./views/predictions.js";
import { rowsView } from "./views/rows.js";
import { stripView } from "./views/strip.js";

export { connection } from "./viewer.js";

const PLAYING_MS = 60_000; // after a step of a film that plays, before the server hears of it: it hears where the film rests

/** The words for each network in a list. @type {Record<string, string>} */
let labels = {};
/** That the networks know. @type {string[]} */
let classes = [];
let endOwnInput = () => {};

/** @type {(component: Component) => () => void} */
export function overview({ parentElement }) {
  const place = once(parentElement, ".overview", (box) => {
    const [alert, lead, waiting] = [".error", ".lead", ".loading"].map((place) => find(box, place));
    const ownInput = ownInputView(find(box, ".own-input"), choose, frames.follow, () => classes);
    endOwnInput = ownInput.end;
    const predictions = predictionsView(find(box, ".around"), choose);
    const strip = stripView(find(box, ".strip"), select);
    const rows = rowsView(
      find(box, ".rows"),
      select,
      (open) => dispatch({ type: "offers rows", open }),
      (row) => dispatch({ type: "start", row }),
    );
    const charts = rowCharts();
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
      strip(now.message, shownLayer(now), now, charts(now));
      rows(now);
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
export function film({ parentElement }) {
  const view = once(parentElement, ".film", (root) =>
    filmView(root, (step, how) => choose({ step }, how !== "rests", how === "plays" ? PLAYING_MS : undefined)),
  );
  noteFilm(view.isPlaying);
  const unmount = mount("film", ({ message, view: wanted, error }) =>
    view.draw(message?.film ?? null, wanted?.step ?? null, isShown(), error !== ""),
  );
  return () => {
    view.stop();
    unmount();
  };
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
  const place = once(parentElement, ".layers", (root) => panelView(root, select, downloadArrays, openUnit));
  return mount("layers", place);
}

/** A row of maps of a block. @type {(component: Component<BlockMaps>) => () => void} */
export function blockmaps({ data, parentElement }) {
  const place = once(parentElement, ".maps", (root) => blockMapsView(root, select));
  place.fill(data);
  return mount(data.key, place.draw);
}

/** @type {(component: Component) => () => void} */
export function arithmetic({ parentElement }) {
  const place = once(parentElement, ".arithmetic", (root) => arithmeticView(root, select));
  return mount("arithmetic", place);
}

/** Saves the raw numbers of the shown layer of a network as an npz file. @type {(which: number) => void} */
async function downloadArrays(which) {
  const { data, view } = now();
  if (!data || !view) return;
  const name = view.networks[which];
  const question = { ...view, of: name, layer: shownLayer(now()), evidence: now().selection.evidence };
  try {
    save(await fetchArrays(data.token, question), `${name}-layer.npz`);
  } catch (error) {
    dispatch({ type: "failed", error: sentence(error) });
  }
}

/** Saves the report of what is shown. */
async function downloadReport() {
  const { data, view, message, selection } = now();
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
  const given = (/** @type {File[]} */ all) => files.choose(all, data.token, hasViewer() ? null : (picture) => chosen({ picture }));
  const draw = { chosen, given };
  const place = once(parentElement, ".bar", (root) =>
    barView(
      root,
      data,
      (changes) => parentElement.draw?.chosen(changes),
      (all) => parentElement.draw?.given(all),
      files.actions,
    ),
  );
  parentElement.draw = draw;
  keepSheets(data.sheets);
  files.setLimit(data.limit);
  classes = data.classes;
  labels = Object.fromEntries(data.networks.map(({ name, label }) => [name, label]));
  parentElement.listening?.abort(); // Streamlit calls this again after each run, and the end once
  const listening = new AbortController();
  parentElement.listening = listening;
  const { signal } = listening;
  document.addEventListener("paste", (event) => given(pastedPictures(event)), { signal });
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
