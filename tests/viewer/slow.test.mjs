import assert from "node:assert/strict";
import { test } from "node:test";
import { layersOf, placeAt, shownAt, startsOf, told } from "../../explorer/ui/viewer/static/gradients/slow.js";
import { heightOf, spanOf } from "../../explorer/ui/viewer/static/gradients/slow_charts.js";

const network = (title, layers) => ({
  title,
  layers,
  lanes: [layers.map((_, index) => index + 1), layers.map((_, index) => 10 * (index + 1)), layers.map(() => 0.01)],
  losses: [1, 2],
  path: [1.5, 1.2, null],
  predicted: -3,
  finding: `${title} fell.`,
});
const data = {
  networks: [network("plain", ["stem", "a", "b", "head"]), network("short", ["stem", "head"])],
  labels: ["ring", "star"],
  lanes: ["activation", "gradient", "update"],
};

test("the places are the batch, each layer forward, the loss, each layer back, the update and the new loss", () => {
  assert.equal(layersOf(data.networks), 4);
  assert.equal(startsOf(4).end, 12);
  const places = Array.from({ length: 12 }, (_, at) => placeAt(at, 4));
  assert.deepEqual(
    places.map(({ phase, index }) => `${phase} ${index}`),
    [
      ...["batch 0", "forward 0", "forward 1", "forward 2", "forward 3", "loss 0"],
      ...["backward 0", "backward 1", "backward 2", "backward 3", "update 0", "after 0"],
    ],
  );
});

test("activations come from the first layer, gradients from the last, updates at once", () => {
  const lanesAt = (at, own) => shownAt(placeAt(at, 4), own, 4);
  assert.deepEqual(lanesAt(0, 4), { now: null, lanes: [[0, 0], [4, 4], [0, 0]] }); // biome-ignore format: one lane each
  assert.deepEqual(lanesAt(2, 4), { now: 1, lanes: [[0, 2], [4, 4], [0, 0]] }); // biome-ignore format: one lane each
  assert.deepEqual(lanesAt(6, 4), { now: 3, lanes: [[0, 4], [3, 4], [0, 0]] }); // biome-ignore format: one lane each
  assert.deepEqual(lanesAt(9, 4), { now: 0, lanes: [[0, 4], [0, 4], [0, 0]] }); // biome-ignore format: one lane each
  assert.deepEqual(lanesAt(10, 4), { now: null, lanes: [[0, 4], [0, 4], [0, 4]] }); // biome-ignore format: one lane each
  // The network with half of the layers goes through them in the same time.
  assert.deepEqual([1, 2, 3, 4].map((at) => lanesAt(at, 2).now), [0, 0, 1, 1]); // biome-ignore format: short
  assert.deepEqual([6, 7, 8, 9].map((at) => lanesAt(at, 2).now), [1, 1, 0, 0]); // biome-ignore format: short
});

test("each place says what happens there, with the numbers of both networks", () => {
  const words = (at) => told(data, placeAt(at, 4));
  assert.equal(words(0), "Both networks get the same 2 images with their labels.");
  assert.equal(words(3), "Forward to layer 3 of 4. activation: plain b 3, short head 2.");
  assert.equal(words(5), "The mean loss of the batch: plain 1.500, short 1.500.");
  assert.equal(words(6), "Back to layer 4 of 4. gradient: plain head 40, short head 20.");
  assert.equal(words(9), "Back to layer 1 of 4. gradient: plain stem 10, short stem 10.");
  assert.equal(words(11), "plain fell. short fell.");
});

test("bars stand between powers of ten; zero and what is not finite has none", () => {
  assert.equal(heightOf(10, [0, 2]), 0.5);
  assert.equal(heightOf(0, [0, 2]), null);
  assert.equal(heightOf(null, [0, 2]), null);
  assert.equal(heightOf(1, [0, 2]), 0.02, "the smallest is still to be seen");
});

test("a prediction far below the losses does not flatten them", () => {
  const [low, high] = spanOf(data);
  assert.ok(Math.abs(low - (1.2 - 0.3 - 0.015)) < 1e-9 && Math.abs(high - 1.515) < 1e-9);
});
