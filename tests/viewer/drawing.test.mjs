import assert from "node:assert/strict";
import { test } from "node:test";
import { blank, copyOf, frameOf, over, rgbOf, shape, stroke } from "../../explorer/ui/viewer/static/drawing.js";

const MEAN = [1, 2, 3];
const RED = [255, 0, 0];
const rows = ({ mask, width, height }) => Array.from({ length: height }, (_, y) => [...mask.slice(y * width, (y + 1) * width)].join(""));
const colourAt = ({ pixels, width }, x, y) => [...pixels.slice(3 * (y * width + x), 3 * (y * width + x) + 3)];

test("the drawn pixels are the mask, and all others have the mean colour", () => {
  const drawing = blank(5, 4, MEAN);
  stroke(
    drawing,
    [
      [1.5, 1.5],
      [3.5, 1.5],
    ],
    1,
    RED,
  );
  assert.deepEqual(rows(drawing), ["00000", "01110", "00000", "00000"]);
  for (let y = 0; y < 4; y += 1)
    for (let x = 0; x < 5; x += 1) assert.deepEqual(colourAt(drawing, x, y), drawing.mask[y * 5 + x] ? RED : MEAN);
});

test("a size is the width of the line, and nothing is painted beside the canvas", () => {
  const drawing = blank(6, 6, MEAN);
  stroke(drawing, [[3, 3]], 4, RED);
  assert.deepEqual(rows(drawing), ["000000", "001100", "011110", "011110", "001100", "000000"]);
  stroke(
    drawing,
    [
      [-3, -3],
      [40, -3],
    ],
    4,
    RED,
  );
  assert.equal(rows(drawing)[0], "000000");
});

test("a slanted line has no holes", () => {
  const drawing = blank(8, 8, MEAN);
  stroke(
    drawing,
    [
      [0.1, 0.2],
      [7.9, 5.1],
    ],
    1,
    RED,
  );
  for (let x = 0; x < 8; x += 1)
    assert.ok(
      [0, 1, 2, 3, 4, 5, 6, 7].some((y) => drawing.mask[y * 8 + x]),
      `column ${x}`,
    );
});

test("a shape is filled, with its corners in any order", () => {
  const corners = [
    [2, 2],
    [7, 2],
    [7, 7],
    [2, 7],
  ];
  for (const points of [corners, [...corners].reverse()]) {
    const drawing = blank(9, 9, MEAN);
    shape(drawing, points, 1, RED);
    assert.ok(
      rows(drawing)
        .slice(2, 7)
        .every((row) => row.slice(2, 7) === "11111"),
    );
    assert.equal(drawing.mask[0], 0);
    assert.equal(drawing.mask[80], 0);
  }
});

test("a shape of one point is a dot", () => {
  const drawing = blank(3, 3, MEAN);
  shape(drawing, [[1.5, 1.5]], 1, RED);
  assert.deepEqual(rows(drawing), ["000", "010", "000"]);
});

test("what is erased is no object any more and has the mean colour", () => {
  const drawing = blank(3, 3, MEAN);
  stroke(drawing, [[1.5, 1.5]], 9, RED);
  stroke(drawing, [[1.5, 1.5]], 1, null);
  assert.deepEqual(rows(drawing), ["111", "101", "111"]);
  assert.deepEqual(colourAt(drawing, 1, 1), MEAN);
});

test("an image that is painted over keeps its pixels, has no mask, and is erased to its own mean", () => {
  const values = new Uint8Array([0, 0, 0, 100, 50, 9]);
  const drawing = over({ values, width: 2, height: 1 });
  stroke(drawing, [[0.5, 0.5]], 1, null);
  assert.deepEqual([...drawing.pixels], [50, 25, 5, 100, 50, 9]);
  assert.equal(drawing.mask, null);
  assert.deepEqual([...values], [0, 0, 0, 100, 50, 9], "the message stays as it came");
});

test("a copy is another drawing", () => {
  const drawing = blank(2, 2, MEAN);
  const before = copyOf(drawing);
  stroke(drawing, [[1, 1]], 9, RED);
  assert.deepEqual([...before.mask], [0, 0, 0, 0]);
  assert.deepEqual(colourAt(before, 0, 0), MEAN);
});

test("what is sent are the pixels, and the mask behind them", () => {
  const drawing = blank(2, 1, MEAN);
  stroke(drawing, [[0.5, 0.5]], 1, RED);
  const { bytes, ...frame } = frameOf(drawing, true);
  assert.deepEqual(frame, { kind: "drawing", size: [1, 2], mask: true, keep: true });
  assert.deepEqual([...bytes], [255, 0, 0, 1, 2, 3, 1, 0]);
  assert.equal(frameOf(over({ values: bytes.slice(0, 6), width: 2, height: 1 }), false).bytes.length, 6);
});

test("a colour of the browser", () => {
  assert.deepEqual(rgbOf("#f2c14e"), [242, 193, 78]);
});
