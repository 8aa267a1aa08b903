import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { DIALS, dialsText, dialValues, dialWords } from "../../explorer/ui/viewer/static/dials.js";

// `test_changes.py` finds the same in Python.
const CASES = JSON.parse(readFileSync(new URL("golden/dials.json", import.meta.url), "utf8"));

for (const [text, values] of CASES) {
  test(`dials as text: ${text || "at rest"}`, () => {
    assert.equal(dialsText(values), text);
    assert.equal(dialsText(dialValues(text)), text);
  });
}

test("what cannot be read is at rest", () => {
  for (const text of ["x", "x3x", "toString5", "5", "_", "x--3", "<b>"]) assert.equal(dialsText(dialValues(text)), "");
});

test("a dial at rest says so, and the end of the JPEG's is no JPEG", () => {
  assert.equal(dialWords("jpeg", DIALS.jpeg.rest), "none");
  assert.equal(dialWords("rotation", -12), "-12°");
});
