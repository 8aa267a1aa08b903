// A picture from the camera.

import { alertBox, context2d, el, setText } from "../dom.js";

const QUALITY = 0.95; // of the JPEG
export const DENIED = "The browser gives no camera. Allow it beside the address of this page, or choose a file.";
export const INSECURE = "A browser gives its camera only to pages of this computer and over https. Choose a file.";

/** The camera goes off. @type {(camera: MediaStream | null) => void} */
export const stopTracks = (camera) => {
  for (const track of camera?.getTracks() ?? []) track.stop();
};

/** @type {(root: HTMLElement, choose: (file: File) => void) => {draw: (state: State) => void, end: () => void}} */
export function cameraView(root, choose) {
  const video = el("video", { autoplay: true, muted: true, playsInline: true, ariaLabel: "What the camera sees" });
  const button = el("button", { type: "button", disabled: true }, "Take a photo");
  const status = el("p", { className: "status", role: "status" });
  const alert = alertBox();
  root.replaceChildren(video, button, status, alert.box);
  /** @type {MediaStream | null} */
  let stream = null;
  let [problem, ended] = ["", false];

  const start = async () => {
    try {
      const camera = await navigator.mediaDevices.getUserMedia({ video: true });
      if (ended) return stopTracks(camera);
      stream = camera;
      video.srcObject = camera;
    } catch {
      problem = navigator.mediaDevices ? DENIED : INSECURE;
      alert.show(problem);
    }
  };
  video.onloadeddata = () => {
    button.disabled = false; // before that the camera has shown nothing, and a photo would be empty
  };
  button.onclick = () => {
    const canvas = el("canvas", { width: video.videoWidth, height: video.videoHeight });
    context2d(canvas).drawImage(video, 0, 0);
    canvas.toBlob((blob) => blob && choose(new File([blob], "camera.jpg", { type: blob.type })), "image/jpeg", QUALITY);
  };

  start();
  return {
    draw(state) {
      setText(status, state.uploading ? "Reading the image" : "");
      alert.show(problem || state.uploadError);
    },
    /** The camera goes off. */
    end() {
      ended = true;
      stopTracks(stream);
    },
  };
}
