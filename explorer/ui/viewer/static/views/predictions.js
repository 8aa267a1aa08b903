// What each network predicts, beside the picture itself and what is left of it at the input.

import { imageOf } from "../colors.js";
import { coded, el, paintImage } from "../dom.js";
import { rasterAt } from "../message.js";

/**
 * `canvas` is that of the picture before: a new one costs more than all else here.
 * @type {(picture: Predictions["pictures"][0], body: Uint8Array, canvas: HTMLCanvasElement) => HTMLElement}
 */
function pictureBox(picture, body, canvas) {
  const { values, height, width } = rasterAt(body, picture.pixels, 3);
  canvas.ariaLabel = picture.alt;
  canvas.className = picture.small ? "small" : "";
  const pixels = new Uint32Array(width * height);
  for (let pixel = 0, place = 0; pixel < pixels.length; pixel += 1, place += 3) {
    pixels[pixel] = 0xff000000 | (values[place + 2] << 16) | (values[place + 1] << 8) | values[place];
  }
  paintImage(canvas, imageOf(pixels, height, width));
  return el("div", {}, el("p", {}, el("b", {}, picture.title), `, ${picture.size}`), canvas, el("p", {}, ...coded(picture.words)));
}

/** Probabilities as bars from 0 to 100 %; an arrow marks the explained class. @type {(network: Predictions["networks"][0]) => HTMLElement} */
function bars(network) {
  const rows = network.classes.flatMap(({ name, short, probability, explained }) => {
    const title = `${name}: ${probability === null ? "nan" : probability.toFixed(4)}`; // nan: the network has diverged
    const bar = el("div", { className: "filled" });
    // As its lines are dashed where another network has the same colour.
    const fill = network.dashed ? `repeating-linear-gradient(90deg, ${network.colour} 0 9px, transparent 9px 12px)` : network.colour;
    Object.assign(bar.style, { width: `${100 * (probability ?? 0)}%`, background: fill, opacity: explained ? 1 : 0.55 });
    const text = probability === null ? "nan" : `${(100 * probability).toFixed(1)}%`;
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

/** @type {(network: Predictions["networks"][0]) => HTMLElement} */
function networkBox(network) {
  const heading = el("p", {}, el("b", {}, network.title), network.accuracy === null ? "" : `, ${network.accuracy}`);
  return el("div", {}, heading, bars(network), el("p", {}, network.verdict));
}

/** @type {(root: HTMLElement) => (message: Message) => void} */
export function predictionsView(root) {
  /** @type {HTMLCanvasElement[]} */
  const canvases = [];
  /** @type {unknown} */
  let shown = null;
  return ({ predictions, body }) => {
    if (shown === predictions) return;
    shown = predictions;
    const { pictures, networks, note } = predictions;
    while (canvases.length < pictures.length) canvases.push(el("canvas", { role: "img" }));
    const boxes = pictures.map((picture, index) => pictureBox(picture, body, canvases[index]));
    const grid = el("div", { className: "predictions" }, ...boxes, ...networks.map(networkBox));
    grid.style.gridTemplateColumns = `minmax(0, 1fr) minmax(0, 1fr) repeat(${networks.length}, minmax(0, 1.5fr))`;
    root.replaceChildren(grid, ...(note === null ? [] : [el("p", { className: "targets" }, note)]));
  };
}
