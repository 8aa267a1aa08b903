import assert from "node:assert/strict";
import { test } from "node:test";
import { pacedSteps } from "../../explorer/ui/viewer/static/film.js";
import { EMPTY, keyOf, reduce } from "../../explorer/ui/viewer/static/store.js";
import { DEFAULTS } from "../../explorer/ui/viewer/static/url.js";
import { placeOf, placeText, stepAt } from "../../explorer/ui/viewer/static/views/film.js";

const FILM = { steps: [0, 1, 3, 12], last: 1040, note: "" };

test("a place of the slider is a kept step, and the last one is the finished network", () => {
  assert.deepEqual(
    [0, 1, 2, 3, 4].map((at) => stepAt(FILM, at)),
    [0, 1, 3, 12, null],
  );
  for (const at of [0, 1, 2, 3, 4]) assert.equal(placeOf(FILM, stepAt(FILM, at)), at);
  assert.deepEqual(
    [2, 11, 12, 5000].map((step) => placeOf(FILM, step)),
    [1, 2, 3, 3],
    "a link may name a step between two kept ones",
  );
  assert.equal(placeText(FILM, 3), "Step 12 of 1,040");
  assert.equal(placeText(FILM, 4), "Step 1,040: the finished network");
});

test("a page hears of one step at a time, and of many that wait only of the newest", () => {
  const sent = [];
  const pace = pacedSteps(({ step, plays, number }) => sent.push([step, plays, number]));
  pace.ask(0, true);
  pace.ask(1, true);
  pace.ask(3, false);
  assert.deepEqual(sent, [[0, true, 1]]);
  assert.equal(pace.heard(0), false, "a run that has not heard of it yet");
  assert.equal(pace.heard(1), false, "the newest is on its way now");
  assert.deepEqual(sent, [
    [0, true, 1],
    [3, false, 3],
  ]);
  assert.equal(pace.heard(3), true);
  pace.ask(12, true);
  assert.equal(sent.length, 3);
});

test("a film goes on in a new session, which has heard of none of its steps", () => {
  const sent = [];
  const pace = pacedSteps(({ step, number }) => sent.push([step, number]));
  pace.ask(0, true);
  pace.heard(1);
  pace.ask(1, true);
  pace.ask(3, true); // waits for the step before, which is lost with its session
  assert.equal(pace.heard(0), false);
  assert.deepEqual(sent.at(-1), [3, 3]);
  assert.equal(pace.heard(3), true);
});

const VIEW = {
  picture: "sample-6-6",
  target: null,
  layers: "blocks",
  dials: "",
  attack: "",
  step: null,
  networks: ["a", "b"],
  theme: "light",
};
const data = {
  token: "t",
  view: VIEW,
  tab: "layer",
  query: "",
  visit: 1,
  heard: 0,
  confirmed: true,
  entry: 1,
  initial: DEFAULTS,
  selection: DEFAULTS,
};

test("each step of a film that has come is drawn, and other networks begin at their end", () => {
  let state = reduce(EMPTY, { type: "data", data, fragment: null });
  state = reduce(state, { type: "choose", changes: { step: 1 } });
  state = reduce(state, { type: "choose", changes: { step: 3 } });
  const early = keyOf({ ...VIEW, step: 1 });
  state = reduce(state, { type: "received", key: early, message: { columns: [], networks: [] } });
  assert.equal(state.key, early, "the newest is asked for next");
  assert.equal(state.view.step, 3);
  assert.equal(reduce(state, { type: "choose", changes: { networks: ["c"] } }).view.step, null);
});
