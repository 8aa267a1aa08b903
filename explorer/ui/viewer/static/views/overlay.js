// A Grad-CAM over the picture: over the input of the network, or over the original, whose other parts it did not get.

import { HEAT_STEPS, heatPixels, heatTable, imageOf, inGrey, overlayPixels, signedHeatTable } from "../colors.js";
import { context2d, el, paintImage, update } from "../dom.js";
import { rasterAt } from "../message.js";
import { enlargement } from "../picture_layout.js";
import { camKind, paletteOf, scaleMax } from "./scales.js";

/** @typedef {LayerSelection & {layer: string}} Shown */

const HEAT_PX = 112; // of a side of the heat, which is smooth

/**
 * RGB, row by row, as an image.
 * @type {(raster: Raster) => ImageData}
 */
export function rgbImage({ values, height, width }) {
  const pixels = new Uint32Array(width * height);
  for (let pixel = 0, place = 0; pixel < pixels.length; pixel += 1, place += 3) {
    pixels[pixel] = 0xff000000 | (values[place + 2] << 16) | (values[place + 1] << 8) | values[place];
  }
  return imageOf(pixels, height, width);
}

/** How far the cell's own scale reaches on the shared one, 0..1. @type {(message: Message, cell: Cell, which: number, column: number, shown: Shown) => number} */
function shareOf(message, cell, which, column, shown) {
  const kind = camKind(shown);
  const max = scaleMax(message, kind, which, column, shown.scope);
  return max > 0 ? ((kind === "signed" ? cell.extent : cell.largest) ?? 0) / max : 0;
}

/** Over the input. @type {(canvas: HTMLCanvasElement, message: Message, which: number, column: number, shown: Shown) => void} */
export function drawOverlay(canvas, message, which, column, shown) {
  const { cells, input } = message.networks[which];
  const cell = cells[column];
  if (!cell) return;
  const picture = rasterAt(message.body, input, 3);
  const kind = camKind(shown);
  const signed = kind === "signed";
  const share = shareOf(message, cell, which, column, shown);
  const strength = signed ? (share / 127) * (HEAT_STEPS / 2) : (share / 255) * HEAT_STEPS;
  const table = (signed ? signedHeatTable : heatTable)(paletteOf(message, kind), shown.opacity / 100);
  const factor = enlargement(picture.width, picture.height);
  const under = signed ? inGrey(picture) : picture;
  const pixels = overlayPixels(under, factor, rasterAt(message.body, cell[kind]), strength, table, signed);
  paintImage(canvas, imageOf(pixels, picture.height * factor, picture.width * factor));
}

/**
 * Over the original, with a frame around the part that the network gets.
 * @type {(canvas: HTMLCanvasElement, message: Message, which: number, column: number, shown: Shown) => void}
 */
export function drawOnOriginal(canvas, message, which, column, shown) {
  const cell = message.networks[which].cells[column];
  const picture = rasterAt(message.body, message.predictions.pictures[0].pixels, 3);
  const factor = enlargement(picture.width, picture.height);
  const [width, height] = [picture.width * factor, picture.height * factor];
  update(canvas, { width, height });
  const context = context2d(canvas);
  const original = el("canvas");
  const kind = camKind(shown);
  const signed = kind === "signed";
  paintImage(original, rgbImage(signed ? inGrey(picture) : picture));
  context.imageSmoothingEnabled = factor === 1;
  context.drawImage(original, 0, 0, width, height);
  const [left, top, wide, tall] = message.predictions.networks[which].part;
  const box = /** @type {const} */ ([left * width, top * height, wide * width, tall * height]);
  if (cell) {
    const strength = shareOf(message, cell, which, column, shown) / (signed ? 127 : 255);
    const values = heatPixels(rasterAt(message.body, cell[kind]), strength, paletteOf(message, kind), shown.opacity / 100, HEAT_PX, signed);
    const heat = el("canvas");
    paintImage(heat, new ImageData(values, HEAT_PX, HEAT_PX));
    context.imageSmoothingEnabled = true;
    context.drawImage(heat, ...box);
  }
  if (wide * tall > 0.999) return;
  const outside = new Path2D();
  outside.rect(0, 0, width, height);
  outside.rect(...box);
  context.fillStyle = "rgb(0 0 0 / 0.6)"; // what the network does not get
  context.fill(outside, "evenodd");
  for (const [style, thick] of /** @type {const} */ ([
    ["#000", 4],
    ["#fff", 2],
  ])) {
    Object.assign(context, { strokeStyle: style, lineWidth: thick });
    context.strokeRect(...box);
  }
}
