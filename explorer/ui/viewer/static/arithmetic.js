// Places, orders and colours of an arithmetic: nothing here draws.

import { floats } from "./message.js";

/** To four digits, as Python writes it with ".4g"; null stands for a number that JSON cannot hold. @type {(value: number | null) => string} */
export function fourDigits(value) {
  if (value === null || Number.isNaN(value)) return "no number";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e-4 && size < 1e4) return String(Number(value.toPrecision(4)));
  const [digits, power] = value.toExponential(3).split("e");
  return `${Number(digits)}e${power}`;
}

/** The row and column that `at` chooses on the shown map. @type {(at: string | null) => [row: number, column: number] | null} */
export function pixelOf(at) {
  const match = at?.match(/^(\d+),(\d+)$/);
  return match ? [Number(match[1]), Number(match[2])] : null;
}

/** The pixel under a pointer at these shares of a map. @type {(x: number, y: number, width: number, height: number) => [row: number, column: number]} */
export function pixelUnder(x, y, width, height) {
  const place = (/** @type {number} */ share, /** @type {number} */ side) => Math.min(Math.max(Math.floor(share * side), 0), side - 1);
  return [place(y, height), place(x, width)];
}

/** @type {Record<string, [down: number, right: number]>} */
const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/**
 * The pixel that a key moves to, null for any other key. Without one the first arrow goes to the middle.
 * @type {(pixel: [number, number] | null, key: string, height: number, width: number) => [row: number, column: number] | null}
 */
export function movedPixel(pixel, key, height, width) {
  if (key === "Home") return [0, 0];
  if (key === "End") return [height - 1, width - 1];
  const step = STEPS[key];
  if (!step) return null;
  if (!pixel) return [Math.floor(height / 2), Math.floor(width / 2)];
  return [Math.min(Math.max(pixel[0] + step[0], 0), height - 1), Math.min(Math.max(pixel[1] + step[1], 0), width - 1)];
}

/** What `at` and `layer` of a selection become for a value of any layer. @type {(layer: string, at: number[], shown: string[]) => Partial<LayerSelection>} */
export function selectionOf(layer, at, shown) {
  if (at.length === 3 && shown.includes(layer)) return { layer, channel: at[0], at: `${at[1]},${at[2]}` };
  return { at: layer === "probabilities" ? layer : `${layer}:${at.join(",")}` };
}

/**
 * The layer and place of the chosen value, where a selection says both.
 * @type {(selection: Pick<LayerSelection, "at" | "channel">, layer: string | null) => {layer: string, place: number[]} | null}
 */
export function chosenPlace({ at, channel }, layer) {
  const pixel = pixelOf(at);
  if (pixel) return layer !== null && channel !== null ? { layer, place: [channel, ...pixel] } : null;
  const [name, places] = at?.split(":") ?? [];
  return name && places ? { layer: name, place: places.split(",").map(Number) } : null;
}

/** Where a value is, in words. @type {(layer: string, at: number[]) => string} */
export function placeText(layer, at) {
  const name = layer || "the image";
  return at.length === 3 ? `${name}, channel ${at[0]}, row ${at[1]}, column ${at[2]}` : `${name}, unit ${at.join(",")}`;
}

/** @typedef {{channel: number, values: number[], factors: number[] | null, products: number[] | null, sum: number}} Part of a window: one channel */

/**
 * The channels of a window, those with the largest sums first; products and sums in float64.
 * @type {(body: Uint8Array, window: ValueWindow) => Part[]}
 */
export function partsOf(body, { shape: [channels, rows, columns], values, factors, first }) {
  const size = rows * columns;
  const all = floats(body, values, channels * size);
  const weights = factors === null ? null : floats(body, factors, channels * size);
  const parts = Array.from({ length: channels }, (_, index) => {
    const own = [...all.subarray(index * size, (index + 1) * size)];
    const kernel = weights && [...weights.subarray(index * size, (index + 1) * size)];
    const products = kernel && own.map((value, place) => value * kernel[place]);
    const sum = (products ?? own).reduce((total, value) => total + value, 0);
    return { channel: first[0] + index, values: own, factors: kernel, products, sum };
  });
  return parts.sort((one, other) => Math.abs(other.sum) - Math.abs(one.sum) || one.channel - other.channel);
}

/** The place in its layer of a value of a window. @type {(window: ValueWindow, channel: number, row: number, column: number) => number[]} */
export const placeIn = ({ first, spacing }, channel, row, column) => [channel, first[1] + row * spacing[0], first[2] + column * spacing[1]];

/**
 * A colour of a diverging palette for a value on a scale that ends at `max`, and the ink that is read on it.
 * @type {(palette: Uint8Array, value: number, max: number) => [colour: string, ink: string]}
 */
export function cellColours(palette, value, max) {
  const share = max > 0 ? Math.min(Math.max(value / max, -1), 1) : 0;
  const place = 3 * Math.round(255 * (0.5 + share / 2));
  const [red, green, blue] = palette.subarray(place, place + 3);
  const linear = [red, green, blue].map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
  const light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  return [`rgb(${red} ${green} ${blue})`, light > 0.179 ? "#000" : "#fff"]; // where black and white have one contrast
}
