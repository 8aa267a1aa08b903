// What each network predicts, beside the picture itself and what is left of it at the input.

import { coded, el, paintImage, setText, update } from "../dom.js";
import { rasterAt } from "../message.js";
import { shownLayer } from "../store.js";
import { depthChartView } from "./depth_chart.js";
import { drawOnOriginal, drawOverlay, rgbImage } from "./overlay.js";

/** @type {(share: number | null) => string} */
export const percent = (share) => (share === null ? "nan" : `${(100 * share).toFixed(1)}%`); // nan: the network has diverged

/**
 * `canvas` is that of the picture before: a new one costs more than all else here.
 * @type {(picture: Predictions["pictures"][0], body: Uint8Array, canvas: HTMLCanvasElement) => HTMLElement}
 */
function pictureBox(picture, body, canvas) {
  canvas.ariaLabel = picture.alt;
  canvas.className = picture.small ? "small" : "";
  paintImage(canvas, rgbImage(rasterAt(body, picture.pixels, 3)));
  return el("div", {}, el("p", {}, el("b", {}, picture.title), `, ${picture.size}`), canvas, el("p", {}, ...coded(picture.words)));
}

/** Probabilities as bars from 0 to 100 %; an arrow marks the explained class. @type {(network: Predictions["networks"][0]) => HTMLElement} */
function bars(network) {
  const rows = network.classes.flatMap(({ name, short, probability, explained }) => {
    const title = `${name}: ${probability === null ? "nan" : probability.toFixed(4)}`;
    const bar = el("div", { className: "filled" });
    // As its lines are dashed where another network has the same colour.
    const fill = network.dashed ? `repeating-linear-gradient(90deg, ${network.colour} 0 9px, transparent 9px 12px)` : network.colour;
    Object.assign(bar.style, { width: `${100 * (probability ?? 0)}%`, background: fill, opacity: explained ? 1 : 0.55 });
    const text = percent(probability);
    return [
      el("div", { className: "class", title }, explained ? el("b", {}, `▸ ${short}`) : short),
      el("div", { className: "rail", title }, bar, el("span", {}, text)),
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
    { className: "bars", role: "group", ariaLabel: `The five most probable classes of ${network.title}` },
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
  return el("div", {}, heading, overlay, caption, prediction(network), bars(network), el("p", {}, network.verdict));
}

/**
 * The accuracy against depth, the picture, and of each network the Grad-CAM of the chosen layer above its prediction.
 * @type {(root: HTMLElement, choose: (changes: Partial<View>) => void) => Draw}
 */
export function predictionsView(root, choose) {
  /** @type {HTMLCanvasElement[]} */
  const canvases = [];
  const overlays = [0, 1].map(() => ({ canvas: el("canvas", { role: "img" }), caption: el("p", { className: "caption" }) }));
  const [depths, first] = [el("div", { className: "by-depth" }), el("div")];
  const chart = depthChartView(depths, choose);
  const asInput = el("input", { type: "checkbox", role: "switch" });
  const asInputLabel = el("label", { className: "switch" }, asInput, el("span", {}, "Show what the network gets"));
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
    const now = JSON.stringify([layer, selection.scope, selection.opacity, asInput.checked]);
    if (drawn === now) return;
    drawn = now;
    message.networks.forEach((network, which) => {
      const { canvas, caption } = overlays[which];
      const cell = network.cells[column] ?? null;
      const draw = (asInput.checked || message.predictions.changed) && cell ? drawOverlay : drawOnOriginal;
      draw(canvas, message, which, column, { ...selection, layer });
      canvas.classList.toggle("small", message.predictions.pictures[0].small);
      const words = cell ? `Grad-CAM of ${layer}, for ${network.target}` : `${network.title} has no layer ${layer}`;
      update(canvas, { ariaLabel: `${words}, over the image` });
      setText(caption, cell?.zero ? `${words}: zero everywhere` : words);
    });
  }
  asInput.onchange = drawOverlays;

  return (now) => {
    state = now;
    const { message } = now;
    if (!message) return;
    const { predictions, body } = message;
    chart(message.depths);
    if (shown !== predictions) {
      [shown, drawn] = [predictions, ""];
      const { pictures, networks, finding, note, changed } = predictions;
      while (canvases.length < pictures.length) canvases.push(el("canvas", { role: "img" }));
      first.replaceChildren(
        ...pictures.map((picture, index) => pictureBox(picture, body, canvases[index])),
        ...(pictures.length > 1 && !changed ? [asInputLabel] : []),
      );
      first.className = pictures.length > 1 ? "pair" : "";
      const boxes = networks.map((network, which) => networkBox(network, overlays[which].canvas, overlays[which].caption));
      const grid = el("div", { className: "predictions" }, ...(message.depths ? [depths] : []), first, ...boxes);
      grid.style.gridTemplateColumns = `${message.depths ? "minmax(0, 1fr) " : ""}minmax(0, 1.1fr) repeat(${networks.length}, minmax(0, 1.3fr))`;
      root.replaceChildren(
        grid,
        el("p", { className: "finding" }, finding),
        ...(note === null ? [] : [el("p", { className: "targets" }, note)]),
      );
    }
    drawOverlays();
  };
}
