import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { formatNumber } from "../../explorer/ui/viewer/static/format.js";

test("numbers are written as Python writes them", () => {
  const table = JSON.parse(readFileSync(new URL("golden/numbers.json", import.meta.url), "utf8"));
  assert.ok(table.length > 100);
  for (const [value, text] of table) assert.equal(formatNumber(value), text, String(value));
});

test("what JSON cannot hold has a word", () => {
  assert.equal(formatNumber(null), "nan");
  assert.equal(formatNumber(Number.NaN), "nan");
  assert.equal(formatNumber(Number.POSITIVE_INFINITY), "inf");
  assert.equal(formatNumber(Number.NEGATIVE_INFINITY), "-inf");
});
