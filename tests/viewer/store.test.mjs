import assert from "node:assert/strict";
import { test } from "node:test";
import {
  awaited,
  EMPTY,
  keyOf,
  loading,
  mergeLayers,
  needsFetch,
  needsValues,
  reduce,
  shownLayer,
  valueKey,
} from "../../explorer/ui/viewer/static/store.js";
import { DEFAULTS } from "../../explorer/ui/viewer/static/url.js";

const VIEW = { picture: "sample-6-6", target: null, layers: "main", dials: "", attack: "", networks: ["a", "b"], theme: "light" };
const data = (changes = {}) => ({
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
  ...changes,
});
const message = (changes = {}) => ({
  picture: "sample-6-6",
  layer: "block",
  columns: [{ name: "stem" }, { name: "block" }],
  networks: [{ layers: { block: { reduced: false, channels: 4 } } }, { layers: {} }],
  every: false,
  ...changes,
});
const choose = (changes) => ({ type: "choose", changes });
const run = (changes, more = {}) => ({ type: "data", data: data({ view: { ...VIEW, ...changes }, ...more }), fragment: null });
const after = (state, ...events) => events.reduce(reduce, state);
const received = (view, changes) => ({ type: "received", key: keyOf(view), message: message(changes) });
const opened = () => after(EMPTY, { type: "data", data: data(), fragment: null }, received(VIEW));

test("what a run tells is shown once its message has come", () => {
  const asked = reduce(EMPTY, { type: "data", data: data(), fragment: null });
  assert.deepEqual(asked.view, VIEW);
  assert.equal(asked.key, null);
  assert.equal(opened().key, keyOf(VIEW));
});

test("a message of another view is not shown", () => {
  const other = { ...VIEW, target: 3 };
  const state = after(opened(), { type: "data", data: data({ view: other }), fragment: null });
  assert.equal(reduce(state, received(VIEW)), state);
  assert.equal(reduce(state, received(other)).key, keyOf(other));
});

for (const changes of [
  { picture: "sample-1-1" },
  { target: 3 },
  { networks: ["a", "c"] },
  { networks: ["b"], target: null },
  { layers: "all" },
  { change: "stages.1.0@branch:off" },
]) {
  test(`what was chosen here stays until a run has heard of it: ${Object.keys(changes)}`, () => {
    const chosen = reduce(opened(), choose(changes));
    assert.deepEqual(chosen.view, { ...VIEW, ...changes });
    const late = reduce(chosen, run({}));
    assert.deepEqual([late.view, late.chosen], [chosen.view, changes]);
    const heard = reduce(late, run(changes, { heard: 1 }));
    assert.deepEqual([heard.view, heard.chosen], [chosen.view, null]);
    const refused = reduce(late, run({}, { heard: 1 }));
    assert.deepEqual([refused.view, refused.chosen], [VIEW, null], "the page shows something else");
    const left = reduce(late, run({}, { visit: 2 }));
    assert.deepEqual([left.view, left.chosen], [VIEW, null], "another visit of the page begins anew");
  });
}

test("the last of two quick choices stays, whatever comes of the first", () => {
  const first = reduce(opened(), choose({ picture: "sample-1-1", target: 1 }));
  const second = reduce(first, choose({ picture: "sample-2-2" }));
  assert.equal(reduce(second, received(first.view)), second);
  const state = reduce(second, run({ picture: "sample-1-1", target: 1 }, { heard: 1 }));
  assert.deepEqual([state.view.picture, state.view.target], ["sample-2-2", 1]);
});

test("a file is shown under the name that the server gave it", () => {
  const uploaded = reduce(opened(), { type: "uploaded", key: "", message: message({ picture: "upload-0123456789abcdef" }) });
  assert.equal(uploaded.view.picture, "upload-0123456789abcdef");
  assert.equal(uploaded.key, keyOf(uploaded.view));
  assert.deepEqual(uploaded.chosen, { picture: "upload-0123456789abcdef" });
});

test("a step of the browser's history takes its selection, and no picture that no run has", () => {
  const state = after(opened(), { type: "select", changes: { layer: "stem", channel: 2 } }, choose({ picture: "sample-1-1" }));
  const back = reduce(state, { type: "history", selection: DEFAULTS });
  assert.deepEqual(back.selection, DEFAULTS);
  assert.deepEqual([back.view.picture, back.chosen], ["sample-6-6", null]);
});

