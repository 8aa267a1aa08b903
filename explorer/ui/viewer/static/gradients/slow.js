// One training step in slow motion: the batch goes forward layer by layer, its loss comes out, the gradient comes back
// from the last layer to the first, the optimiser changes the weights, and the loss is taken again.

import { el, setText, svgEl, toggle } from "../dom.js";
import { formatReading } from "../format.js";
import { playerView } from "../training/player.js";
import { laneView, pathView } from "./slow_charts.js";

const LASTS_MS = 16_000; // from the batch to the new loss
const REST_MS = 500; // after which the address follows the slider

/** @type {SlowPhase[]} */
const ORDER = ["batch", "forward", "loss", "backward", "update", "after"];

/** The layers of the deepest network: so many places has a pass. @type {(networks: {layers: string[]}[]) => number} */
export const layersOf = (networks) => Math.max(...networks.map(({ layers }) => layers.length));

/** The places before each phase begins, and at last how many there are. @type {(layers: number) => Record<SlowPhase | "end", number>} */
export function startsOf(layers) {
  return {
    batch: 0,
    forward: 1,
    loss: 1 + layers,
    backward: 2 + layers,
    update: 2 + 2 * layers,
    after: 3 + 2 * layers,
    end: 4 + 2 * layers,
  };
}

/** @type {(at: number, layers: number) => SlowPlace} */
export function placeAt(at, layers) {
  const starts = startsOf(layers);
  const phase = /** @type {SlowPhase} */ (ORDER.findLast((each) => starts[each] <= at) ?? "batch");
  return { phase, index: at - starts[phase] };
}

/**
 * Of a network with `own` layers beside one with `layers`: the layer where the pass is now, null in none; and which
 * layers each lane shows, from and to.
 * @type {(place: SlowPlace, own: number, layers: number) => {now: number | null, lanes: [number, number][]}}
 */
export function shownAt({ phase, index }, own, layers) {
  const step = ORDER.indexOf(phase);
  const gone = Math.ceil(((index + 1) / layers) * own); // the same share of the depth
  const [forward, backward] = [phase === "forward" ? gone : step > 1 ? own : 0, phase === "backward" ? gone : step > 3 ? own : 0];
  const now = phase === "forward" ? forward - 1 : phase === "backward" ? own - backward : null;
  return {
    now,
    lanes: [
      [0, forward],
      [own - backward, own],
      [0, step > 3 ? own : 0],
    ],
  };
}

/** @type {(values: (number | null)[]) => number} */
const mean = (values) => values.reduce((/** @type {number} */ sum, value) => sum + (value ?? Number.NaN), 0) / values.length;

/** What happens at a place, in sentences. @type {(data: SlowData, place: SlowPlace) => string} */
export function told({ networks, labels, lanes }, { phase, index }) {
  const layers = layersOf(networks);
  const each = (/** @type {(network: SlowNetwork) => string} */ words) =>
    networks.map((network) => `${network.title} ${words(network)}`).join(", ");
  if (phase === "batch")
    return `${networks.length > 1 ? "Both networks get the same" : "The network gets"} ${labels.length} images with their labels.`;
  if (phase === "loss") return `The mean loss of the batch: ${each(({ losses }) => mean(losses).toFixed(3))}.`;
  if (phase === "update") return `The optimiser changes every weight. Choose a layer to see one of its weights worked out.`;
  if (phase === "after") return networks.map(({ finding }) => finding).join(" ");
  const lane = phase === "forward" ? 0 : 1;
  const words = each((network) => {
    const { now } = shownAt({ phase, index }, network.layers.length, layers);
    return now === null ? "" : `${network.layers[now]} ${formatReading(network.lanes[lane][now])}`;
  });
  return `${lane ? "Back to" : "Forward to"} layer ${lane ? layers - index : index + 1} of ${layers}. ${lanes[lane]}: ${words}.`;
}

