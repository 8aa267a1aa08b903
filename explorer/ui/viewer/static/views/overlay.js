// A Grad-CAM over the picture: over the input of the network, or over the original, whose other parts it did not get.

import { HEAT_STEPS, heatPixels, heatTable, imageOf, overlayPixels } from "../colors.js";
import { context2d, el, paintImage, update } from "../dom.js";
import { rasterAt } from "../message.js";
import { enlargement } from "../picture_layout.js";
import { paletteOf, scaleMax } from "./scales.js";

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

/** Over the input. @type {(canvas: HTMLCanvasElement, message: Message, which: number, column: number, shown: Shown) => void} */
export function drawOverlay(canvas, message, which, column, shown) {
  const { cells, input } = message.networks[which];
  const cell = cells[column];
  if (!cell) return;
  const picture = rasterAt(message.body, input, 3);
  const max = scaleMax(message, "cam", which, column, shown.scope);
  const strength = max > 0 ? ((cell.largest ?? 0) / max / 255) * HEAT_STEPS : 0;
  const table = heatTable(paletteOf(message, "cam"), shown.opacity / 100);
  const factor = enlargement(picture.width, picture.height);
  const pixels = overlayPixels(picture, factor, rasterAt(message.body, cell.cam), strength, table);
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
  paintImage(original, rgbImage(picture));
  context.imageSmoothingEnabled = factor === 1;
  context.drawImage(original, 0, 0, width, height);
  const [left, top, wide, tall] = message.predictions.networks[which].part;
  const box = /** @type {const} */ ([left * width, top * height, wide * width, tall * height]);
  if (cell) {
    const max = scaleMax(message, "cam", which, column, shown.scope);
    const strength = max > 0 ? (cell.largest ?? 0) / max / 255 : 0;
    const values = heatPixels(rasterAt(message.body, cell.cam), strength, paletteOf(message, "cam"), shown.opacity / 100, HEAT_PX);
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
