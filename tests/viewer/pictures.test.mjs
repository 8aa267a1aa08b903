import assert from "node:assert/strict";
import { test } from "node:test";
import { contentWidth, enlargement, fileName, layOut, wrap } from "../../explorer/ui/viewer/static/picture_layout.js";
import { scaleEnds } from "../../explorer/ui/viewer/static/views/scales.js";

test("a small picture is enlarged by a whole number", () => {
  assert.deepEqual(
    [
      [8, 8],
      [56, 56],
      [320, 320],
      [896, 224],
      [1, 1],
    ].map((size) => enlargement(...size)),
    [40, 6, 1, 1, 320],
  );
});

test("a caption is broken between words", () => {
  const letters = (text) => text.length;
  assert.deepEqual(wrap("one two three", 7, letters), ["one two", "three"]);
  assert.deepEqual(wrap("one unbreakable two", 7, letters), ["one", "unbreakable", "two"]);
  assert.deepEqual(wrap("  ", 7, letters), []);
});

test("picture, bars and caption lie under each other", () => {
  const layout = layOut({ width: 500, height: 100 }, 2, 3);
  assert.deepEqual(layout.picture, { x: 16, y: 16 });
  // Margin, picture, margin; then both bars beside each other: 18 + 10 + 16 high, and half a margin.
  assert.deepEqual(layout.bars, [
    { x: 16, y: 132 },
    { x: 240, y: 132 },
  ]);
  assert.deepEqual(layout.caption, { x: 16, y: 132 + 52 });
  assert.deepEqual([layout.width, layout.height], [532, 184 + 3 * 20 + 16]);
});

test("bars that do not fit beside each other lie under each other, and a small picture has room for words", () => {
  const layout = layOut({ width: 50, height: 50 }, 2, 1);
  assert.deepEqual(layout.bars, [
    { x: 16, y: 82 },
    { x: 16, y: 134 },
  ]);
  assert.equal(layout.width, contentWidth(50) + 32);
  assert.deepEqual(layOut({ width: 50, height: 50 }, 0, 1).caption.y, 82, "without a bar the caption follows");
});

test("a file is named after the caption", () => {
  assert.equal(
    fileName("Grad-CAM of stages.1.0 of plain-20, explaining “heart”."),
    "Grad-CAM-of-stages.1.0-of-plain-20-explaining-heart.png",
  );
  assert.equal(fileName("../../etc/Café"), "etc-Cafe.png", "no path, plain letters");
  assert.ok(fileName("x".repeat(300)).length <= 84);
  assert.equal(
    fileName(`Loss. Networks plain-56 ${"and so on ".repeat(9)}`),
    `Loss-Networks-plain-56-${"and-so-on-".repeat(5)}and-so.png`,
    "whole words",
  );
  assert.equal(
    fileName("Grad-CAM of stages.2.8 of ResNet-56. Networks: two. Image: test image 1426: star; n = 1."),
    "Grad-CAM-of-stages.2.8-of-ResNet-56-test-image-1426-star.png",
    "two images, two files",
  );
  assert.equal(fileName("…"), "picture.png");
  assert.equal(fileName("Loss.", "svg"), "Loss.svg");
});

test("the ends of a bar are numbers where one scale has them", () => {
  const message = { networks: [{}, {}], maxima: { cam: { layer: [], network: [1, 2], both: [3, 3] }, map: { both: [4, 4] } } };
  assert.deepEqual(scaleEnds(message, "cam", "both"), ["0", "3"]);
  assert.deepEqual(scaleEnds(message, "map", "both"), ["−4", "4"]);
  assert.deepEqual(scaleEnds(message, "cam", "layer"), ["0", "largest of the layer"]);
  assert.deepEqual(scaleEnds(message, "cam", "network"), ["0", "largest of the network"]);
  assert.deepEqual(scaleEnds({ ...message, networks: [{}] }, "cam", "network"), ["0", "1"]);
  assert.deepEqual(scaleEnds(message, "map", "layer", 0.125), ["−0.125", "0.125"]);
});
