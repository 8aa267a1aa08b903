import assert from "node:assert/strict";
import { test } from "node:test";
import { DEFAULTS, formatFragment, parseFragment, unitAddress } from "../../explorer/ui/viewer/static/url.js";

test("a selection is the same after its fragment", () => {
  const selections = [
    DEFAULTS,
    {
      layer: "stages.1.0.conv2",
      channel: 3,
      scope: "both",
      opacity: 0,
      evidence: "signed",
      at: "3,14",
      field: "effective",
      rows: "probe,field",
    },
    { layer: null, channel: 0, scope: "network", opacity: 100, evidence: "positive", at: "head.fc:3", field: "theoretical", rows: null },
  ];
  for (const selection of selections) assert.deepEqual(parseFragment(formatFragment(selection)), selection);
  assert.equal(formatFragment(DEFAULTS), "");
  assert.equal(formatFragment({ ...DEFAULTS, layer: "stem" }), "#layer=stem");
  assert.equal(formatFragment({ ...DEFAULTS, rows: "probe,cka" }), "#rows=probe,cka");
  assert.equal(formatFragment({ ...DEFAULTS, at: "head.fc:3,0" }), "#at=head.fc:3,0", "a place that can be read");
});

test("what cannot be read takes its default", () => {
  for (const fragment of [
    "#layer=../x",
    "#layer=",
    "#channel=-1",
    "#channel=1e3",
    "#scope=all",
    "#opacity=101",
    "#opacity=x",
    "#evidence=both",
    "#at=3,",
    "#at=-1,2",
    "#at=../x:3",
    "#field=both",
    "#rows=Probe",
    "#rows=a,,b",
    "#rows=<b>",
    "#a=b",
    "#%",
    "",
  ]) {
    assert.deepEqual(parseFragment(fragment), DEFAULTS, fragment);
  }
  assert.deepEqual(parseFragment("#layer=stem&channel=x&opacity=5"), { ...DEFAULTS, layer: "stem", opacity: 5 });
});

test("the page of a unit has the pair and the picture of the view, and what is changed of both", () => {
  /** @type {View} */
  const view = {
    picture: "sample-6-6",
    paper: null,
    frame: "0.1,0.2,0.5",
    target: 0,
    layers: "main",
    change: "",
    dials: "",
    attack: "",
    networks: ["a", "b"],
    theme: "light",
  };
  const address = new URL(unitAddress(view, "stages.1.0.conv2", 3, 1), "http://x/");
  assert.equal(address.pathname, "/experiments");
  assert.deepEqual(Object.fromEntries(address.searchParams), {
    first: "a",
    second: "b",
    picture: "sample-6-6",
    frame: "0.1,0.2,0.5",
    target: "0",
    question: "unit",
    layer: "stages.1.0.conv2",
    channel: "3",
    network: "second",
  });
  const changes = { dials: "x3_rotation-12.5", change: "stages.0.1@branch:0.5", attack: "epsilon4_steps10_second" };
  const changed = new URL(unitAddress({ ...view, ...changes }, "stem.conv", 3, 1), "http://x/").searchParams;
  assert.deepEqual(Object.fromEntries(["dials", "change", "attack"].map((name) => [name, changed.get(name)])), changes);
  const alone = new URL(unitAddress({ ...view, networks: ["a"] }, "stem.conv", 0, 0), "http://x/").searchParams;
  assert.deepEqual([alone.get("second"), alone.get("network"), alone.get("channel")], ["none", "first", "0"]);
});
