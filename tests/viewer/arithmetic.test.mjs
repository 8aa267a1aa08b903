import assert from "node:assert/strict";
import { test } from "node:test";
import {
  cellColours,
  fourDigits,
  movedPixel,
  partsOf,
  pixelOf,
  pixelUnder,
  placeIn,
  selectionOf,
} from "../../explorer/ui/viewer/static/arithmetic.js";

const WINDOW = {
  source: "stem",
  first: [4, -1, 3],
  spacing: [1, 2],
  shape: [2, 2, 2],
  values: 0,
  factors: 32,
  inside: 64,
  winner: null,
  peak: 9,
};

test("numbers have four digits", () => {
  const expected = { 0: "0", 0.123456: "0.1235", "-12.34567": "-12.35", 0.00001234567: "1.235e-5", 1234567: "1.235e+6" };
  for (const [value, text] of Object.entries(expected)) assert.equal(fourDigits(Number(value)), text);
  assert.equal(fourDigits(null), "no number");
});

test("arrow keys move the pixel within its map, and the first one goes to the middle", () => {
  assert.deepEqual(movedPixel(null, "ArrowUp", 8, 6), [4, 3]);
  assert.deepEqual(movedPixel([0, 5], "ArrowUp", 8, 6), [0, 5]);
  assert.deepEqual(movedPixel([0, 5], "ArrowRight", 8, 6), [0, 5]);
  assert.deepEqual(movedPixel([0, 5], "ArrowDown", 8, 6), [1, 5]);
  assert.deepEqual(movedPixel([0, 5], "ArrowLeft", 8, 6), [0, 4]);
  assert.deepEqual(
    [movedPixel([3, 3], "Home", 8, 6), movedPixel(null, "End", 8, 6)],
    [
      [0, 0],
      [7, 5],
    ],
  );
  assert.equal(movedPixel([3, 3], "Enter", 8, 6), null);
});

test("a pointer is over the pixel that is drawn there", () => {
  assert.deepEqual(pixelUnder(0.99, 0, 6, 8), [0, 5]);
  assert.deepEqual(pixelUnder(1, 1.2, 6, 8), [7, 5], "on the edge");
  assert.deepEqual([pixelOf("3,14"), pixelOf("stem:3,1"), pixelOf(null)], [[3, 14], null, null]);
});

test("a value is chosen on its map where the strip has it, else by its layer", () => {
  assert.deepEqual(selectionOf("stem", [3, 1, 2], ["stem"]), { layer: "stem", channel: 3, at: "1,2" });
  assert.deepEqual(selectionOf("stem.norm", [3, 1, 2], ["stem"]), { at: "stem.norm:3,1,2" });
  assert.deepEqual(selectionOf("head.fc", [7], ["stem"]), { at: "head.fc:7" });
  assert.deepEqual(selectionOf("probabilities", [7], []), { at: "probabilities" });
});

test("the channels of a window come with their products, the largest sum first", () => {
  const body = new Uint8Array(new Float32Array([1, 2, 3, 4, 5, 6, 7, 8, 1, 0, 0, 0, -1, -1, 0, 0]).buffer);
  const [first, second] = partsOf(body, WINDOW);
  assert.deepEqual([first.channel, first.sum, first.products], [5, -11, [-5, -6, 0, 0]]);
  assert.deepEqual([second.channel, second.sum, second.values], [4, 1, [1, 2, 3, 4]]);
  assert.deepEqual(placeIn(WINDOW, 5, 1, 1), [5, 0, 5]);
  const [bare] = partsOf(body, { ...WINDOW, factors: null });
  assert.deepEqual([bare.channel, bare.sum, bare.products], [5, 26, null]);
});

test("the ink is read on every colour of a palette", () => {
  const palette = Uint8Array.from({ length: 768 }, (_, index) => Math.floor(index / 3));
  assert.deepEqual(cellColours(palette, 0, 1), ["rgb(128 128 128)", "#000"]);
  assert.deepEqual(cellColours(palette, -9, 1), ["rgb(0 0 0)", "#fff"]);
  assert.deepEqual(cellColours(palette, 1, 0), ["rgb(128 128 128)", "#000"], "a map of zeros");
});