test("the address counts more than the server's first selection, which counts more than what was chosen before", () => {
  const initial = { ...DEFAULTS, layer: "stem" };
  const fragment = { ...DEFAULTS, channel: 5 };
  assert.deepEqual(reduce(EMPTY, { type: "data", data: data({ initial }), fragment }).selection, fragment);
  assert.deepEqual(reduce(EMPTY, { type: "data", data: data({ initial }), fragment: null }).selection, initial);
  const chosen = reduce(opened(), { type: "select", changes: { layer: "stem" } });
  const again = reduce(chosen, { type: "data", data: data({ visit: 2, entry: 2, initial: null }), fragment: null });
  assert.equal(again.selection.layer, "stem", "a page that is entered again goes on");
  const link = reduce(chosen, { type: "data", data: data({ visit: 2, entry: 2, initial: DEFAULTS }), fragment: null });
  assert.equal(link.selection.layer, null, "a link begins anew");
  const run = reduce(chosen, { type: "data", data: data({ initial }), fragment: null });
  assert.equal(run.selection.layer, "stem", "a further run of the same visit changes nothing");
  const command = data({ entry: 2, initial: { ...DEFAULTS, layer: "block" } });
  const commanded = reduce(chosen, { type: "data", data: command, fragment });
  assert.equal(commanded.selection.layer, "block", "a control of the server changes it, whatever the address still says");
});

test("other networks forget the channel and keep the layer", () => {
  const chosen = reduce(opened(), { type: "select", changes: { layer: "stem", channel: 2 } });
  const same = reduce(chosen, { type: "data", data: data({ view: { ...VIEW, target: 1 } }), fragment: null });
  assert.deepEqual([same.selection.layer, same.selection.channel], ["stem", 2]);
  for (const event of [run({ networks: ["a", "c"] }), choose({ networks: ["a", "c"] })]) {
    const { selection } = reduce(chosen, event);
    assert.deepEqual([selection.layer, selection.channel], ["stem", null]);
  }
});

test("an error is said until something comes", () => {
  const failed = reduce(opened(), { type: "failed", error: "No." });
  assert.equal(failed.error, "No.");
  assert.equal(reduce(failed, received(VIEW)).error, "");
  assert.equal(reduce(failed, choose({ picture: "sample-1-1" })).error, "");
  assert.equal(reduce(failed, { type: "select", changes: { opacity: 3 } }).error, "No.");
});

test("the shown layer is one that a network has", () => {
  assert.equal(shownLayer(opened()), "block");
  assert.equal(shownLayer(reduce(opened(), { type: "select", changes: { layer: "stem" } })), "stem");
  assert.equal(shownLayer(reduce(opened(), { type: "select", changes: { layer: "none" } })), "block");
});

test("a layer is fetched where it is missing, or where the whole map of the channel is", () => {
  assert.equal(needsFetch(opened()), false);
  assert.equal(needsFetch(reduce(opened(), { type: "select", changes: { layer: "stem" } })), true);
  const reduced = (chosen) => ({ networks: [{ layers: { block: { reduced: true, channels: 4, chosen } } }, { layers: {} }] });
  const large = after(EMPTY, { type: "data", data: data(), fragment: null }, received(VIEW, reduced()));
  assert.equal(needsFetch(large), false);
  assert.equal(needsFetch(reduce(large, { type: "select", changes: { channel: 2 } })), true);
  assert.equal(needsFetch(reduce(large, { type: "select", changes: { channel: 4 } })), false, "no such channel");
  const there = after(EMPTY, { type: "data", data: data(), fragment: null }, received(VIEW, reduced({ channel: 2 })));
  assert.equal(needsFetch(reduce(there, { type: "select", changes: { channel: 2 } })), false);
});

test("layers that come later join those that are there", () => {
  const before = message();
  const more = { networks: [{ layers: { stem: { reduced: false } } }, { layers: { stem: { reduced: false } } }], every: true };
  const merged = mergeLayers(before, more);
  assert.deepEqual(Object.keys(merged.networks[0].layers).sort(), ["block", "stem"]);
  const all = mergeLayers(before, { networks: [{ layers: { block: {} } }, { layers: {} }], every: true });
  assert.equal(all.networks[0].layers.block, before.networks[0].layers.block, "what is drawn stays");
  assert.equal(merged.every, true);
  assert.equal(before.every, false, "the message before is not changed");
  const state = reduce(opened(), { type: "layers", key: "of another view", message: more });
  assert.equal(Object.keys(state.message.networks[0].layers).length, 1);
});

