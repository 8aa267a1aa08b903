// The frame of what the networks get, on the original: a square that the pointer and keys move and size.

import { el, setText, toggle, update } from "../dom.js";

/** Left as a share of the width, top of the height, side of the shorter side. @typedef {[left: number, top: number, side: number]} Frame */
/** Of the picture, in pixels. @typedef {[width: number, height: number]} Size */

const SMALLEST = 0.02; // side
const STEP = 0.02; // of the picture, for each press of an arrow key
const LARGER = 1.15;
const KEYS_MS = 250; // after the last press of a key, before the networks are asked

/** @type {(value: number, least: number, most: number) => number} */
const within = (value, least, most) => Math.min(Math.max(value, least), Math.max(least, most));

/** The side as shares of the width and the height. @type {(side: number, size: Size) => [number, number]} */
export const extent = (side, [width, height]) => [(side * Math.min(width, height)) / width, (side * Math.min(width, height)) / height];

/** The same size, or less, inside the picture. @type {(frame: Frame, size: Size) => Frame} */
export function limitFrame([left, top, side], size) {
  const limited = within(side, SMALLEST, 1);
  const [wide, tall] = extent(limited, size);
  return [within(left, 0, 1 - wide), within(top, 0, 1 - tall), limited];
}

/** Another side about the same centre. @type {(frame: Frame, side: number, size: Size) => Frame} */
export function sizeFrame([left, top, before], side, size) {
  const limited = within(side, SMALLEST, 1);
  const [[wide, tall], [wider, taller]] = [extent(before, size), extent(limited, size)];
  return limitFrame([left + (wide - wider) / 2, top + (tall - taller) / 2, limited], size);
}

/** The square about the centre of the part that a network gets. @type {(part: number[], size: Size) => Frame} */
export function frameOf([left, top, wide, tall], size) {
  const side = Math.min(Math.max(wide * size[0], tall * size[1]) / Math.min(...size), 1);
  const [width, height] = extent(side, size);
  return limitFrame([left + (wide - width) / 2, top + (tall - height) / 2, side], size);
}

/** As in a link. @type {(frame: Frame) => string} */
export const formatFrame = (frame) => frame.map((share) => Number(within(share, 0, 1).toFixed(4))).join(",");

/** @type {(text: string) => Frame} */
export const parseFrame = (text) => /** @type {Frame} */ (text.split(",").map(Number));

/** @type {(share: number) => string} */
const percent = (share) => `${Math.round(100 * share)}%`;

/**
 * `canvas` shows the original. `choose` takes the frame of a link, null for what each network gets by itself.
 * @param {HTMLCanvasElement} canvas
 * @param {(frame: string | null) => void} choose
 */
