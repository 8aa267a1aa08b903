// Where the chosen number comes from, in each network: its operations, their windows, weights and products.

import { cellColours, fourDigits, partsOf, pixelUnder, placeIn, placeText, selectionOf } from "../arithmetic.js";
import { colorTable, toImageData } from "../colors.js";
import { el, moveWithKeys, paintImage, setTabStop, setText, toggle, update } from "../dom.js";
import { cellOf, movedBy, onHover, pixelOn, shares, tellHover, windowArea } from "../links.js";
import { rasterAt } from "../message.js";
import { shownLayer } from "../store.js";
import { rgbImage } from "./overlay.js";
import { boxOf, placeMark } from "./pixels.js";
import { paletteOf, scaleMax } from "./scales.js";

const FIRST = 3; // channels that are shown at once
const FIRST_LINES = 8; // the same where a window has one value a channel
const MORE = 16; // that a click adds
const MAX_CELLS = 64; // of a window that is written in numbers; a larger one is a picture

/** @typedef {{message: Message, values: Values, which: number, scope: Scope, select: Select}} Context */
/** @typedef {import("../links.js").Value} Value */
/** @typedef {import("../links.js").Hover} Hover */
/** @typedef {HTMLElement & {show: (value: Value, hover: Hover | null) => void}} Linked shows what belongs to a hovered pixel */

/** The end of the colour scale of a window's values: that of the strip, where its map is there. @type {(context: Context, window: ValueWindow) => number} */
function scaleOf({ message, which, scope }, { source, peak }) {
  const column = message.columns.findIndex(({ name }) => name === source);
  return column >= 0 && message.networks[which].cells[column] ? scaleMax(message, "map", which, column, scope) : (peak ?? 0);
}

/** @type {(context: Context, layer: string, at: number[], text: string) => HTMLElement} */
function followButton({ message, select }, layer, at, text) {
  const shown = message.columns.map(({ name }) => name);
  const title = `Where does ${placeText(layer, at)} come from?`;
  return el("button", { type: "button", className: "follow", title, onclick: () => select(selectionOf(layer, at, shown)) }, text);
}

/** @type {(context: Context, step: ValueStep) => HTMLElement} */
function termsTable(context, { terms }) {
  const rows = terms.map(({ name, value, layer, at }) => {
    const from = at && layer !== null ? (layer ? followButton(context, layer, at, placeText(layer, at)) : placeText("", at)) : "";
    return el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, fourDigits(value)), el("td", { className: "from" }, from));
  });
  return el("table", { className: "terms" }, el("tbody", {}, ...rows));
}

/**
 * A grid of numbers in the colours of a scale.
 * @param {Context} context
 * @param {ValueWindow} window
 * @param {string} title
 * @param {number[]} numbers
 * @param {number} max
 * @param {number | null} channel of the values, which can be followed
 * @param {boolean} padded whether there are none in padding
 */
function grid({ message, values, which, select }, window, title, numbers, max, channel, padded = true) {
  const [, rows, columns] = window.shape;
  const inside = values.body.subarray(window.inside, window.inside + rows * columns);
  const palette = paletteOf(message, "map");
  const name = el("figcaption", {}, title);
  const at = (/** @type {number} */ row, /** @type {number} */ column) => placeIn(window, channel ?? 0, row, column);
  if (rows * columns > MAX_CELLS) {
    const canvas = el("canvas", { role: "img", ariaLabel: `${title}, ${rows} × ${columns} values`, className: "grid-picture" });
    const steps = Uint8Array.from(numbers, (value) => 128 + Math.round(127 * (max > 0 ? Math.min(Math.max(value / max, -1), 1) : 0)));
    paintImage(canvas, toImageData({ values: steps, height: rows, width: columns }, colorTable(palette, "map", 1, 1)));
    return el("figure", {}, name, canvas);
  }
  const shown = message.columns.map((column) => column.name);
  const found = values.networks[which];
  const also = found.problem === undefined && window.source ? found.same[window.source] : [];
  /** @type {HTMLButtonElement[]} */
  const buttons = []; // one stop of the Tab key
  const lines = Array.from({ length: rows }, (_, row) =>
    el(
      "tr",
      {},
      ...Array.from({ length: columns }, (_, column) => {
        const place = row * columns + column;
        if (padded && !inside[place]) return el("td", { className: "padding", title: "padding" }, "0");
        const [background, color] = cellColours(palette, numbers[place], max);
        const cell = el("td", { style: `background:${background};color:${color}` }, fourDigits(numbers[place]));
        cell.dataset.cell = `${row},${column}`;
        const { source } = window;
        const tell = () =>
          inside[place] && source && tellHover({ which, layer: source, pixel: [at(row, column)[1], at(row, column)[2]], also });
        cell.onpointerenter = tell;
        cell.onpointerleave = () => tellHover(null);
        const won = window.winner?.[1] === row && window.winner?.[2] === column && channel === window.first[0] + (window.winner?.[0] ?? 0);
        if (won) cell.className = "winner";
        if (channel !== null && source) {
          const words = placeText(source, at(row, column));
          const onclick = () => select(selectionOf(source, at(row, column), shown));
          const ariaLabel = `${cell.textContent}: ${words}`;
          const button = el("button", { type: "button", ariaLabel, title: words, onclick }, fourDigits(numbers[place]));
          button.onfocus = tell;
          button.onblur = () => tellHover(null);
          buttons.push(button);
          cell.replaceChildren(button);
        }
        return cell;
      }),
    ),
  );
  if (buttons.length) setTabStop(buttons, buttons[0]);
  moveWithKeys(buttons, buttons.length === rows * columns ? columns : undefined);
  return el("figure", {}, name, el("table", { className: "numbers" }, el("tbody", {}, ...lines)));
}

