import assert from "node:assert/strict";
import { test } from "node:test";
import {
  colorTable,
  HEAT_STEPS,
  heatPixels,
  heatTable,
  inGrey,
  overlayPixels,
  samplePositions,
  signedHeatTable,
} from "../../explorer/ui/viewer/static/colors.js";

const PALETTE = Uint8Array.from({ length: 768 }, (_, index) => Math.floor(index / 3)); // grey
const raster = (height, width, ...values) => ({ values: Uint8Array.from(values), height, width });
const red = (pixel) => pixel & 255;

test("a Grad-CAM begins at the first colour and ends at the end of its scale", () => {
  const own = colorTable(PALETTE, "cam", 2, 2);
  assert.deepEqual([red(own[0]), red(own[255])], [0, 255]);
  const half = colorTable(PALETTE, "cam", 2, 4);
  assert.equal(red(half[255]), 128);
  assert.equal(red(colorTable(PALETTE, "cam", 2, 1)[255]), 255, "what is beyond the end keeps its colour");
  assert.equal(red(colorTable(PALETTE, "cam", 0, 0)[200]), 0, "a scale that ends at 0 has one colour");
});

test("a signed map has 0 in the middle", () => {
  const table = colorTable(PALETTE, "map", 3, 3);
  assert.deepEqual([red(table[1]), red(table[128]), red(table[255])], [0, 128, 255]);
});

test("an enlarged line keeps pixel centres in place", () => {
  const [below, fraction] = samplePositions(2, 4);
  assert.deepEqual([...below], [0, 0, 0, 0]);
  assert.deepEqual([...fraction], [0, 0.25, 0.75, 1]);
});

test("an overlay without opacity or heat is the picture", () => {
  const pixels = raster(1, 2, 10, 20, 30, 40, 50, 60);
  for (const [cam, opacity] of [
    [0, 1],
    [255, 0],
  ]) {
    const found = overlayPixels(pixels, 2, raster(1, 1, cam), HEAT_STEPS / 255, heatTable(PALETTE, opacity));
    const bytes = [...new Uint8Array(found.buffer)];
    assert.deepEqual(bytes.slice(0, 16), [10, 20, 30, 255, 10, 20, 30, 255, 40, 50, 60, 255, 40, 50, 60, 255]);
  }
});

test("full heat at full opacity is the last colour", () => {
  const found = overlayPixels(raster(1, 1, 0, 0, 0), 3, raster(1, 1, 255), HEAT_STEPS / 255, heatTable(PALETTE, 1));
  assert.equal(found.length, 9);
  assert.ok(found.every((pixel) => red(pixel) === 255));
});

test("a signed overlay leaves what is 0, and tells the sign by its colour", () => {
  const table = signedHeatTable(PALETTE, 1);
  const strength = HEAT_STEPS / 2 / 127;
  /** The red of a picture of one pixel, 100, under a map of one step. @type {(step: number) => number} */
  const under = (step) => red(overlayPixels(raster(1, 1, 100, 100, 100), 1, raster(1, 1, step), strength, table, true)[0]);
  assert.ok(Math.abs(under(128) - 100) <= 4, "0 lies between two steps of the heat");
  assert.deepEqual([under(1), under(255)], [25, 230]); // the colours at 0.5 - 0.4 and 0.5 + 0.4 of the palette
  assert.ok(under(64) < 100 && under(192) > 100);
});

test("a signed heat over the original is transparent where it is 0", () => {
  const pixels = heatPixels(raster(1, 3, 1, 128, 255), 1 / 127, PALETTE, 0.5, 3, true);
  const row = Array.from({ length: 3 }, (_, index) => [...pixels.subarray(4 * index, 4 * index + 4)]);
  assert.deepEqual([row[0], row[1][3], row[2]], [[25, 25, 25, 128], 0, [230, 230, 230, 128]]);
});

test("under a signed map the picture is grey, as bright as the mean of its colours", () => {
  assert.deepEqual([...inGrey(raster(1, 2, 10, 20, 30, 255, 0, 0)).values], [20, 20, 20, 85, 85, 85]);
});