const BLOCKS = { ...VIEW, layers: "blocks" };
const link = (layer, changes = {}) => ({ type: "data", data: data({ view: BLOCKS, ...changes }), fragment: { ...DEFAULTS, layer } });

test("an old link with a layer inside a block shows it: convolutions too", () => {
  const old = reduce(EMPTY, link("stages.1.0.conv1"));
  assert.deepEqual([old.view.layers, old.selection.layer], ["main", "stages.1.0.conv1"]);
  assert.deepEqual([old.chosen, old.number], [{ layers: "main" }, 1], "the server hears of it");
  const heard = reduce(old, { ...run({}, { heard: 1 }) });
  assert.deepEqual([heard.view.layers, heard.chosen], ["main", null]);
  for (const layer of ["stages.1.0", "stem.conv", null]) {
    const now = reduce(EMPTY, link(layer));
    assert.deepEqual([now.view.layers, now.chosen], ["blocks", null]);
  }
  const all = reduce(EMPTY, link("stages.1.0.norm1", { view: { ...VIEW, layers: "all" } }));
  assert.deepEqual([all.view.layers, all.chosen], ["all", null]);
});

test("where blocks alone are chosen, the block that the server names around the selected layer is selected", () => {
  const columns = [
    { name: "stem.conv", block: null },
    { name: "stages.1.0.conv1", block: "stages.1.0" },
    { name: "features.3.conv.0", block: "features.3" },
  ];
  const open = after(EMPTY, { type: "data", data: data(), fragment: null }, received(VIEW, { columns }));
  const switched = (layer) => after(open, { type: "select", changes: { layer, channel: 2 } }, choose({ layers: "blocks" }));
  for (const { name, block } of columns) {
    const { view, selection } = switched(name);
    assert.deepEqual([view.layers, selection.layer, selection.channel], ["blocks", block ?? name, block ? null : 2]);
  }
  const state = switched("stages.1.0.conv1");
  assert.equal(reduce(state, run({ layers: "blocks" }, { heard: 1 })).view.layers, "blocks", "it is no old link");
});

test("the networks that are still to come are named, until their message or an error is there", () => {
  const before = opened();
  assert.deepEqual(awaited(EMPTY), []);
  assert.deepEqual(awaited(before), []);
  assert.deepEqual(awaited(reduce(before, choose({ picture: "scene-ship" }))), [], "another picture is no network");
  const view = { ...VIEW, networks: ["b", "c"] };
  const chosen = reduce(before, choose({ networks: view.networks }));
  assert.deepEqual(awaited(chosen), ["c"]);
  assert.deepEqual(awaited(reduce(chosen, received(view))), []);
  assert.deepEqual(awaited(reduce(chosen, { type: "failed", error: "no" })), []);
  assert.equal(loading(["ResNet-50", "VGG-11"]), "Loading ResNet-50 and VGG-11 …");
  assert.equal(loading([]), "");
});

test("a chosen value is fetched once, and an answer about another one is not shown", () => {
  const select = (changes) => ({ type: "select", changes });
  const chosen = reduce(opened(), select({ layer: "block", channel: 2, at: "3,4" }));
  assert.ok(needsValues(chosen) && !needsValues(opened()));
  const answer = (key) => ({ type: "values", key, message: { ...message(), values: [], body: new Uint8Array() } });
  const shown = reduce(chosen, answer(valueKey(chosen)));
  assert.equal(needsValues(shown), false);
  const moved = reduce(shown, select({ at: "3,5" }));
  assert.ok(needsValues(moved));
  assert.equal(reduce(moved, answer(valueKey(chosen))), moved);
  assert.ok(needsValues(reduce(shown, select({ field: "effective" }))), "the effective field is another answer");
});