/** The map of a channel with the window on it, where the strip has its layer. @type {(context: Context, window: ValueWindow, channel: number) => HTMLElement | null} */
function sourceMap(context, window, channel) {
  const { message, which } = context;
  const layerName = window.source;
  if (layerName === null) return null;
  const layer = message.networks[which].layers[layerName];
  const column = message.columns.findIndex(({ name }) => name === window.source);
  const cell = message.networks[which].cells[column];
  if (!layer || !cell || layer.reduced || window.shape[1] * window.shape[2] < 2) return null;
  const [start, height, width] = layer.maps;
  const canvas = el("canvas", { role: "img", ariaLabel: `Channel ${channel} of ${window.source}, with the window` });
  const table = colorTable(paletteOf(message, "map"), "map", cell.peak ?? 0, scaleOf(context, window));
  paintImage(canvas, toImageData(rasterAt(layer.body, [start + channel * height * width, height, width]), table));
  const mark = el("i", { className: "pixel", ariaHidden: "true" });
  const here = el("i", { className: "pixel here", ariaHidden: "true", hidden: true });
  const box = Object.assign(el("div", { className: "with-pixels linked" }, canvas, mark, here), {
    show(/** @type {Value} */ value, /** @type {Hover | null} */ hover) {
      const area = shares(windowArea(window, movedBy(value, hover)), height, width);
      toggle(mark, area !== null);
      if (area) placeMark(mark, area);
      const at = pixelOn(hover, which, layerName);
      toggle(here, at !== null);
      if (at) placeMark(here, boxOf(at, height, width));
    },
  });
  canvas.onpointermove = ({ offsetX, offsetY }) =>
    tellHover({ which, layer: layerName, pixel: pixelUnder(offsetX / canvas.clientWidth, offsetY / canvas.clientHeight, width, height) });
  canvas.onpointerleave = () => tellHover(null);
  return el("figure", { className: "source" }, el("figcaption", {}, "its map"), box);
}

