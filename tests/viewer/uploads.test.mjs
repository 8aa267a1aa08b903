import assert from "node:assert/strict";
import { test } from "node:test";
import { RequestError } from "../../explorer/ui/viewer/static/api.js";
import { EMPTY, reduce } from "../../explorer/ui/viewer/static/store.js";
import { named, pastedPictures, tooLarge, uploads } from "../../explorer/ui/viewer/static/uploads.js";

const file = (name, size = 1) => ({ name, size });
const VIEW = { picture: "sample-6-6", frame: null, networks: ["a", "b"] };

/** `answer` says what the server does with a file, the n-th time that it is asked. */
function viewer(answer = async () => ({ answers: [] })) {
  const own = {
    state: { ...EMPTY, view: VIEW, data: { token: "t" } },
    events: [],
    shown: [],
    addresses: 0,
    renewed: 0,
    asked: [],
    most: 0,
  };
  let running = 0;
  own.files = uploads({
    now: () => own.state,
    dispatch(event) {
      own.events.push(event);
      own.state = reduce(own.state, event);
    },
    show: ({ name }) => own.shown.push(name),
    address: () => {
      own.addresses += 1;
    },
    renew: () => {
      own.renewed += 1;
    },
    async classify(_token, { name }) {
      own.asked.push(name);
      running += 1;
      own.most = Math.max(own.most, running);
      await new Promise((done) => setTimeout(done));
      running -= 1;
      return answer(own.asked.filter((each) => each === name).length);
    },
    store: async (_token, { name }) => `upload-${name}`,
    again: 0,
  });
  own.files.setLimit(2);
  return own;
}
const settled = async (own) => {
  own.files.classifySheet();
  while (own.state.sheet.entries.some(({ found, error }) => !found && !error)) await new Promise((done) => setTimeout(done));
};

test("one file is shown; where no viewer is, its name is told", async () => {
  const own = viewer();
  await own.files.choose([file("a.png")], "t", null);
  const told = [];
  await own.files.choose([file("b.png")], "t", (picture) => told.push(picture));
  assert.deepEqual([own.shown, told], [["a.png"], ["upload-b.png"]]);
  assert.deepEqual(
    own.events.map(({ type }) => type),
    ["uploading", "refused"],
  );
  await own.files.choose([], "t", null);
});

test("what cannot be taken is refused in a sentence", async () => {
  const own = viewer();
  await own.files.choose([file("a.png", 3 * 2 ** 20)], "t", null);
  assert.equal(own.state.uploadError, "`a.png` has 3 MB and the limit is 2. Choose a smaller one.");
  await own.files.choose([file("a.png"), file("b.png")], "t", () => {});
  assert.match(own.state.uploadError, /choose them on Explore\.$/);
  assert.equal(tooLarge(file("a", 2 * 2 ** 20), 2), "");
  assert.equal(named(file("x".repeat(999))).name.length, 300);
});

test("several files are classified two at a time, each once", async () => {
  const own = viewer();
  const all = ["1", "2", "3", "4", "large"].map((name) => file(name, name === "large" ? 3 * 2 ** 20 : 1));
  await own.files.choose(all, "t", null);
  await settled(own);
  assert.deepEqual([own.asked, own.most, own.addresses], [["1", "2", "3", "4"], 2, 1]);
  assert.match(own.state.sheet.entries[4].error, /^`large` has 3 MB/);
});

test("a busy server is asked again, a bad picture is not, and a lost session is renewed", async () => {
  const busy = viewer(async (nth) => {
    if (nth === 1) throw new RequestError("Busy.", "busy");
    if (nth === 2) throw new RequestError("Who?", "session");
    return { answers: [] };
  });
  await busy.files.choose([file("1"), file("2")], "t", null);
  await settled(busy);
  assert.deepEqual([busy.asked.length, busy.renewed, busy.state.sheet.entries[0].error], [6, 2, ""]);
  const bad = viewer(async () => {
    throw new RequestError("No picture.", "picture");
  });
  await bad.files.choose([file("1"), file("2")], "t", null);
  await settled(bad);
  assert.deepEqual([bad.asked.length, bad.state.sheet.entries[1].error], [2, "No picture."]);
  const never = viewer(async () => {
    throw new RequestError("Busy.", "busy");
  });
  await never.files.choose([file("1"), file("2")], "t", null);
  await settled(never);
  assert.deepEqual([never.asked.length, never.state.sheet.entries[1].error], [20, "Busy."]);
});

test("a picture of the sheet is opened, and the sheet closes and opens with the address", async () => {
  const own = viewer();
  await own.files.choose([file("1"), file("2")], "t", null);
  own.files.actions.pick(file("1"));
  assert.deepEqual([own.shown, own.state.sheet.open, own.addresses], [["1"], false, 1]);
  own.files.actions.show(true);
  assert.deepEqual([own.state.sheet.open, own.addresses], [true, 2]);
});

test("a pasted picture is taken, unless a text is pasted or written", () => {
  const png = file("image.png");
  const pasted = (path, text = "", files = [png]) =>
    pastedPictures({ clipboardData: { files, getData: () => text }, composedPath: () => [...path, { localName: "body" }] });
  assert.deepEqual(pasted([{ localName: "div" }]), [png]);
  assert.deepEqual(pasted([{ localName: "input", type: "file" }]), [png], "the field of the bar");
  assert.deepEqual(pasted([], "net.png\n", [file("net.png")]).length, 1, "a file manager names the files");
  assert.deepEqual(pasted([], "copied from a table"), [], "Office adds a picture of the text");
  for (const target of [{ localName: "textarea" }, { localName: "input", type: "text" }, { localName: "div", isContentEditable: true }])
    assert.deepEqual(pasted([{ localName: "span" }, target]), [], target.localName);
});