export function frameView(canvas, choose) {
  const square = el("button", { type: "button", className: "square" }, el("span", { className: "grip" }));
  square.title = "Drag it, or use the arrow keys, + and −.";
  const status = el("p", { className: "unseen", role: "status" });
  /** @type {(words: string, name: string, onclick: () => void) => HTMLButtonElement} */
  const button = (words, name, onclick) => el("button", { type: "button", ariaLabel: name, title: name, onclick }, words);
  const smaller = button("−", "Smaller frame", () => step(sizeFrame(frame, frame[2] / LARGER, size)));
  const larger = button("+", "Larger frame", () => step(sizeFrame(frame, frame[2] * LARGER, size)));
  const reset = button("Reset", "Reset the frame", () => send(null));
  const row = el("div", { className: "frame-row", role: "group", ariaLabel: "Frame" }, el("span", {}, "Frame"), smaller, larger, reset);
  const box = el("div", { className: "framed" }, canvas, square);
  /** @type {Frame} */
  let frame = [0, 0, 1];
  /** @type {Size} */
  let size = [1, 1];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let later;
  let picture = "";
  let who = "the networks";
  /** Where a drag began, in shares of the picture. @type {{x: number, y: number, before: Frame, frame: Frame, sizes: boolean, moved: boolean} | null} */
  let drag = null;

  function draw() {
    const [wide, tall] = extent(frame[2], size);
    const [left, top, width, height] = [frame[0], frame[1], wide, tall].map((share) => `${100 * share}%`);
    Object.assign(square.style, { left, top, width, height });
    const place = `${percent(frame[0])} from the left, ${percent(frame[1])} from the top`;
    update(square, { ariaLabel: `Frame of what the networks get: ${percent(frame[2])} of the shorter side, ${place}` });
    const isWhole = wide * tall > 0.999;
    square.classList.toggle("whole", isWhole);
    setText(status, isWhole ? "" : `Dark: not seen by ${who}.`);
  }
  /** @type {(now: Frame) => void} */
  function show(now) {
    frame = limitFrame(now, size);
    draw();
  }
  /** @type {(chosen: string | null) => void} */
  function send(chosen) {
    clearTimeout(later);
    later = undefined;
    choose(chosen);
  }
  /** @type {(now: Frame) => void} */
  function step(now) {
    show(now);
    clearTimeout(later);
    later = setTimeout(() => send(formatFrame(frame)), KEYS_MS);
  }
  /** @type {(event: PointerEvent) => {x: number, y: number}} */
  function placeOf(event) {
    const { left, top, width, height } = box.getBoundingClientRect();
    return { x: (event.clientX - left) / width, y: (event.clientY - top) / height };
  }
  box.onpointerdown = (event) => {
    if (event.button) return;
    const [at, before] = [placeOf(event), frame];
    const [wide, tall] = extent(frame[2], size);
    if (event.target === canvas) show([at.x - wide / 2, at.y - tall / 2, frame[2]]); // the frame comes there
    drag = { ...at, before, frame, sizes: event.target === square.firstElementChild, moved: event.target === canvas };
    box.setPointerCapture(event.pointerId);
    square.focus({ preventScroll: true });
    event.preventDefault();
  };
  box.onpointermove = (event) => {
    if (!drag) return;
    const { x, y } = placeOf(event);
    const [left, top, side] = drag.frame;
    const [wide, tall] = extent(1, size);
    drag.moved ||= Math.hypot((x - drag.x) * box.clientWidth, (y - drag.y) * box.clientHeight) > 2;
    if (!drag.moved) return;
    const more = Math.max((x - drag.x) / wide, (y - drag.y) / tall);
    const most = Math.min((1 - left) / wide, (1 - top) / tall);
    if (drag.sizes) show([left, top, within(side + more, SMALLEST, most)]);
    else show([left + x - drag.x, top + y - drag.y, side]);
  };
  box.onpointerup = () => {
    if (drag?.moved) send(formatFrame(frame));
    drag = null;
  };
  box.onpointercancel = () => {
    if (drag) show(drag.before); // the finger scrolls the page
    drag = null;
  };
  square.onkeydown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const far = event.shiftKey ? 5 * STEP : STEP;
    const [left, top, side] = frame;
    /** @type {Record<string, Frame>} */
    const moved = {
      ArrowLeft: [left - far, top, side],
      ArrowRight: [left + far, top, side],
      ArrowUp: [left, top - far, side],
      ArrowDown: [left, top + far, side],
      "+": sizeFrame(frame, side * LARGER, size),
      "=": sizeFrame(frame, side * LARGER, size),
      "-": sizeFrame(frame, side / LARGER, size),
    };
    if (!moved[event.key]) return;
    event.preventDefault();
    step(moved[event.key]);
  };

  return {
    parts: [box, row, status],
    /** @type {(chosen: string | null, parts: Predictions["networks"], now: Size, of: string) => void} */
    show(chosen, networks, now, of) {
      if (of !== picture) {
        clearTimeout(later); // that frame is of the picture before
        [picture, later, drag] = [of, undefined, null];
      }
      size = now;
      const same = networks.every(({ part }) => String(part) === String(networks[0].part));
      who = same ? (networks.length > 1 ? "the networks" : "the network") : networks[0].title;
      toggle(reset, chosen !== null);
      if (!drag && !later) show(chosen === null ? frameOf(networks[0].part, size) : parseFrame(chosen));
    },
  };
}