/** @type {(context: Context, value: Value, step: ValueStep, window: ValueWindow) => HTMLElement} */
function windowPart(context, value, step, window) {
  const parts = partsOf(context.values.body, window);
  const [channels, rows, columns] = window.shape;
  const single = rows * columns === 1;
  const max = window.source === null ? (window.peak ?? 0) : scaleOf(context, window);
  const largest = (/** @type {number[]} */ numbers) => numbers.reduce((most, each) => Math.max(most, Math.abs(each)), 0);
  const kernelMax = largest(parts.flatMap(({ factors }) => factors ?? []));
  const productMax = largest(parts.flatMap(({ products }) => products ?? []));
  const isVector = single && ["fully connected", "softmax"].includes(step.operation);
  const unit = step.operation === "softmax" ? "class" : isVector ? "unit" : "channel";
  const weighed = window.factors !== null;
  const list = el("div", { className: single ? "lines" : "parts" });
  const rest = el("p", { className: "rest" });
  const more = el("button", { type: "button" }, "");
  let shown = 0;
  const line = (/** @type {import("../arithmetic.js").Part} */ part) => {
    const at = isVector ? [part.channel] : placeIn(window, part.channel, 0, 0);
    const name = window.source ? followButton(context, window.source, at, `${unit} ${part.channel}`) : `${unit} ${part.channel}`;
    const words = part.factors
      ? `${fourDigits(part.values[0])} × ${fourDigits(part.factors[0])} = ${fourDigits(part.sum)}`
      : fourDigits(part.values[0]);
    const [background, color] = cellColours(paletteOf(context.message, "map"), part.sum, part.factors ? productMax : max);
    return el("div", {}, name, el("span", { style: `background:${background};color:${color}` }, words));
  };
  const block = (/** @type {import("../arithmetic.js").Part} */ part) => {
    const map = step.at.length === 3 ? sourceMap(context, window, part.channel) : null;
    map?.querySelectorAll(".linked").forEach((box) => {
      /** @type {Linked} */ (box).show(value, null);
    });
    const grids = [...(map ? [map] : []), grid(context, window, "input", part.values, max, part.channel)];
    if (part.factors && part.products) {
      grids.push(grid(context, window, "× weights", part.factors, kernelMax, null, false));
      grids.push(grid(context, window, "= products", part.products, productMax, null));
    }
    const sum = weighed ? `: sum of products ${fourDigits(part.sum)}` : "";
    return el("div", {}, el("p", {}, el("b", {}, `Channel ${part.channel}`), sum), el("div", { className: "grids" }, ...grids));
  };
  const show = (/** @type {number} */ count) => {
    list.append(...parts.slice(shown, shown + count).map(single ? line : block));
    shown = Math.min(shown + count, parts.length);
    const left = parts.slice(shown);
    const total = left.reduce((sum, part) => sum + part.sum, 0);
    setText(rest, weighed ? `The ${left.length} other ${unit}s together: ${fourDigits(total)}.` : `There are ${left.length} more.`);
    toggle(rest, left.length > 0);
    toggle(more, left.length > 0);
    setText(more, `Show ${Math.min(MORE, left.length)} more`);
  };
  more.onclick = () => show(MORE);
  show(single ? FIRST_LINES : FIRST);
  const from = window.source === null ? `${step.layer} before the change` : window.source || "the image";
  const size = `${channels} × ${rows} × ${columns}`;
  const order = channels > 1 ? ", the largest first" : "";
  const box = el("div", { className: "window linked" }, el("p", {}, `Window of ${size} values of ${from}${order}:`), list, rest, more);
  return Object.assign(box, {
    show(/** @type {Value} */ { same }, /** @type {Hover | null} */ hover) {
      const cell = cellOf(window, same, hover)?.join();
      for (const each of list.querySelectorAll("[data-cell]")) {
        each.classList.toggle("here", /** @type {HTMLElement} */ (each).dataset.cell === cell);
      }
    },
  });
}

/** The input with the receptive field on it. @type {(context: Context, value: Value) => HTMLElement} */
function fieldPart({ message, values, which }, value) {
  const input = rasterAt(message.body, message.networks[which].input, 3);
  const canvas = el("canvas", { role: "img", ariaLabel: "The input of the network, with the receptive field" });
  paintImage(canvas, rgbImage(input));
  const box = el("div", { className: "with-pixels picture" }, canvas);
  let words = "It depends on no pixel.";
  if (value.reach) {
    const [top, left, bottom, right] = value.reach;
    const [tall, wide] = [bottom - top + 1, right - left + 1];
    const mark = el("i", { className: "pixel", ariaHidden: "true" });
    placeMark(mark, { left: left / input.width, top: top / input.height, width: wide / input.width, height: tall / input.height });
    box.append(mark);
    words = `Receptive field: ${tall} × ${wide} of ${input.height} × ${input.width} pixels.`;
  }
  if (value.effective) {
    const { map, largest } = value.effective;
    const heat = el("canvas", { className: "heat", role: "img", ariaLabel: "Effective receptive field" });
    paintImage(heat, toImageData(rasterAt(values.body, map), colorTable(paletteOf(message, "cam"), "cam", 1, 1)));
    words += ` Effective: |gradient| of this value to each pixel, 0 to ${fourDigits(largest)}.`;
    const effective = el(
      "div",
      { className: "with-pixels picture" },
      heat,
      ...[...box.querySelectorAll("i")].map((mark) => mark.cloneNode()),
    );
    return el(
      "div",
      { className: "field-of" },
      el("div", { className: "grids" }, box, effective),
      el("p", { className: "caption" }, words),
    );
  }
  return el("div", { className: "field-of" }, box, el("p", { className: "caption" }, words));
}