test("a place stays on another channel, and is lost with its layer", () => {
  const at = (changes, place = "3,4") =>
    after(opened(), { type: "select", changes: { layer: "block", channel: 2, at: place } }, { type: "select", changes }).selection.at;
  assert.equal(at({ channel: 3 }), "3,4");
  assert.equal(at({ opacity: 3 }), "3,4");
  assert.equal(at({ layer: "stem", channel: null }), null);
  assert.equal(at({ channel: 3 }, "head.fc:1"), null, "one that names its own layer has no other channel");
  assert.equal(at({ layer: "stem", at: "0,0" }), "0,0");
});

for (const [field, one, two] of [
  ["dials", "x1", "x2"],
  ["attack", "epsilon1", "epsilon2"],
]) {
  test(`of a moving hand at the ${field} each answer is drawn, and the newest is still to come`, () => {
    const moved = after(opened(), choose({ [field]: one }), choose({ [field]: two }));
    const drawn = reduce(moved, received({ ...VIEW, [field]: one }, { layer: "stem" }));
    assert.deepEqual([drawn.message.layer, drawn.view[field]], ["stem", two]);
    assert.notEqual(drawn.key, keyOf(drawn.view));
    const other = reduce(drawn, choose({ target: 1 }));
    assert.equal(reduce(other, received({ ...VIEW, [field]: two })), other, "of another class it is not");
  });
}

const live = (view, picture, frame = null) => ({ type: "live", key: keyOf(view), message: message({ picture }), frame });

test("the answers to a hand at work are shown under its picture, which the server has yet to hear of", () => {
  const first = reduce(opened(), live(VIEW, "upload-1"));
  assert.deepEqual([first.view.picture, first.live, first.chosen], ["upload-1", "upload-1", null]);
  assert.equal(first.key, keyOf(first.view));
  const second = reduce(first, live(first.view, "upload-2"));
  assert.equal(second.view.picture, "upload-2");
  const told = reduce(second, run({}));
  assert.equal(told.view.picture, "upload-2", "a run of the page does not take it away");
  const kept = reduce(told, { type: "uploaded", key: "", message: message({ picture: "upload-2" }) });
  assert.deepEqual([kept.live, kept.chosen], ["", { picture: "upload-2" }]);
});

test("an answer of other networks than those of the view is not shown, and what was shown stays", () => {
  const state = after(opened(), live(VIEW, "upload-1"), choose({ networks: ["a", "c"] }));
  assert.equal(reduce(state, live({ ...VIEW, picture: "upload-1" }, "upload-2")), state);
  assert.equal(state.message.picture, "upload-1");
});

test("another picture ends what a hand or camera shows; so does any choice once there is no answer", () => {
  const shown = reduce(opened(), live(VIEW, "upload-1"));
  const chosen = reduce(shown, choose({ picture: "sample-1-1" }));
  assert.deepEqual([chosen.live, chosen.view.picture], ["", "sample-1-1"]);
  assert.equal(reduce(shown, choose({ target: 1 })).live, "upload-1");
  const failed = after(shown, { type: "failed", error: "No answer." }, choose({ target: 1 }));
  assert.deepEqual([failed.live, failed.view.picture], ["", VIEW.picture]);
  assert.equal(reduce(shown, run({}, { visit: 2 })).live, "");
});

test("a frame is of its picture, or of the hand or camera that it was chosen for", () => {
  const framed = reduce(opened(), choose({ frame: "0,0,0.5" }));
  const first = reduce(framed, live(framed.view, "upload-1"));
  assert.equal(first.view.frame, null);
  assert.equal(first.key, keyOf(first.view));
  const chosen = reduce(first, choose({ frame: "0,0,0.2" }));
  const second = reduce(chosen, live(chosen.view, "upload-2", "0,0,0.2"));
  assert.deepEqual([second.view.frame, second.key], ["0,0,0.2", keyOf(second.view)]);
  const told = reduce(second, run({}));
  assert.equal(told.view.frame, "0,0,0.2");
  const kept = reduce(told, { type: "uploaded", key: "", message: message({ picture: "upload-2" }), frame: "0,0,0.2" });
  assert.deepEqual([kept.live, kept.chosen.frame, kept.key], ["", "0,0,0.2", keyOf(kept.view)]);
  const file = reduce(told, { type: "uploaded", key: "", message: message({ picture: "upload-3" }) });
  assert.equal(file.view.frame, null);
});
