import assert from "node:assert/strict";
import { test } from "node:test";
import { EMPTY, reduce, SHEET_FILES, unasked } from "../../explorer/ui/viewer/static/store.js";
import { DEFAULTS, formatFragment, parseFragment, showsSheet } from "../../explorer/ui/viewer/static/url.js";
import { differs, leftOut, ordered, sheetCsv, sheetTitle } from "../../explorer/ui/viewer/static/views/sheet.js";

const VIEW = { picture: "sample-6-6", frame: null, paper: null, target: null, layers: "main", networks: ["a", "b"], theme: "light" };
const file = (name) => ({ name, size: 1 });
const answers = (...pairs) => ({ answers: pairs.map(([name, probability]) => ({ name, probability })) });
const entry = (name, found = null, error = "") => ({ file: file(name), found, error });
const sheet = (...entries) => ({ open: true, networks: ["a", "b"], entries, excess: [] });
const opened = (files) => reduce({ ...EMPTY, view: VIEW }, { type: "files", files });
const names = (entries) => entries.map((each) => each.file.name);

test("a hundred files make a sheet, and the others are named", () => {
  const files = Array.from({ length: SHEET_FILES + 5 }, (_, index) => file(`${index}.png`));
  const state = opened(files);
  assert.equal(unasked(state).length, SHEET_FILES);
  assert.deepEqual(state.sheet.excess, ["100.png", "101.png", "102.png", "103.png", "104.png"]);
  assert.equal(leftOut(state.sheet), "Left out: 100.png, 101.png, 102.png and 2 more are more than the 100 that fit.");
});

test("each file is asked about once, and only while the sheet is open", () => {
  const files = [file("1.png"), file("2.png")];
  const one = reduce(opened(files), { type: "classified", file: files[0], networks: ["a", "b"], found: answers(["cat", 1]), error: "" });
  assert.deepEqual(names(unasked(one)), ["2.png"]);
  const two = reduce(one, { type: "classified", file: files[1], networks: ["a", "b"], found: null, error: "No picture." });
  assert.deepEqual(unasked(two), []);
  assert.deepEqual(unasked(reduce(one, { type: "sheet", open: false })), []);
});

test("other networks are asked anew, and a late answer of the ones before is dropped", () => {
  const files = [file("1.png")];
  const answered = { type: "classified", file: files[0], networks: ["a", "b"], found: answers(["cat", 1]), error: "" };
  const state = reduce(reduce(opened(files), answered), { type: "choose", changes: { networks: ["a", "c"] } });
  assert.deepEqual(names(unasked(state)), ["1.png"]);
  assert.equal(reduce(state, answered).sheet.entries[0].found, null);
  const same = reduce(reduce(opened(files), answered), { type: "choose", changes: { picture: "sample-1-1" } });
  assert.deepEqual(unasked(same), []);
});

test("the address says whether the sheet is open, and Back opens and closes it", () => {
  const fragment = formatFragment({ ...DEFAULTS, layer: "stem.conv" }, true);
  assert.ok(showsSheet(fragment) && !showsSheet(formatFragment(DEFAULTS)) && !showsSheet("#sheet=x"));
  assert.equal(parseFragment(fragment).layer, "stem.conv");
  const state = opened([file("1.png")]);
  const closed = reduce(state, { type: "history", selection: DEFAULTS, sheet: false });
  assert.equal(closed.sheet.open, false);
  assert.equal(reduce(closed, { type: "history", selection: DEFAULTS, sheet: true }).sheet.open, true);
  assert.equal(reduce(EMPTY, { type: "history", selection: DEFAULTS, sheet: true }).sheet, null);
});

test("another picture loses the frame of the one before, whatever is chosen with it", () => {
  const framed = { ...EMPTY, view: { ...VIEW, frame: "0,0,0.5" } };
  const chosen = reduce(framed, { type: "choose", changes: { picture: "sample-1-1", target: 2 } });
  assert.deepEqual([chosen.view.frame, chosen.chosen], [null, { frame: null, picture: "sample-1-1", target: 2 }]);
  assert.equal(reduce(framed, { type: "choose", changes: { networks: ["c"] } }).view.frame, "0,0,0.5");
  assert.equal(reduce(framed, { type: "uploaded", key: "", message: { picture: "upload-1" } }).view.frame, null);
});

const ENTRIES = [
  entry("b10.png", answers(["cat", 0.9], ["cat", 0.8])),
  entry("b9.png", answers(["cat", 0.7], ["dog", 0.6])),
  entry("a.png", null, "`a.png` is no picture."),
];

test("the sheet is sorted by name, by what differs, and by how sure the networks are", () => {
  assert.deepEqual(ENTRIES.map(differs), [false, true, false]);
  assert.deepEqual(names(ordered(ENTRIES, "given")), ["b10.png", "b9.png", "a.png"]);
  assert.deepEqual(names(ordered(ENTRIES, "name")), ["a.png", "b9.png", "b10.png"]);
  assert.deepEqual(names(ordered(ENTRIES, "differ")), ["b9.png", "b10.png", "a.png"]);
  assert.deepEqual(names(ordered(ENTRIES, "unsure")), ["b9.png", "b10.png", "a.png"]);
});

test("the CSV has a line for each file, and computes nothing in a spreadsheet", () => {
  const found = { ...sheet(...ENTRIES, entry('=HYPERLINK("x"),\n.png', answers(["+1", null], ["-2", 0.5]))), excess: ["@more.png"] };
  assert.deepEqual(sheetCsv(found, ["plain-8", "ResNet-8"]).split("\r\n"), [
    "\ufeffpicture,plain-8: class,plain-8: probability,ResNet-8: class,ResNet-8: probability,differ,left out",
    "b10.png,cat,0.9,cat,0.8,no,",
    "b9.png,cat,0.7,dog,0.6,yes,",
    "a.png,,,,,,`a.png` is no picture.",
    `"'=HYPERLINK(""x""),\n.png",'+1,nan,'-2,0.5,yes,`,
    "'@more.png,,,,,,more than fit",
    "",
  ]);
  assert.equal(leftOut(found), "Left out: a.png could not be read; @more.png is more than the 4 that fit.");
});

test("one image is not several", () => {
  assert.equal(sheetTitle(1, ["a"]), "1 image, as a predicts it. Click it to explore it.");
  assert.equal(sheetTitle(2, ["a", "b"]), "2 images, as a and b predict them. Click one to explore it.");
});
