// A canvas of the network's input: a shape drawn freehand, or any image painted over. Both networks follow the hand.

import { el, find, paintImage, setText, update } from "../dom.js";
import { blank, copyOf, frameOf, over, rgbOf, shape, stroke } from "../drawing.js";
import { rasterAt } from "../message.js";
import { rgbImage } from "./overlay.js";

const UNDO = 30; // strokes that can be taken back
const REST_MS = 500; // after the last key, before the drawing counts as one picture
const LARGEST = 512; // pixels of a side, which the server takes
const TOOLS = { shape: "Shape", brush: "Brush", erase: "Eraser" };
/** @type {Record<string, Point>} */
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const HELP =
  "A shape is filled as it closes. With keys: arrows move the brush, Space paints, Shift with an arrow draws a line. What you draw stays in your session.";

/** @type {(root: HTMLElement, choose: Choose, follow: Follow) => Draw} */
export function drawingView(root, choose, follow) {
  const canvas = el("canvas", { tabIndex: 0, role: "application", ariaLabel: "Drawing canvas" });
  canvas.setAttribute("aria-describedby", "drawing-help");
  const ring = el("div", { className: "ring", hidden: true });
  const colour = el("input", { type: "color", value: "#f2c14e" });
  const size = el("input", { type: "range", min: "1", max: "12", step: "1", value: "4" });
  const tools = Object.entries(TOOLS).map(([name, words]) => {
    const button = el("button", { type: "button", ariaPressed: String(name === "shape") }, words);
    button.onclick = () => {
      tool = name;
      for (const other of tools) update(other, { ariaPressed: String(other === button) });
    };
    return button;
  });
  const undo = el("button", { type: "button", disabled: true }, "Undo");
  const clear = el("button", { type: "button", title: "All that was painted on this canvas goes." }, "Clear");
  const empty = el("button", { type: "button", title: "A canvas of the mean colour: what you draw is the object." }, "Blank canvas");
  const copy = el("button", { type: "button", title: "As the first network gets it." }, "Paint over this image");
  const says = el("p", { className: "status", role: "status" });
  root.replaceChildren(
    el(
      "details",
      {},
      el("summary", {}, "Draw or paint"),
      el(
        "div",
        { className: "studio" },
        el("div", { className: "easel" }, canvas, ring),
        el(
          "div",
          { className: "tools" },
          el("div", { role: "group", ariaLabel: "Tool" }, ...tools),
          el("div", {}, el("label", {}, "Colour ", colour), el("label", {}, "Size ", size)),
          el("div", {}, undo, clear, empty, copy),
          el("p", { id: "drawing-help" }, HELP),
          says,
        ),
      ),
    ),
  );
  let tool = "shape";
  /** @type {Drawing | null} */
  let drawing = null;
  /** @type {Drawing | null} */
  let begun = null; // the canvas as it began
  /** @type {Drawing[]} */
  let before = []; // of each stroke
  /** @type {Point[]} */
  let points = []; // of the stroke
  /** @type {Point} */
  let brush = [0, 0];
  /** @type {Message | null} */
  let message = null;
  let framed = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let resting;

  function paint() {
    if (!drawing) return;
    paintImage(canvas, rgbImage({ values: new Uint8Array(drawing.pixels.buffer), width: drawing.width, height: drawing.height }));
    const { mask } = drawing;
    const covered = mask?.reduce((sum, at) => sum + at, 0) ?? 0;
    const object = covered
      ? `The drawn object covers ${Math.round((100 * covered) / canvas.width / canvas.height)}%.`
      : "Nothing is drawn yet.";
    setText(says, mask ? object : "Painted over an image: no object is marked.");
    update(undo, { disabled: before.length === 0 });
  }

  /** Both networks look at it. @type {(keep: boolean) => void} */
  function send(keep) {
    clearTimeout(resting);
    paint();
    if (drawing) follow(frameOf(drawing, keep));
  }

  /** @type {(now: Drawing) => void} */
  function begin(now) {
    [drawing, begun, before] = [now, copyOf(now), []];
    brush = [Math.floor(now.width / 2) + 0.5, Math.floor(now.height / 2) + 0.5];
    paint();
  }

  function keepBefore() {
    if (!drawing) return;
    before.push(copyOf(drawing));
    before = before.slice(-UNDO);
  }

  /** A part of the stroke; a shape is drawn anew from what was before it. @type {(more: Point[]) => void} */
  function add(more) {
    if (!drawing || !more.length) return;
    const last = points.slice(-1);
    points.push(...more);
    if (tool !== "shape") return stroke(drawing, [...last, ...more], Number(size.value), tool === "erase" ? null : rgbOf(colour.value));
    drawing = copyOf(before[before.length - 1]);
    shape(drawing, points, Number(size.value), rgbOf(colour.value));
  }

  /** @type {(event: PointerEvent) => Point} */
  const pointOf = ({ clientX, clientY }) => {
    const { left, top, width, height } = canvas.getBoundingClientRect();
    return [((clientX - left) / width) * canvas.width, ((clientY - top) / height) * canvas.height];
  };
  canvas.onpointerdown = (event) => {
    if (event.button !== 0 || points.length) return;
    canvas.setPointerCapture(event.pointerId);
    keepBefore();
    add([pointOf(event)]);
    send(false);
  };
  canvas.onpointermove = (event) => {
    if (!points.length || !canvas.hasPointerCapture(event.pointerId)) return;
    const events = event.getCoalescedEvents?.() ?? [];
    add((events.length ? events : [event]).map(pointOf));
    send(false);
  };
  canvas.onpointerup = canvas.onpointercancel = () => {
    if (!points.length) return;
    points = [];
    send(true);
  };
  canvas.onkeydown = (event) => {
    const step = KEYS[event.key];
    if (!drawing || (!step && event.key !== " ")) return;
    event.preventDefault();
    const from = brush;
    if (step)
      brush = [
        Math.min(Math.max(from[0] + step[0], 0.5), drawing.width - 0.5),
        Math.min(Math.max(from[1] + step[1], 0.5), drawing.height - 0.5),
      ];
    place();
    if (step && !event.shiftKey) return;
    keepBefore();
    add(step ? [from, brush] : [brush]);
    points = [];
    send(false);
    resting = setTimeout(() => send(true), REST_MS);
  };
  canvas.onfocus = () => update(ring, { hidden: !canvas.matches(":focus-visible") });
  canvas.onblur = () => update(ring, { hidden: true });
  function place() {
    if (!drawing) return;
    update(ring, { hidden: false });
    Object.assign(ring.style, { left: `${(100 * brush[0]) / drawing.width}%`, top: `${(100 * brush[1]) / drawing.height}%` });
  }
  undo.onclick = () => {
    drawing = before.pop() ?? drawing;
    send(true);
  };
  clear.onclick = () => {
    if (!begun) return;
    keepBefore();
    drawing = copyOf(begun);
    send(true);
  };
  const start = () => {
    if (!message) return;
    const [, height, width] = message.networks[0].input;
    begin(blank(Math.min(width, LARGEST), Math.min(height, LARGEST), message.mean));
  };
  empty.onclick = start;
  copy.onclick = () => {
    if (!message) return;
    begin(over(rasterAt(message.body, message.networks[0].input, 3)));
    if (!message.predictions.changed && !framed) return;
    choose({ dials: "", frame: null, attack: "" }, true); // they are in the pixels
    send(true);
  };
  find(root, "summary").onclick = () => {
    if (!drawing) start();
  };
  return (state) => {
    message = state.message;
    framed = Boolean(state.view?.frame);
  };
}
