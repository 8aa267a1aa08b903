import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { cameraView } from "../../explorer/ui/viewer/static/views/camera.js";
import { liveCameraView } from "../../explorer/ui/viewer/static/views/live_camera.js";
import { MadeElement, madeDocument } from "./made_dom.mjs";

const navigatorBefore = Object.getOwnPropertyDescriptor(globalThis, "navigator");
const rest = () => new Promise((done) => setTimeout(done));
/** Answers the question for the permission. */
let grant;

globalThis.requestAnimationFrame = (done) => setTimeout(done); // a loop asks for one more after its view has gone

beforeEach(() => {
  globalThis.document = madeDocument();
  const getUserMedia = () =>
    new Promise((done) => {
      grant = done;
    });
  Object.defineProperty(globalThis, "navigator", { value: { mediaDevices: { getUserMedia } }, configurable: true });
});
afterEach(() => {
  delete globalThis.document;
  Object.defineProperty(globalThis, "navigator", navigatorBefore);
});

/** A view whose camera a person has asked for, and a camera. */
function started(context) {
  const root = new MadeElement("div");
  const view = liveCameraView(root, async () => true);
  context.after(view.end); // else a loop would go on for ever
  const [button] = root.all(({ localName }) => localName === "button");
  button.onclick();
  const track = { stopped: false, stop: () => Object.assign(track, { stopped: true }) };
  return { view, button, track, camera: { getTracks: () => [track] } };
}

test("a camera that is allowed after its page has gone is stopped and followed by nobody", async (context) => {
  const { view, button, track, camera } = started(context);
  view.end();
  grant(camera);
  await rest();
  assert.deepEqual([track.stopped, button.textContent || button.children[0]], [true, "Start the camera"]);
});

test("a camera goes off with its page, and the document keeps no listener of it", async (context) => {
  const { view, button, track, camera } = started(context);
  grant(camera);
  await rest();
  assert.deepEqual([track.stopped, button.textContent, document.listening("visibilitychange")], [false, "Stop the camera", 1]);
  view.end();
  assert.deepEqual([track.stopped, document.listening("visibilitychange")], [true, 0]);
});

test("a camera goes off where another image is chosen before its first answer", async (context) => {
  const { view, track, camera } = started(context);
  view.draw({ live: "", view: { picture: "sample-1-1" } });
  grant(camera);
  await rest();
  view.draw({ live: "", view: { picture: "sample-1-1" } });
  const before = track.stopped;
  view.draw({ live: "", view: { picture: "sample-2-2" } });
  assert.deepEqual([before, track.stopped], [false, true]);
});

test("a photo can be taken once the camera has shown something", async (context) => {
  const root = new MadeElement("div");
  const view = cameraView(root, () => {});
  context.after(view.end);
  const [button, video] = ["button", "video"].map((name) => root.all(({ localName }) => localName === name)[0]);
  grant({ getTracks: () => [] });
  await rest();
  const before = button.disabled;
  video.onloadeddata();
  assert.deepEqual([before, button.disabled], [true, false]);
});