/** @param {HTMLElement} root */
export function slowView(root) {
  const player = playerView("Place in the training step", { first: 0, lastsMs: LASTS_MS, draw, rest });
  /** @type {(text: string, label: string, by: number) => HTMLButtonElement} */
  const mover = (text, label, by) =>
    el("button", { type: "button", ariaLabel: label, title: label, onclick: () => go(player.here() + by) }, text);
  const [back, next] = [mover("◂ Back", "One place back", -1), mover("Next ▸", "One place on", 1)];
  const phases = el("div", { className: "phases", role: "group", ariaLabel: "Parts of the step" });
  const sentence = el("p", { className: "told" });
  const spoken = el("div", { className: "says", ariaLive: "polite" });
  const batch = el("ul", { className: "batch", tabIndex: 0, role: "list", ariaLabel: "Images of the batch with their losses" });
  const pair = el("div", { className: "pair" });
  const rules = el("div", { className: "pair" });
  const select = el("select", { ariaLabel: "Layer" });
  const choice = el("label", {}, "One weight of the layer", select, "worked out: the one that changes most");
  const path = el("div", {});
  const controls = el("div", { className: "controls" }, ...player.parts, back, next);
  root.append(controls, phases, sentence, spoken, batch, pair, choice, rules, path);
  const drawPath = pathView(path);

  /** @type {SlowData | null} */
  let data = null;
  /** @type {(at: number) => void} */
  let tell = () => {};
  let [toldAt, timer, layer] = [-1, 0, 0];
  /** @type {ReturnType<typeof laneView>[]} */
  let views = [];

  select.onchange = () => chooseLayer(Number(select.value));

  /** @type {(place: number) => void} */
  function go(place) {
    player.go(place);
    spoken.textContent = sentence.textContent;
  }
  /** @type {(place: number) => void} */
  function chooseLayer(place) {
    layer = place;
    if (data) draw(player.here());
  }

  /** @type {(at: number) => [string, string]} */
  function draw(at) {
    const step = data;
    if (!step) return ["", ""];
    const { networks } = step;
    const layers = layersOf(networks);
    const place = placeAt(at, layers);
    const text = told(step, place);
    const isUpdate = place.phase === "update";
    setText(sentence, text);
    back.disabled = at === 0;
    next.disabled = at === startsOf(layers).end - 1;
    for (const button of phases.querySelectorAll("button")) {
      if (button.name === place.phase) button.setAttribute("aria-current", "step");
      else button.removeAttribute("aria-current");
    }
    networks.forEach((network, index) => {
      const shown = shownAt(place, network.layers.length, layers);
      views[index](network, step, isUpdate ? { ...shown, now: ownLayer(network) } : shown, place.phase);
    });
    drawBatch(place.phase);
    for (const part of [choice, rules]) toggle(part, isUpdate);
    if (isUpdate) drawRules();
    toggle(path, place.phase === "after");
    if (place.phase === "after") drawPath(step);
    return [step.phases[place.phase], `${step.phases[place.phase]}: ${text}`];
  }

  /** The chosen layer, in the network that has fewer. @type {(network: SlowNetwork) => number} */
  const ownLayer = ({ layers }) => Math.min(layer, layers.length - 1);

  function drawRules() {
    if (!data) return;
    const { rule, settings, networks } = data;
    if (select.value !== String(layer)) select.value = String(layer);
    const boxes = networks.map((network, index) => {
      const lines = [...rule, settings[index], "", network.layers[ownLayer(network)], ...network.worked[ownLayer(network)]];
      const codes = lines.map((line) => el("code", {}, line || " "));
      return el(
        "div",
        { className: "rule", tabIndex: 0, role: "group", ariaLabel: `The rule in ${network.title}` },
        el("b", { style: `color:${network.colour}` }, network.title),
        ...codes,
      );
    });
    rules.replaceChildren(...boxes);
  }

  /** @type {(phase: SlowPhase) => void} */
  function drawBatch(phase) {
    if (!data) return;
    const { networks } = data;
    const step = ORDER.indexOf(phase);
    const all = networks.flatMap(({ losses, after }) => [...losses, ...after]).filter((loss) => loss !== null);
    const top = Math.max(...all, 1e-9);
    [...batch.children].forEach((item, index) => {
      const bars = networks.map(({ colour, dashed, losses, after, title }) => {
        const [before, now] = [losses[index], after[index]];
        const text = step < 2 ? "" : step < 5 ? formatReading(before) : `${formatReading(before)} → ${formatReading(now)}`;
        const share = step < 2 ? 0 : ((step < 5 ? before : now) ?? 0);
        const style = `--colour:${colour};--share:${((100 * share) / top).toFixed(1)}%`;
        const className = dashed ? "loss dashed" : "loss";
        return el("span", { className, style, title: text && `Loss in ${title}: ${text}` }, text || " ");
      });
      item.replaceChildren(...[...item.children].filter((child) => !child.classList.contains("loss")), ...bars);
    });
  }

  function rest(/** @type {number} */ at) {
    clearTimeout(timer);
    timer = window.setTimeout(() => {
      if (at === toldAt) return;
      toldAt = at;
      tell(at);
    }, REST_MS);
  }

  /** @type {(next: SlowData) => void} */
  function rebuild({ networks, phases: titles, pictures, labels }) {
    const layers = layersOf(networks);
    const starts = startsOf(layers);
    phases.replaceChildren(
      ...ORDER.map((phase) => el("button", { type: "button", name: phase, onclick: () => go(starts[phase]) }, titles[phase])),
    );
    const boxes = networks.map(({ title, colour }) => {
      const svg = svgEl("svg", { role: "img", "aria-label": title });
      return { box: el("div", {}, el("h4", { style: `color:${colour}` }, title), svg), svg };
    });
    pair.replaceChildren(...boxes.map(({ box }) => box));
    views = boxes.map(({ svg }) =>
      laneView(svg, (place) => {
        chooseLayer(place);
        go(starts.update);
      }),
    );
    const deepest = networks.find((network) => network.layers.length === layers) ?? networks[0];
    select.replaceChildren(...deepest.layers.map((name, index) => el("option", { value: String(index) }, name)));
    layer = Math.min(layer, layers - 1);
    batch.replaceChildren(
      ...pictures.map((src, index) =>
        el("li", {}, el("img", { src, alt: `Image ${index + 1}` }), el("b", { title: labels[index] }, labels[index])),
      ),
    );
  }

  return {
    stop() {
      player.stop();
      clearTimeout(timer);
    },
    /** @type {(given: SlowData, change: (at: number) => void) => void} */
    update(given, change) {
      const isOther =
        given.key !== data?.key ||
        JSON.stringify(given.networks.map(({ colour }) => colour)) !== JSON.stringify(data?.networks.map(({ colour }) => colour));
      const isMoved = given.key !== data?.key || given.at !== toldAt; // else the browser shows a later place already
      data = given;
      tell = change;
      toldAt = given.at;
      if (isOther) rebuild(given);
      player.update(startsOf(layersOf(given.networks)).end - 1, isMoved ? given.at : undefined);
    },
  };
}
