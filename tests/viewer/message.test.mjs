import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { decode, floats } from "../../explorer/ui/viewer/static/message.js";

const read = (name) => readFileSync(new URL(`golden/${name}`, import.meta.url));
const content = read("alone.bin");
const golden = JSON.parse(read("alone.json").toString("utf8"));

test("a message has the header that Python wrote", () => {
  const { body, ...header } = decode(content);
  assert.ok(body.length > 1000);
  const { sheets, ...kept } = golden.header; // of these the golden file has only the sum of their pixels
  assert.deepEqual(Object.keys(header.sheets), Object.keys(sheets));
  assert.deepEqual({ ...header, sheets: null }, { ...kept, sheets: null });
});

test("each array lies where Python found it", () => {
  const { body } = decode(content);
  const paths = Object.entries(golden.arrays);
  assert.ok(paths.length > 20 && paths.some(([, { dtype }]) => dtype === "float32"));
  for (const [path, { start, dtype, shape, mean, values }] of paths) {
    const count = shape.reduce((product, size) => product * size, 1);
    const found = dtype === "float32" ? floats(body, start, count) : body.subarray(start, start + count);
    assert.equal(found.length, count, path);
    const sample = values.map((_, index) => found[Math.floor((index * (count - 1)) / (values.length - 1))]);
    assert.deepEqual(sample, values, path);
    const sum = found.reduce((total, value) => total + value, 0);
    assert.ok(Math.abs(sum / count - mean) <= 1e-4 * Math.abs(mean) + 1e-6, path);
  }
});

test("a message may come in an ArrayBuffer or in a part of one", () => {
  const whole = new Uint8Array(content.length + 7);
  whole.set(content, 7); // where no float32 could be read without a copy
  const part = decode(whole.subarray(7));
  const alone = decode(whole.slice(7).buffer);
  assert.deepEqual(part, alone);
  const [layer] = Object.values(part.networks[0].layers);
  assert.equal(floats(part.body, layer.stats, 4 * layer.channels).length, 4 * layer.channels);
});
