import assert from "node:assert/strict";
import { test } from "node:test";
import { extent, formatFrame, frameOf, frameView, limitFrame, parseFrame, sizeFrame } from "../../explorer/ui/viewer/static/views/frame.js";

const SIZES = [
  [480, 360],
  [360, 480],
  [32, 32],
  [4000, 7],
];
const near = (found, wanted) => {
  for (const [index, value] of found.entries()) assert.ok(Math.abs(value - wanted[index]) < 1e-9, `${found} is not ${wanted}`);
};
const isInside = ([left, top, side], size) => {
  const [wide, tall] = extent(side, size);
  return left >= 0 && top >= 0 && left + wide <= 1 + 1e-9 && top + tall <= 1 + 1e-9;
};

test("a frame is a square of pixels, wherever it is pushed inside of the picture", () => {
  for (const size of SIZES) {
    for (const frame of [
      [0.2, 0.9, 0.5],
      [-3, 7, 1],
      [0.99, 0, 0.001],
      [0.5, 0.5, 9],
    ]) {
      const limited = limitFrame(frame, size);
      const [wide, tall] = extent(limited[2], size);
      assert.ok(isInside(limited, size), `${limited} of ${size}`);
      near([wide * size[0]], [tall * size[1]]);
      near(limitFrame(limited, size), limited);
    }
  }
  near(limitFrame([0.25, 0.1, 0.5], [480, 360]), [0.25, 0.1, 0.5]);
});

test("another side keeps the centre, as far as the picture goes, and the way back", () => {
  const size = [480, 360];
  const smaller = sizeFrame([0.3, 0.2, 0.6], 0.3, size);
  near(smaller, [0.3 + 0.1125, 0.2 + 0.15, 0.3]);
  near(sizeFrame(smaller, 0.6, size), [0.3, 0.2, 0.6]);
  near(sizeFrame([0, 0, 0.5], 2, size), [0, 0, 1]);
});

test("the frame begins where the network looks by itself", () => {
  near(frameOf([0.125, 0, 0.75, 1], [480, 360]), [0.125, 0, 1]);
  near(frameOf([0.171875, 0.0625, 0.65625, 0.875], [480, 360]), [0.171875, 0.0625, 0.875]); // 224 of 256
  near(frameOf([0, 0.25, 1, 0.5], [64, 64]), [0, 0, 1]); // an input twice as wide as high is inside a square
});

test("a link keeps four decimals, and what it keeps is read back", () => {
  assert.equal(formatFrame([0.123456, 0, 1]), "0.1235,0,1");
  assert.equal(formatFrame([-0.00001, 1.00001, 0.5]), "0,1,0.5");
  assert.equal(formatFrame(parseFrame("0.25,0.1,0.5")), "0.25,0.1,0.5");
});

test("a frame that is still being moved does not go to another picture", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const made = [];
  globalThis.document = {
    createElement() {
      const element = { style: {}, classList: { toggle() {} }, setAttribute() {}, append() {} };
      made.push(element);
      return element;
    },
  };
  const sent = [];
  const view = frameView(made[0], (chosen) => sent.push(chosen));
  const press = () => made.find(({ onkeydown }) => onkeydown).onkeydown({ key: "ArrowRight", preventDefault() {} });
  const show = (picture) => view.show("0.1,0.1,0.5", [{ part: [0, 0, 1, 1], title: "a" }], [100, 100], picture);
  show("one");
  press();
  show("one"); // an answer about the same picture
  context.mock.timers.tick(300);
  assert.deepEqual(sent, ["0.12,0.1,0.5"]);
  show("one");
  press();
  show("two");
  context.mock.timers.tick(300);
  assert.equal(sent.length, 1);
  delete globalThis.document;
});
