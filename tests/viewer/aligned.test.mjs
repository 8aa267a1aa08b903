import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { aligned } from "../../explorer/ui/viewer/static/aligned.js";
import { MadeElement, madeDocument } from "./made_dom.mjs";

before(() => Object.assign(globalThis, { document: madeDocument(), HTMLElement: MadeElement }));
after(() => {
  delete globalThis.document;
  delete globalThis.HTMLElement;
});

const cell = (layer) => ({ layer, hover: layer, zero: false, image: "", words: [layer, "8×8", "1"] });
const network = (title) => ({ title, colour: "#000", input: "", seen: "", cells: ["a", "b", "c"].map(cell) });
const DATA = { bar: "", title: "", ends: ["0", "1"], caption: "", grid: "smooth", depths: ["0", "0.5", "1"], chosen: 1 };

test("arrow keys, Home and End move the focus and, in its row, the stop of the Tab key", () => {
  const parentElement = new MadeElement("div");
  const show = () => aligned({ data: { ...DATA, networks: [network("one"), network("two")] }, parentElement, setTriggerValue() {} });
  const grid = () => parentElement.all(({ className }) => className === "grid smooth")[0];
  const stops = () => grid().all(({ dataset, tabIndex }) => dataset.place && tabIndex === 0);
  const places = () => stops().map(({ dataset }) => dataset.place);
  const press = (key) => grid().onkeydown({ key, target: document.activeElement, preventDefault() {} });
  show();
  assert.deepEqual(places(), ["0 1", "1 1"]);
  stops()[0].focus();
  for (const [key, focused, expected] of [
    ["ArrowRight", "0 2", ["0 2", "1 1"]],
    ["ArrowRight", "0 2", ["0 2", "1 1"]],
    ["ArrowDown", "1 2", ["0 2", "1 2"]],
    ["Home", "1 0", ["0 2", "1 0"]],
    ["ArrowUp", "0 0", ["0 0", "1 0"]],
    ["End", "0 2", ["0 2", "1 0"]],
  ]) {
    press(key);
    assert.deepEqual([document.activeElement.dataset.place, places()], [focused, expected], key);
  }
  show(); // drawn again, as after each run of the server
  assert.deepEqual([document.activeElement.dataset.place, places()], ["0 2", ["0 2", "1 1"]]);
});
