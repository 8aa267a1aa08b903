import assert from "node:assert/strict";
import { test } from "node:test";
import { chosenPlace } from "../../explorer/ui/viewer/static/arithmetic.js";
import {
  areasOf,
  cellOf,
  clickedPixel,
  movedBy,
  onHover,
  pixelOn,
  shares,
  tellHover,
  windowArea,
} from "../../explorer/ui/viewer/static/links.js";

const WINDOW = { source: "stem", first: [0, 5, -1], spacing: [1, 1], stride: [2, 2], shape: [3, 3, 3] };
const step = (layer, at, more = {}) => ({ layer, at, terms: [], window: null, ...more });
const SAME = {};
// A block's norm, and the convolution of stride 2 in front of it.
const VALUE = {
  layer: "norm",
  at: [4, 3, 0],
  same: {},
  steps: [
    step("norm", [4, 3, 0], {
      terms: [
        { layer: "conv", at: [4, 3, 0] },
        { layer: null, at: null },
      ],
    }),
    step("conv", [4, 3, 0], { window: WINDOW }),
  ],
};
const hover = (layer, row, column) => ({ which: 0, layer, pixel: [row, column] });
const pixel = (layer, top, left) => ({ layer, top, left, height: 1, width: 1 });
const window = (top, left) => ({ layer: "stem", top, left, height: 3, width: 3 });

test("a value belongs with its pixel on each map and with its window, each once", () => {
  assert.deepEqual(areasOf(VALUE, null), [pixel("norm", 3, 0), pixel("conv", 3, 0), window(5, -1)]);
  assert.deepEqual(areasOf({ problem: "no such layer" }, null), []);
  assert.deepEqual(areasOf(undefined, hover("stem", 1, 2)), [pixel("stem", 1, 2)], "without a number the hovered pixel alone");
});

test("another pixel of the value's map moves all of them, the window by the stride", () => {
  const areas = [pixel("norm", 4, 2), pixel("conv", 4, 2), window(7, 3)];
  assert.deepEqual(areasOf(VALUE, hover("norm", 4, 2)), areas);
  assert.deepEqual(areasOf(VALUE, hover("conv", 4, 2)), areas);
  assert.deepEqual(movedBy(VALUE, hover("stem", 4, 2)), [0, 0]);
});

test("a pixel of the window is marked where it lies and moves nothing", () => {
  assert.deepEqual(areasOf(VALUE, hover("stem", 6, 1)).slice(2), [window(5, -1), pixel("stem", 6, 1)]);
  assert.deepEqual(cellOf(WINDOW, SAME, hover("stem", 6, 1)), [1, 2]);
  assert.deepEqual(
    [hover("stem", 8, 1), hover("stem", 4, 1), hover("stem", 6, 2), hover("conv", 6, 1), null].map((each) => cellOf(WINDOW, SAME, each)),
    Array(5).fill(null),
    "beside it, or of another layer",
  );
  const dilated = { ...WINDOW, spacing: [2, 2] };
  assert.deepEqual(
    [cellOf(dilated, SAME, hover("stem", 7, 1)), cellOf(dilated, SAME, hover("stem", 6, 1))],
    [[1, 1], null],
    "in a gap of the kernel",
  );
  assert.equal(cellOf({ ...WINDOW, source: null }, SAME, hover("stem", 6, 1)), null, "of values that no layer shows");
});

test("norms and activations move no pixel, so the maps of the layers in front of them are marked too", () => {
  const source = { ...WINDOW, source: "stem.activation" };
  const same = { "stem.activation": ["stem.norm", "stem"] };
  const value = { ...VALUE, same, steps: [VALUE.steps[0], step("conv", [4, 3, 0], { window: source })] };
  const layers = ["stem.activation", "stem.norm", "stem"];
  assert.deepEqual(
    areasOf(value, null).slice(2),
    layers.map((layer) => ({ ...window(5, -1), layer })),
  );
  assert.deepEqual(cellOf(source, same, hover("stem", 6, 1)), [1, 2], "and back");
  const cell = { ...hover("stem.activation", 6, 1), also: same["stem.activation"] };
  assert.deepEqual(
    areasOf(value, cell).slice(5),
    layers.map((layer) => pixel(layer, 6, 1)),
  );
  const found = [pixelOn(cell, 0, "stem"), pixelOn(cell, 0, "conv"), pixelOn(cell, 1, "stem"), pixelOn(null, 0, "stem")];
  assert.deepEqual(found, [[6, 1], null, null, null]);
});