/** @type {(context: Context, value: Value) => HTMLElement[]} */
function valueParts(context, value) {
  const steps = value.steps.map((step) =>
    el(
      "div",
      { className: step.change ? "step touched" : "step" },
      el("p", {}, el("b", {}, `${step.operation}: ${fourDigits(step.value)}`), ` ${placeText(step.layer, step.at)}`),
      el("p", { className: "caption" }, step.formula, ...(step.change ? [" Change: ", el("code", {}, step.change), "."] : [])),
      ...(step.terms.length ? [termsTable(context, step)] : []),
      ...(step.window ? [windowPart(context, value, step, step.window)] : []),
    ),
  );
  return [fieldPart(context, value), ...steps, el("p", { className: "check" }, value.check)];
}

/** @type {(root: HTMLElement, select: Select) => Draw} */
export function arithmeticView(root, select) {
  const hint = el("p", { className: "caption" });
  const start = el("button", { type: "button", onclick: () => select({ at: "probabilities" }) }, "Start at the probability");
  const none = el("button", { type: "button", onclick: () => select({ at: null }) }, "Choose none");
  const effective = el("input", { type: "checkbox", role: "switch" });
  effective.onchange = () => select({ field: effective.checked ? "effective" : "theoretical" });
  const wanted = el("label", {}, effective, el("span", {}, "Effective receptive field"));
  const said = el("p", { className: "said", ariaLive: "polite" });
  const columns = el("div", { className: "columns" });
  root.replaceChildren(
    el("h4", {}, "Where a number comes from"),
    hint,
    el("div", { className: "choices" }, start, none, wanted),
    said,
    columns,
  );
  setText(
    hint,
    "Choose a pixel of an enlarged feature map by a click or with the arrow keys. On a map of the strip, Shift with a click or an arrow key chooses one. Or start at the predicted probability and follow it back.",
  );
  onHover("arithmetic", (hover) => {
    state?.values?.networks.forEach((value, which) => {
      if (value.problem !== undefined) return;
      const own = hover?.which === which ? hover : null;
      for (const box of columns.children[which]?.querySelectorAll(".linked") ?? []) /** @type {Linked} */ (box).show(value, own);
    });
  });
  /** @type {State | null} */
  let state = null;
  /** @type {unknown[]} */
  let drawn = [];
  return (now) => {
    state = now;
    const { message, values, selection } = now;
    const chosen = selection.at !== null && message !== null;
    toggle(root, message !== null);
    toggle(none, chosen);
    toggle(wanted, chosen);
    update(effective, { checked: selection.field === "effective" });
    toggle(said, chosen);
    toggle(columns, chosen);
    if (!chosen || !values) return;
    const layer = shownLayer(now) ?? "";
    const key = [
      message.predictions,
      message.every,
      values,
      selection.scope,
      layer,
      ...message.networks.map((network) => network.layers[layer]),
    ];
    columns.classList.toggle("waiting", now.live !== "" || (values.key !== "" && !values.key.includes(JSON.stringify(selection.at))));
    if (drawn.length === key.length && drawn.every((each, index) => each === key[index])) return;
    drawn = key;
    const words = values.networks.map((value, which) => {
      const title = message.networks[which]?.title ?? "";
      return value.problem === undefined ? `${title}: ${fourDigits(value.value)}` : value.problem;
    });
    const [first] = values.networks.filter((value) => value.problem === undefined);
    setText(said, `${first?.problem === undefined && first ? `${placeText(first.layer, first.at)}. ` : ""}${words.join(". ")}`);
    columns.replaceChildren(
      ...values.networks.map((value, which) => {
        const { title, colour } = message.networks[which];
        const heading = el("p", {}, el("b", { style: `color:${colour}` }, title));
        if (value.problem !== undefined) return el("section", {}, heading, el("p", { className: "note" }, value.problem));
        const context = { message, values, which, scope: selection.scope, select };
        heading.append(`: ${placeText(value.layer, value.at)} is `, el("b", {}, fourDigits(value.value)));
        return el("section", {}, heading, ...valueParts(context, value));
      }),
    );
  };
}
