import assert from "node:assert/strict";
import { test } from "node:test";
import { DEFAULTS, formatFragment, parseFragment } from "../../explorer/ui/viewer/static/url.js";

test("a selection is the same after its fragment", () => {
  const selections = [
    DEFAULTS,
    { layer: "stages.1.0.conv2", channel: 3, scope: "both", opacity: 0, at: "3,14", rows: "probe,field" },
    { layer: null, channel: 0, scope: "network", opacity: 100, at: "head.fc:3", rows: null },
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
    "#at=3,",
    "#at=-1,2",
    "#at=../x:3",
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
