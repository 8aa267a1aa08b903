// What each network predicts, beside the picture itself and what is left of it at the input.

import { coded, el, paintImage, setText, toggle, update } from "../dom.js";
import { rasterAt } from "../message.js";
import { shownLayer } from "../store.js";
import { depthChartView } from "./depth_chart.js";
import { frameView } from "./frame.js";
import { drawOnOriginal, drawOverlay, rgbImage } from "./overlay.js";
import { camKind, titleOf } from "./scales.js";

const PAPERS = ["white", "grey", "black"];

/** @type {(share: number | null) => string} */
export const percent = (share) => (share === null ? "nan" : `${(100 * share).toFixed(1)}%`); // nan: the network has diverged

/**
 * A picture between its heading and words; `parts` stand between them where the canvas does not stand alone.
 * @type {(canvas: HTMLCanvasElement, parts?: Node[]) => {box: HTMLElement, draw: (picture: Predictions["pictures"][0], body: Uint8Array) => void}}
 */
function pictureBox(canvas, parts = [canvas]) {
  const [heading, words] = [el("p"), el("p")];
  return {
    box: el("div", {}, heading, ...parts, words),
    draw(picture, body) {
      canvas.ariaLabel = picture.alt;
      canvas.className = picture.small ? "small" : "";
      paintImage(canvas, rgbImage(rasterAt(body, picture.pixels, 3)));
      heading.replaceChildren(el("b", {}, picture.title), `, ${picture.size}`);
      words.replaceChildren(...coded(picture.words));
    },
  };
}

/** Probabilities as bars from 0 to 100 %; an arrow marks the explained class. @type {(network: Predictions["networks"][0]) => HTMLElement} */
function bars(network) {
  const isChanged = network.classes.some(({ before }) => before !== null);
  const rows = network.classes.flatMap(({ name, short, probability, before, explained }) => {
    const other = before === null ? "" : `, ${network.beside} ${before.toFixed(4)}`;
    const title = `${name}: ${probability === null ? "nan" : probability.toFixed(4)}${other}`;
    const bar = el("div", { className: "filled" });
    // As its lines are dashed where another network has the same colour.
    const fill = network.dashed ? `repeating-linear-gradient(90deg, ${network.colour} 0 9px, transparent 9px 12px)` : network.colour;
    Object.assign(bar.style, { width: `${100 * (probability ?? 0)}%`, background: fill, opacity: explained ? 1 : 0.55 });
    const text = before === null ? percent(probability) : `${percent(before)}\n→ ${percent(probability)}`;
    const mark = before === null || before < 0.005 ? [] : [el("i", { className: "before", style: `left:${100 * before}%` })];
    return [
      el("div", { className: "class", title }, explained ? el("b", {}, `▸ ${short}`) : short),
      el("div", { className: "rail", title }, bar, ...mark, el("span", {}, text)),
    ];
  });
  const ticks = [0, 50, 100].map((at) => {
    const tick = el("span", {}, `${at}%`);
    Object.assign(tick.style, { left: `${at}%`, transform: `translateX(-${at}%)` });
    return tick;
  });
  const axis = el("div", { className: "axis", ariaHidden: "true" }, ...ticks);
  return el(
    "div",
    { className: isChanged ? "bars compared" : "bars", role: "group", ariaLabel: `The five most probable classes of ${network.title}` },
    ...rows,
    el("span"),
    axis,
  );
}

/** What a network predicts, and whether that is right. @type {(network: Predictions["networks"][0]) => HTMLElement} */
function prediction({ classes, right }) {
  const [{ name, probability }] = classes;
  const mark = right === null ? "" : right ? " ✓ right" : " ✗ wrong";
  return el(
    "p",
    { className: "said" },
    el("b", {}, name),
    ` ${percent(probability)}`,
    el("span", { className: right ? "right" : "wrong" }, mark),
  );
}

/** @type {(network: Predictions["networks"][0], overlay: HTMLCanvasElement, caption: HTMLElement) => HTMLElement} */
function networkBox(network, overlay, caption) {
  const heading = el("p", {}, el("b", {}, network.title), network.accuracy === null ? "" : `, ${network.accuracy}`);
  return el("div", { className: "network" }, heading, overlay, caption, prediction(network), bars(network), el("p", {}, network.verdict));
}

/**
 * The accuracy against depth, the picture, and of each network the Grad-CAM of the chosen layer above its prediction.
 * @type {(root: HTMLElement, choose: (changes: Partial<View>) => void) => Draw}
 */
