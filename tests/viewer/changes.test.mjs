import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { changeOf, changesIn, changeText, formatChanges, parseChanges, withChange } from "../../explorer/ui/viewer/static/changes.js";

const CASES = JSON.parse(readFileSync(new URL("changes.json", import.meta.url), "utf8")); // Python's tests read them too

for (const { text, changes, written = text } of CASES) {
  test(`the text ${JSON.stringify(text)}`, () => {
    assert.deepEqual(parseChanges(text), changes);
    if (changes) assert.equal(formatChanges(changes), written);
  });
}

test("a hundred fit one pass", () => {
  assert.equal(parseChanges(Array(100).fill("a:off").join(","))?.length, 100);
  assert.equal(parseChanges(Array(101).fill("a:off").join(",")), null);
});

const after = (text, ...changes) => formatChanges(changes.reduce(withChange, parseChanges(text)));

test("a choice takes the place of the one before of the same part", () => {
  assert.equal(after("", { place: "a", part: "branch" }), "a@branch:off");
  assert.equal(after("a@branch:off,b:off", { place: "a", part: "branch", factor: 0.5 }), "b:off,a@branch:0.5");
  assert.equal(after("a@branch:off", { place: "a" }, { place: "a", channel: 3, action: "mean" }), "a@branch:off,a:off,a~3:mean");
  assert.equal(after("a@branch:off,b:off", { place: "a", part: "branch", factor: 1 }), "b:off", "untouched");
});

test("a block is swapped once", () => {
  assert.equal(after("a:swap~b,c:off", { place: "b", action: "swap", other: "c" }), "c:off,b:swap~c");
});

test("what was made of a part, and inside of a layer", () => {
  const changes = parseChanges("s.1.0@branch:0.5,s.1.0.conv1~3:off,s.1.1:swap~s.1.2,s.10:off");
  assert.equal(changeOf(changes, "s.1.0", "branch", null)?.factor, 0.5);
  assert.equal(changeOf(changes, "s.1.0", "output", null), undefined);
  assert.deepEqual(changesIn(changes, "s.1.0").map(changeText), ["s.1.0: branch × 0.5", "s.1.0.conv1: channel 3 off"]);
  assert.deepEqual(changesIn(changes, "s.1.2").map(changeText), ["s.1.1 and s.1.2 swapped"]);
  assert.deepEqual(changesIn(changes, "s.1.0.conv2"), []);
});
