import assert from "node:assert/strict";
import { test } from "node:test";
import { RequestError } from "../../explorer/ui/viewer/static/api.js";
import { liveFrames } from "../../explorer/ui/viewer/static/live_frames.js";
import { EMPTY, reduce } from "../../explorer/ui/viewer/static/store.js";

const VIEW = { picture: "sample-6-6", frame: "0,0,1", target: null, layers: "main", dials: "", networks: ["a", "b"] };
const frame = (name, keep = false) => ({ kind: "drawing", size: [1, 1], mask: true, keep, bytes: new TextEncoder().encode(name) });

/** A viewer whose server answers when the test says so. */
function viewer() {
  const own = { state: { ...EMPTY, data: { token: "t", view: VIEW }, view: VIEW }, asked: [], events: [], fetching: null, requests: 0 };
  own.frames = liveFrames({
    now: () => own.state,
    apply(event) {
      own.events.push(event);
      own.state = reduce(own.state, event);
    },
    begin() {
      own.fetching?.abort();
      own.fetching = new AbortController();
      return own.fetching;
    },
    end() {},
    abort: () => own.fetching?.abort(),
    ask: (_token, question, signal, blob) =>
      new Promise((answer, fail) => {
        signal.onabort = () => fail(signal.reason);
        own.asked.push({ question, blob, fail, answer: (picture) => answer({ picture, networks: [], columns: [] }) });
      }),
    draw() {},
    painted: async () => {},
    request: () => {
      own.requests += 1;
    },
  });
  return own;
}
const rest = () => new Promise((done) => setTimeout(done));
const names = ({ asked }) => Promise.all(asked.map(({ blob }) => blob.text()));

test("one frame is answered at a time, and of those that came meanwhile the newest", async () => {
  const own = viewer();
  const drawn = own.frames.follow(frame("1"));
  for (const name of ["2", "3", "4"]) assert.equal(await own.frames.follow(frame(name)), true);
  assert.deepEqual([await names(own), own.frames.isSending()], [["1"], true]);
  own.asked[0].answer("live-1");
  await rest();
  assert.deepEqual(await names(own), ["1", "4"]);
  own.asked[1].answer("live-4");
  assert.equal(await drawn, true);
  assert.deepEqual([own.state.live, own.state.view.picture, own.frames.isSending(), own.requests], ["live-4", "live-4", false, 1]);
});

test("what the session is to keep is not passed over by what the hand does next", async () => {
  const own = viewer();
  own.frames.follow(frame("1"));
  own.frames.follow(frame("kept", true));
  own.frames.follow(frame("2"));
  own.asked[0].answer("live-1");
  await rest();
  assert.deepEqual(await names(own), ["1", "kept"]);
  assert.equal(own.asked[1].question.frame, null, "the part of a hand's picture is its own");
  own.asked[1].answer("drawing-1");
  await rest();
  assert.deepEqual(
    own.events.map(({ type }) => type),
    ["live", "uploaded"],
  );
});

test("a kept frame is asked once more where something else was chosen meanwhile", async () => {
  const own = viewer();
  own.frames.follow(frame("kept", true));
  own.state = reduce(own.state, { type: "choose", changes: { target: 3 } });
  own.asked[0].answer("drawing-1");
  await rest();
  assert.deepEqual([await names(own), own.asked[1].question.target, own.events], [["kept", "kept"], 3, []]);
  own.asked[1].answer("drawing-1");
  await rest();
  assert.equal(own.state.view.picture, "drawing-1");
});

test("another picture drops what is on its way and what waits", async () => {
  const own = viewer();
  const drawn = own.frames.follow(frame("1"));
  own.frames.follow(frame("2"));
  own.frames.drop();
  assert.equal(await drawn, true);
  assert.deepEqual([await names(own), own.events, own.requests], [["1"], [], 1]);
});

test("an answer that fails is a sentence, and the page that moves on is none", async () => {
  const own = viewer();
  const first = own.frames.follow(frame("1"));
  own.asked[0].fail(new RequestError("The server is busy.", "busy"));
  assert.deepEqual([await first, own.state.error], [false, "The server is busy."]);
  const other = viewer();
  const second = other.frames.follow(frame("1"));
  other.asked[0].fail(new RequestError("Superseded.", "superseded"));
  assert.deepEqual([await second, other.state.error], [true, ""]);
  const nothing = viewer();
  nothing.state = EMPTY;
  assert.equal(await nothing.frames.follow(frame("1")), false, "no page has told a view yet");
});
