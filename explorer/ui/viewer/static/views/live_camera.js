// The camera as a loop: both networks look at its newest image, one at a time. Nothing is recorded.

import { alertBox, context2d, el, setText, toggle } from "../dom.js";
import { DENIED, INSECURE, stopTracks } from "./camera.js";

const PAUSE_MS = 100; // between the beginnings of two images, at least: a server has other work too
const LARGEST = 512; // pixels of a side, which the server takes

/** @type {(root: HTMLElement, follow: Follow) => {draw: Draw, end: () => void}} */
export function liveCameraView(root, follow) {
  const video = el("video", { autoplay: true, muted: true, playsInline: true, ariaLabel: "What the camera sees now", hidden: true });
  const button = el("button", { type: "button" }, "Start the camera");
  const says = el("p", { className: "status", role: "status" });
  const alert = alertBox();
  const note = el("p", {}, "The networks get the middle of the image. It stays on this server, in your session.");
  root.replaceChildren(el("details", {}, el("summary", {}, "Live camera"), video, el("p", {}, button), says, alert.box, note));
  /** @type {MediaStream | null} */
  let stream = null;
  let [looking, wasLive, ended] = [false, false, false];
  /** @type {(string | undefined)[]} */
  let [chosen, before] = [undefined, undefined]; // the image that is chosen, and the one when the camera started
  const listening = new AbortController(); // each visit of the page makes a view, and the document stays
  /** @type {LiveFrame | null} */
  let last = null; // the image of the last answer
  /** @type {[number, number]} */
  let size = [32, 32];

  /** The middle of the image at the size of the network's input. @type {() => LiveFrame} */
  function frame() {
    const [height, width] = size;
    const canvas = el("canvas", { width, height });
    const context = context2d(canvas);
    const scale = Math.min(video.videoWidth / width, video.videoHeight / height);
    const [wide, tall] = [scale * width, scale * height];
    context.imageSmoothingQuality = "high";
    context.drawImage(video, (video.videoWidth - wide) / 2, (video.videoHeight - tall) / 2, wide, tall, 0, 0, width, height);
    const { data } = context.getImageData(0, 0, width, height);
    const bytes = new Uint8Array(3 * width * height);
    for (let place = 0; place < bytes.length; place += 1) bytes[place] = data[4 * Math.floor(place / 3) + (place % 3)];
    return { kind: "camera", size: [height, width], mask: false, keep: false, bytes };
  }

  /** A tab in the background draws nothing, so there the loop waits. @type {() => Promise<void>} */
  async function loop() {
    looking = true;
    while (stream) {
      const begun = performance.now();
      if (video.readyState >= video.HAVE_CURRENT_DATA) {
        last = frame();
        if (!(await follow(last))) stop("The camera was stopped: the server gave no answer. What you see is of its last image.");
      }
      await new Promise((done) => setTimeout(done, Math.max(0, begun + PAUSE_MS - performance.now())));
      await new Promise(requestAnimationFrame);
    }
    looking = false;
  }

  /** The last image becomes a picture of the session, where none was chosen. @type {(words: string, keep?: boolean) => void} */
  function stop(words, keep = true) {
    stopTracks(stream);
    if (stream && last && keep) follow({ ...last, keep: true });
    [stream, last] = [null, null];
    video.srcObject = null;
    toggle(video, false);
    setText(button, "Start the camera");
    setText(says, words);
  }

  async function start() {
    button.disabled = true;
    alert.show("");
    try {
      const camera = await navigator.mediaDevices.getUserMedia({ video: true });
      if (ended) return stopTracks(camera); // the permission came after the person had left the page
      for (const track of camera.getTracks()) {
        track.onended = () => stream === camera && stop("The camera was lost. What you see is of its last image.");
      }
      [stream, before] = [camera, chosen];
      video.srcObject = camera;
      toggle(video, true);
      setText(button, "Stop the camera");
      setText(says, "Both networks follow the camera.");
      if (!looking) loop();
    } catch {
      alert.show(navigator.mediaDevices ? DENIED : INSECURE);
    }
    button.disabled = false;
  }
  button.onclick = () => (stream ? stop("The camera is off. What you see is of its last image.") : start());
  const tellWhetherHidden = () => {
    if (!stream) return;
    setText(
      says,
      document.hidden ? "This tab is in the background: what you see is of the last image before." : "Both networks follow the camera.",
    );
  };
  document.addEventListener("visibilitychange", tellWhetherHidden, { signal: listening.signal });

  return {
    draw({ message, live, view }) {
      if (message) size = /** @type {[number, number]} */ (message.networks[0].input.slice(1).map((side) => Math.min(side, LARGEST)));
      chosen = view?.picture;
      // Before the first answer only the choice tells: the camera would go on under another image.
      if (stream && !live && (wasLive || chosen !== before)) stop("The camera is off: another image was chosen.", false);
      wasLive = live !== "";
    },
    /** The page goes. */
    end() {
      ended = true;
      listening.abort();
      stop("", false);
    },
  };
}