export function predictionsView(root, choose) {
  const canvases = ["Original", "As the network sees it"].map((ariaLabel) => el("canvas", { role: "img", ariaLabel }));
  const frame = frameView(canvases[0], (chosen) => choose({ frame: chosen }));
  const paper = el("select", { ariaLabel: "Colour under transparent parts" }, ...PAPERS.map((name) => el("option", { value: name }, name)));
  const paperRow = el("label", { className: "frame-row" }, el("span", {}, "Colour under transparent parts"), paper);
  paper.onchange = () => choose({ paper: paper.value });
  const [original, input] = [pictureBox(canvases[0], [...frame.parts, paperRow]), pictureBox(canvases[1])];
  const overlays = [0, 1].map(() => ({ canvas: el("canvas", { role: "img" }), caption: el("p", { className: "caption" }) }));
  const depths = el("div", { className: "by-depth" });
  const chart = depthChartView(depths, choose);
  const asInput = el("input", { type: "checkbox", role: "switch" });
  const asInputLabel = el("label", { className: "switch" }, asInput, el("span", {}, "Show what the network gets"));
  const first = el("div", {}, original.box, input.box, asInputLabel);
  const grid = el("div", { className: "predictions" }, depths, first);
  const [finding, targets] = [el("p", { className: "finding" }), el("p", { className: "targets" })];
  root.replaceChildren(grid, finding, targets);
  /** @type {unknown} */
  let shown = null;
  let drawn = "";
  /** @type {State} */
  let state;

  function drawOverlays() {
    const { message, selection } = state;
    const layer = shownLayer(state);
    if (!message || layer === null) return;
    const column = message.columns.findIndex(({ name }) => name === layer);
    const now = JSON.stringify([layer, selection.scope, selection.opacity, selection.evidence, asInput.checked]);
    if (drawn === now) return;
    drawn = now;
    message.networks.forEach((network, which) => {
      const { canvas, caption } = overlays[which];
      const cell = network.cells[column] ?? null;
      const draw = (asInput.checked || message.predictions.changed) && cell ? drawOverlay : drawOnOriginal;
      draw(canvas, message, which, column, { ...selection, layer });
      canvas.classList.toggle("small", message.predictions.pictures[0].small);
      const kind = camKind(selection);
      const words = cell ? `${titleOf(kind)} of ${layer}, for ${network.target}` : `${network.title} has no layer ${layer}`;
      update(canvas, { ariaLabel: `${words}, over the image` });
      setText(caption, kind === "cam" && cell?.zero ? `${words}: zero everywhere` : words);
    });
  }
  asInput.onchange = drawOverlays;

  /** What stays in its place keeps the focus. @type {(message: Message) => void} */
  function drawPredictions({ predictions, depths: byDepth, body }) {
    const { pictures, networks, note, changed } = predictions;
    chart(byDepth);
    toggle(depths, byDepth !== null);
    original.draw(pictures[0], body);
    toggle(paperRow, predictions.paper !== null);
    if (predictions.paper !== null) paper.value = predictions.paper;
    if (pictures[1]) input.draw(pictures[1], body);
    toggle(input.box, pictures.length > 1);
    toggle(asInputLabel, pictures.length > 1 && !changed);
    first.className = pictures.length > 1 ? "pair" : "";
    for (const before of grid.querySelectorAll(".network")) before.remove();
    grid.append(...networks.map((network, which) => networkBox(network, overlays[which].canvas, overlays[which].caption)));
    grid.style.gridTemplateColumns = `${byDepth ? "minmax(0, 1fr) " : ""}minmax(0, 1.1fr) repeat(${networks.length}, minmax(0, 1.3fr))`;
    setText(finding, networks.length > 1 ? predictions.finding : ""); // the page ends with it too
    setText(targets, note ?? "");
    toggle(targets, note !== null);
  }

  return (now) => {
    state = now;
    const { message, view } = now;
    if (!message) return;
    const { predictions } = message;
    if (shown !== predictions) {
      [shown, drawn] = [predictions, ""];
      drawPredictions(message);
    }
    const [, height, width] = predictions.pictures[0].pixels;
    const picture = now.live ? "live" : (view?.picture ?? ""); // each answer to a camera has a name of its own
    frame.show(view?.frame ?? null, predictions.networks, [width, height], picture);
    drawOverlays();
  };
}