test("both summands are marked, but no copy from elsewhere and no unit of a vector", () => {
  const sum = { layer: "block", at: [0, 2, 2], same: {}, steps: [] };
  const terms = [
    { layer: "branch", at: [0, 2, 2] },
    { layer: "shortcut", at: [0, 2, 2] },
  ];
  sum.steps = [step("block", [0, 2, 2], { terms })];
  assert.deepEqual(areasOf(sum, null), [pixel("block", 2, 2), pixel("branch", 2, 2), pixel("shortcut", 2, 2)]);
  const copy = { layer: "short", at: [0, 2, 2], same: {}, steps: [step("short", [0, 2, 2], { terms: [{ layer: "x", at: [0, 4, 4] }] })] };
  assert.deepEqual(areasOf(copy, null), [pixel("short", 2, 2)]);
  const unit = { layer: "fc", at: [3], same: {}, steps: [step("fc", [3], { window: { ...WINDOW, source: "flat" } })] };
  assert.deepEqual([areasOf(unit, null), movedBy(unit, hover("fc", 0, 0))], [[], [0, 0]]);
});

test("a mean looks at the whole channel, wherever the pixel is", () => {
  const mean = { ...WINDOW, first: [4, 0, 0], stride: [0, 0], shape: [1, 8, 8] };
  assert.deepEqual(windowArea(mean, [3, 3]), { layer: "stem", top: 0, left: 0, height: 8, width: 8 });
  assert.deepEqual(areasOf({ ...VALUE, steps: [step("norm", [4, 3, 0], { window: { ...mean, source: null } })] }, null), [
    pixel("norm", 3, 0),
  ]);
});

test("an area is cut at the edge of its map, and beside it there is none", () => {
  assert.deepEqual(shares(window(5, -1), 10, 8), { left: 0, top: 0.5, width: 0.25, height: 0.3 });
  assert.equal(shares(window(8, 0), 10, 8)?.height, 0.2);
  assert.equal(shares(window(10, 0), 10, 8), null);
  assert.equal(shares(window(0, -3), 10, 8), null);
});

test("every map hears of the hovered pixel, and one that is built anew hears once", () => {
  const heard = [];
  onHover("map", () => heard.push("before"));
  onHover("map", (each) => heard.push(each));
  onHover("strip", (each) => heard.push(each?.layer));
  tellHover(hover("stem", 1, 2));
  tellHover(null);
  assert.deepEqual(heard, [hover("stem", 1, 2), "stem", null, undefined]);
});

test("a click chooses a pixel with Shift, while that is wanted, or while a number is shown", () => {
  const chosen = (click, follows, wanted) =>
    clickedPixel(
      { detail: 1, shiftKey: false, ...click },
      follows,
      wanted,
      () => [1, 2],
      () => [8, 8],
    );
  assert.equal(chosen({}, false, false), null, "the layer alone");
  assert.deepEqual([chosen({ shiftKey: true }, false, false), chosen({}, true, false), chosen({}, false, true)], Array(3).fill([1, 2]));
  assert.equal(chosen({ detail: 0 }, true, false), null, "Enter stays a choice of the layer");
  assert.deepEqual([chosen({ detail: 0, shiftKey: true }, false, false), chosen({ detail: 0 }, false, true)], Array(2).fill([8, 8]));
});

test("a selection says where its value is, on its map or by its layer", () => {
  assert.deepEqual(chosenPlace({ at: "3,4", channel: 2 }, "stem"), { layer: "stem", place: [2, 3, 4] });
  assert.deepEqual(chosenPlace({ at: "stem.norm:2,3,4", channel: 7 }, "stem"), { layer: "stem.norm", place: [2, 3, 4] });
  for (const at of ["probabilities", null]) assert.equal(chosenPlace({ at, channel: 2 }, "stem"), null);
  assert.equal(chosenPlace({ at: "3,4", channel: null }, "stem"), null, "each network has its own channel");
});
