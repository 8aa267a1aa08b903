import assert from "node:assert/strict";
import { test } from "node:test";
import { heatPixels } from "../../explorer/ui/viewer/static/colors.js";
import { formatReading } from "../../explorer/ui/viewer/static/format.js";
import { accuracyText, chartAt } from "../../explorer/ui/viewer/static/gradients/steps.js";
import { stepText } from "../../explorer/ui/viewer/static/training/replay.js";
import { answerText, frameAt, percentText } from "../../explorer/ui/viewer/static/training/samples.js";

test("the frame of a step is the last one that is not behind it", () => {
  const frames = [{ step: 2 }, { step: 5 }, { step: 9 }];
  assert.deepEqual(
    [1, 2, 4, 5, 8, 9, Infinity].map((until) => frameAt(frames, until).step),
    [2, 2, 2, 5, 5, 9, 9],
  );
});

test("an answer says whether it is right, and how sure it is", () => {
  const samples = { labels: [1, 0], names: ["cross", "heart"] };
  const answers = [
    [1, 1],
    [0.456, null],
  ];
  assert.equal(answerText(samples, answers, 0), "✓ heart 46%");
  assert.equal(answerText(samples, answers, 1), "✗ heart not a number");
  assert.equal(percentText(1), "100%");
});

test("the slider says what the lines have come to", () => {
  const line = (name, points, x, y) => ({ name, points, x, y });
  const panels = [
    { title: "Loss", percent: false, lines: [line("plain-8", false, [1, 3], [2.3456, null]), line("dots", true, [1], [1])] },
    { title: "Accuracy", percent: true, lines: [line("plain-8", false, [2], [0.254])] },
  ];
  assert.equal(stepText({ panels, last: 4 }, 0), "step 0 of 4");
  assert.equal(stepText({ panels, last: 4 }, 1), "step 1 of 4: loss of plain-8 2.35");
  assert.equal(stepText({ panels, last: 4 }, 4), "step 4 of 4: loss of plain-8 not measured, accuracy of plain-8 25%");
  const marks = [{ x: 2, text: "rate × 0.1" }];
  assert.equal(stepText({ panels, last: 4, marks }, 1), "step 1 of 4: loss of plain-8 2.35");
  assert.match(stepText({ panels, last: 4, marks }, 3), /, rate × 0\.1 from step 2 on$/);
});

test("readings keep plain numbers where they are short", () => {
  const texts = [null, 0, 0.001, 0.00099, -0.5, 1234, 9999, 10000, 12345].map(formatReading);
  assert.deepEqual(texts, ["not measured", "0", "0.001", "9.90e-4", "-0.5", "1230", "10000", "1.00e+4", "1.23e+4"]);
});

const PALETTE = Uint8Array.from({ length: 768 }, (_, index) => Math.floor(index / 3)); // grey
const raster = (height, width, ...values) => ({ values: Uint8Array.from(values), height, width });
const pixel = (pixels, index) => [...pixels.slice(4 * index, 4 * index + 4)];

test("heat of one value covers the square evenly", () => {
  const quarter = heatPixels(raster(1, 1, 51), 1 / 204, PALETTE, 0.7, 3); // heat 0.25
  for (let index = 0; index < 9; index += 1) assert.deepEqual(pixel(quarter, index), [64, 64, 64, 89]); // 255 * 0.7 * 0.5
  assert.deepEqual(pixel(heatPixels(raster(1, 1, 0), 1, PALETTE, 1, 1), 0), [0, 0, 0, 0], "no heat is transparent");
  assert.deepEqual(pixel(heatPixels(raster(1, 1, 200), 1, PALETTE, 1, 1), 0), [255, 255, 255, 255], "beyond the scale");
});

test("heat is smooth between the centres of pixels", () => {
  const row = heatPixels(raster(1, 2, 0, 255), 1 / 255, PALETTE, 1, 4);
  // The four columns lie at 0, 1/4, 3/4 and 1 of the way.
  assert.deepEqual(
    [0, 1, 2, 3].map((index) => pixel(row, index)),
    [
      [0, 0, 0, 0],
      [64, 64, 64, 128], // 255 / 4, and 255 * sqrt(1 / 4)
      [191, 191, 191, 221], // 255 * 3 / 4, and 255 * sqrt(3 / 4)
      [255, 255, 255, 255],
    ],
  );
  const column = heatPixels(raster(2, 1, 0, 255), 1 / 255, PALETTE, 1, 4);
  assert.deepEqual(pixel(column, 4 * 2), [191, 191, 191, 221], "downwards the same");
});

test("a recorded step has its sizes, its zeros and what was not finite", () => {
  const line = { name: "plain-8", layers: ["a", "b", "c"], x: [0, 0.5, 1] };
  const data = { chart: { decades: [-3, 0], panels: [{ title: "", lines: [line] }] }, sizes: [[[1, 2, 3]], [[0, null, 0.5]]] };
  const [found] = chartAt(data, 1).panels[0].lines;
  assert.deepEqual([found.median, found.low, found.high], Array(3).fill([0, null, 0.5]));
  assert.deepEqual(
    [found.zeros, found.lost],
    [
      [1, 0, 0],
      [0, 1, 0],
    ],
  );
  assert.deepEqual(chartAt(data, 0).decades, [-3, 0], "one scale for all steps");
});

test("the accuracy at a step is the last one that was recorded", () => {
  const lines = [
    { name: "plain-8, validation", x: [10, 20], y: [0.25, 0.5] },
    { name: "ResNet-8, validation", x: [10, 20], y: [0.5, null] },
  ];
  const curves = { panels: [{ title: "Accuracy", percent: true, lines }] };
  assert.equal(accuracyText(curves, 9), "No accuracy is recorded up to this step.");
  assert.equal(accuracyText(curves, 15), "Accuracy: plain-8, validation 25.0%, ResNet-8, validation 50.0%.");
  assert.equal(accuracyText(curves, 20), "Accuracy: plain-8, validation 50.0%.");
  assert.equal(accuracyText(null, 20), "No accuracy is recorded up to this step.");
});
