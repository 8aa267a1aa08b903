import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { changeOf, changesIn, changeText, formatChanges, parseChanges, withChange } from "../../explorer/ui/viewer/static/changes.js";
import { keyOf } from "../../explorer/ui/viewer/static/store.js";
import { paced } from "../../explorer/ui/viewer/static/views/changes.js";

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

test("of many moves of a dial the newest is asked for once the answer before is drawn, and the last always", async () => {
  const view = { networks: ["a"], change: "" };
  /** What the page shows: an answer comes when `answer` is called. */
  const state = { view, key: keyOf(view), error: "" };
  const asked = [];
  const pace = paced(({ change }) => {
    asked.push(change);
    state.view = { ...view, change };
  });
  const answer = async (changes = { key: keyOf(state.view), error: "" }) => {
    Object.assign(state, changes);
    pace.follow(state);
    await Promise.resolve();
  };
  for (const change of ["a:0.9", "a:0.8", "a:0.7"]) {
    pace.ask(state, change);
    await Promise.resolve();
    assert.equal(pace.wanted(state), change);
  }
  assert.deepEqual(asked, ["a:0.9"]);
  await answer();
  assert.deepEqual(asked, ["a:0.9", "a:0.7"]);
  pace.ask(state, "a:off");
  await answer({ error: "The server cannot be reached." });
  assert.deepEqual(asked, ["a:0.9", "a:0.7", "a:off"], "the last is tried after an error too");
  await answer();
  assert.equal(pace.wanted(state), "a:off");
  assert.equal(asked.length, 3);
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
