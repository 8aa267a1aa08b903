// Which pixels belong together: a value, the window that it was computed from, and the maps on which both lie.

import { placeIn } from "./arithmetic.js";

/** @typedef {{which: number, layer: string, pixel: [row: number, column: number], also?: string[]}} Hover a pixel of a layer's map, of a network, and other layers with the same places */
/** @typedef {{layer: string, top: number, left: number, height: number, width: number}} Area in pixels of the layer's map */

/** What shows the pixel under a pointer, each by a name: one that is built anew replaces the one before. @type {Map<string, (hover: Hover | null) => void>} */
const listeners = new Map();

/** @type {(name: string, listener: (hover: Hover | null) => void) => void} */
export const onHover = (name, listener) => void listeners.set(name, listener);

/** A pointer or the focus is on a pixel, or with null on none. @type {(hover: Hover | null) => void} */
export function tellHover(hover) {
  for (const listener of listeners.values()) listener(hover);
}

/** Whether a click on any map chooses a pixel, also where no number is shown. */
export const choosing = { on: false };

/** The pixel where it is one of that layer, or at its place; else null. @type {(hover: Hover | null, which: number, layer: string) => [row: number, column: number] | null} */
export const pixelOn = (hover, which, layer) =>
  hover && hover.which === which && (hover.layer === layer || hover.also?.includes(layer)) ? hover.pixel : null;

/**
 * By how many places the hovered pixel is away from the chosen one, where it lies on a map of the value or of what it
 * was made of at the same place; else none.
 * @type {(value: Value, hover: Hover | null) => [down: number, right: number]}
 */
export function movedBy({ at, steps }, hover) {
  if (!hover || at.length !== 3 || !steps.some(({ layer }) => layer === hover.layer)) return [0, 0];
  return [hover.pixel[0] - at[1], hover.pixel[1] - at[2]];
}

/** @typedef {Exclude<ValueData, {problem: string}>} Value */

/** @type {(window: ValueWindow, moved: [number, number]) => Area} */
export const windowArea = ({ source, first, spacing, shape, stride }, moved) => ({
  layer: source ?? "",
  top: first[1] + moved[0] * stride[0],
  left: first[2] + moved[1] * stride[1],
  height: (shape[1] - 1) * spacing[0] + 1,
  width: (shape[2] - 1) * spacing[1] + 1,
});

/**
 * The row and column in a window of a hovered pixel of its source, or at its place; null where it lies beside it.
 * @type {(window: ValueWindow, same: Value["same"], hover: Hover | null) => [row: number, column: number] | null}
 */
export function cellOf(window, same, hover) {
  if (!hover || window.source === null || ![window.source, ...(same[window.source] ?? [])].includes(hover.layer)) return null;
  const [, top, left] = placeIn(window, 0, 0, 0);
  const row = (hover.pixel[0] - top) / window.spacing[0];
  const column = (hover.pixel[1] - left) / window.spacing[1];
  const [, rows, columns] = window.shape;
  const isInside = Number.isInteger(row) && Number.isInteger(column) && row >= 0 && column >= 0 && row < rows && column < columns;
  return isInside ? [row, column] : null;
}

/**
 * What belongs to the shown value of a network on the maps of all layers: its own pixel, those of its terms, and its
 * windows; and the hovered pixel, with which all but that of other layers move.
 * @type {(value: ValueData | undefined, hover: Hover | null) => Area[]}
 */
export function areasOf(value, hover) {
  /** @type {(layer: string, row: number, column: number) => Area} */
  const pixel = (layer, top, left) => ({ layer, top, left, height: 1, width: 1 });
  /** @type {Area[]} */
  const areas = [];
  const same = (/** @type {string} */ layer) => [layer, ...(value?.problem === undefined ? (value?.same[layer] ?? []) : [])];
  if (value && value.problem === undefined) {
    const moved = movedBy(value, hover);
    if (value.at.length === 3) areas.push(pixel(value.layer, value.at[1] + moved[0], value.at[2] + moved[1]));
    for (const { layer, at, terms, window } of value.steps) {
      if (at.length !== 3) continue;
      areas.push(pixel(layer, at[1] + moved[0], at[2] + moved[1]));
      for (const term of terms) {
        const isHere = term.at?.length === 3 && term.at[1] === at[1] && term.at[2] === at[2]; // a copy may come from elsewhere
        if (term.layer && isHere) for (const each of same(term.layer)) areas.push(pixel(each, at[1] + moved[0], at[2] + moved[1]));
      }
      if (window?.source) for (const each of same(window.source)) areas.push({ ...windowArea(window, moved), layer: each });
    }
  }
  if (hover) for (const layer of [hover.layer, ...(hover.also ?? [])]) areas.push(pixel(layer, ...hover.pixel));
  const keys = areas.map((area) => JSON.stringify(area));
  return areas.filter((_, index) => keys.indexOf(keys[index]) === index);
}

/** An area as shares of its map, cut at the edge; null where none of it lies on the map. @type {(area: Area, height: number, width: number) => Box | null} */
export function shares({ top, left, ...sides }, height, width) {
  const [low, high] = [Math.max(top, 0), Math.min(top + sides.height, height)];
  const [begin, end] = [Math.max(left, 0), Math.min(left + sides.width, width)];
  if (low >= high || begin >= end) return null;
  return { left: begin / width, top: low / height, width: (end - begin) / width, height: (high - low) / height };
}

/**
 * What a click on a map chooses: the pixel under a pointer, with a key the chosen or middle one; null for no pixel.
 * `detail` is 0 for a key. A number that is shown makes every click of a pointer choose one, as do `wanted` and Shift.
 * @type {(click: {detail: number, shiftKey: boolean}, follows: boolean, wanted: boolean, under: () => [number, number], now: () => [number, number]) => [row: number, column: number] | null}
 */
export function clickedPixel({ detail, shiftKey }, follows, wanted, under, now) {
  if (!wanted && !shiftKey && !(follows && detail)) return null;
  return detail ? under() : now();
}
