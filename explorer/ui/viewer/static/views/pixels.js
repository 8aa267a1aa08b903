// The pixels of a feature map, any of which a person can choose: a button over the map, with a mark on the chosen one.

import { movedPixel, pixelOf, pixelUnder } from "../arithmetic.js";
import { el, toggle, update } from "../dom.js";

/** Marks a box in shares of what it lies in. @type {(mark: HTMLElement, box: Box) => void} */
export function placeMark(mark, { left, top, width, height }) {
  Object.assign(mark.style, { left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * width}%`, height: `${100 * height}%` });
}

/** The pixel of a hovered map, by network: the arithmetic outlines its window. @type {EventTarget} */
export const hovered = new EventTarget();

/**
 * @param {number} which network
 * @param {HTMLCanvasElement} canvas the map
 * @param {Select} select
 */
export function pixelPicker(which, canvas, select) {
  const mark = el("i", { className: "pixel", ariaHidden: "true" });
  const button = el("button", { type: "button", className: "pixels" });
  const box = el("div", { className: "with-pixels" }, canvas, mark, button);
  /** @type {[number, number] | null} */
  let pixel = null;
  let [channel, height, width] = [0, 1, 1];
  /** @type {(chosen: [number, number], dragged?: boolean) => void} */
  const choose = ([row, column], dragged) => select({ channel, at: `${row},${column}` }, dragged);
  const under = (/** @type {MouseEvent} */ event) =>
    pixelUnder(event.offsetX / button.clientWidth, event.offsetY / button.clientHeight, width, height);
  button.onclick = (event) => choose(event.detail ? under(event) : (pixel ?? [Math.floor(height / 2), Math.floor(width / 2)]));
  button.onkeydown = (event) => {
    const moved = movedPixel(pixel, event.key, height, width);
    if (!moved) return;
    event.preventDefault();
    choose(moved, true);
  };
  const tell = (/** @type {[number, number] | null} */ at) => hovered.dispatchEvent(new CustomEvent("pixel", { detail: { which, at } }));
  button.onpointermove = (event) => tell(under(event));
  button.onpointerleave = () => tell(null);
  return {
    box,
    /** @type {(shown: number, rows: number, columns: number, at: string | null, name: string) => void} */
    update(shown, rows, columns, at, name) {
      [channel, height, width] = [shown, rows, columns];
      pixel = pixelOf(at);
      if (pixel && (pixel[0] >= height || pixel[1] >= width)) pixel = null;
      const place = pixel ? `row ${pixel[0]}, column ${pixel[1]} is chosen` : "none is chosen";
      update(button, { ariaLabel: `Pixels of ${name}: ${place}. Arrow keys choose one` });
      button.title = "Click a pixel to see where its number comes from.";
      toggle(mark, pixel !== null);
      if (pixel) placeMark(mark, { left: pixel[1] / width, top: pixel[0] / height, width: 1 / width, height: 1 / height });
    },
  };
}
