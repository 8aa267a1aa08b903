import assert from "node:assert/strict";
import { test } from "node:test";
import { chosenNetworks } from "../../explorer/ui/viewer/static/views/bar.js";
import { nextPhoto } from "../../explorer/ui/viewer/static/views/photos.js";

const known = { "plain-8": 0, "resnet-8": 0, "plain-56": 0, "resnet-56": 0, own: 0, "photo-plain": 1, "photo-resnet": 1, strange: 2 };
const pairs = [
  ["plain-8", "resnet-8"],
  ["plain-56", "resnet-56"],
  ["photo-plain", "photo-resnet"],
];
const data = {
  networks: Object.entries(known).map(([name, classes]) => ({ name, label: name, group: "", known: classes })),
  twins: Object.fromEntries(
    pairs.flatMap(([a, b]) => [
      [a, b],
      [b, a],
    ]),
  ),
  classes: [],
  known: 0,
};
const view = (...networks) => ({ picture: "sample-6-6", target: 4, layers: "main", attack: "", networks, theme: "light" });

/** [networks, target] after another first network was chosen. */
const after = (first, ...before) => {
  const changes = chosenNetworks(data, view(...before), first, before[1]);
  return [changes.networks, changes.target];
};

test("twins stay twins", () => {
  assert.deepEqual(after("plain-56", "plain-8", "resnet-8"), [["plain-56", "resnet-56"], 4]);
  assert.deepEqual(after("resnet-8", "plain-8", "resnet-8"), [["resnet-8", "plain-8"], 4]);
});

test("a second network that knows the same classes stays", () => {
  assert.deepEqual(after("plain-56", "plain-8", "own"), [["plain-56", "own"], 4]);
  assert.deepEqual(after("own", "plain-8", "resnet-8"), [["own", "resnet-8"], 4]);
});

test("one of other classes goes, and so does the class that was explained", () => {
  assert.deepEqual(after("photo-plain", "plain-8", "own"), [["photo-plain", "photo-resnet"], null]);
  assert.deepEqual(after("strange", "plain-8", "own"), [["strange"], null]);
  assert.deepEqual(after("own", "plain-8", "own"), [["own"], 4], "nothing beside itself");
});

test("the class of an attack goes where other classes come, and the rest of the attack stays", () => {
  const before = { ...view("plain-8", "resnet-8"), attack: "epsilon4_steps10_seed3_second_target3" };
  assert.equal(chosenNetworks(data, before, "plain-56", "resnet-8").attack, before.attack);
  assert.equal(chosenNetworks(data, before, "photo-plain", "resnet-8").attack, "epsilon4_steps10_seed3_second");
  assert.equal(chosenNetworks(data, { ...before, attack: "epsilon2.5_least" }, "strange", "resnet-8").attack, "epsilon2.5_least");
});

test("one network alone stays alone", () => {
  assert.deepEqual(after("plain-56", "plain-8"), [["plain-56"], 4]);
});

test("behind the last photo comes the first, and behind a shape none", () => {
  const photos = ["scene-ship", "scene-bird", "photo-hopper"].map((name) => ({ name, title: name, source: "" }));
  assert.equal(nextPhoto(photos, "scene-ship"), "scene-bird");
  assert.equal(nextPhoto(photos, "photo-hopper"), "scene-ship");
  assert.equal(nextPhoto(photos, "sample-6-6"), undefined);
});

test("where the page shows different classes beside each other, the second network stays", () => {
  const before = view("plain-8", "photo-resnet");
  assert.deepEqual(chosenNetworks({ ...data, mixed: true }, before, "photo-plain", "photo-resnet"), {
    networks: ["photo-plain", "photo-resnet"],
    target: null,
    attack: "",
  });
  assert.deepEqual(chosenNetworks({ ...data, mixed: true }, before, "own", "photo-resnet").networks, ["own", "photo-resnet"]);
});
