// The pixels of a feature map, any of which a person can choose: a button over the map, with a mark on the chosen one.

import { movedPixel, pixelUnder } from "../arithmetic.js";
import { el, toggle, update } from "../dom.js";
import { onHover, pixelOn, tellHover } from "../links.js";

/** A pixel, in shares of its map. @type {(pixel: [row: number, column: number], height: number, width: number) => Box} */
export const boxOf = ([row, column], height, width) => ({ left: column / width, top: row / height, width: 1 / width, height: 1 / height });

/** Marks a box in shares of what it lies in. @type {(mark: HTMLElement, box: Box) => void} */
export function placeMark(mark, { left, top, width, height }) {
  Object.assign(mark.style, { left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * width}%`, height: `${100 * height}%` });
}

/**
 * @param {string} name of this picker, that no other one has
 * @param {HTMLElement} map
 * @param {(pixel: [row: number, column: number], dragged?: boolean) => void} choose
 */
export function pixelPicker(name, map, choose) {
  const mark = el("i", { className: "pixel", ariaHidden: "true" });
  const here = el("i", { className: "pixel here", ariaHidden: "true", hidden: true });
  const button = el("button", { type: "button", className: "pixels" });
  button.title = "Click a pixel to see where its number comes from.";
  const box = el("div", { className: "with-pixels" }, map, mark, here, button);
  /** @type {[number, number] | null} */
  let pixel = null;
  let [height, width] = [1, 1];
  let of = { which: 0, layer: "" };
  const under = (/** @type {MouseEvent} */ event) =>
    pixelUnder(event.offsetX / button.clientWidth, event.offsetY / button.clientHeight, width, height);
  button.onclick = (event) => choose(event.detail ? under(event) : (pixel ?? [Math.floor(height / 2), Math.floor(width / 2)]));
  button.onkeydown = (event) => {
    const moved = movedPixel(pixel, event.key, height, width);
    if (!moved) return;
    event.preventDefault();
    choose(moved, true);
  };
  button.onpointermove = (event) => tellHover({ ...of, pixel: under(event) });
  button.onpointerleave = () => tellHover(null);
  onHover(name, (hover) => {
    const at = pixelOn(hover, of.which, of.layer);
    toggle(here, at !== null);
    if (at) placeMark(here, boxOf(at, height, width));
  });
  return {
    box,
    /** Of what the map is, and which pixel is chosen. @type {(shown: {which: number, layer: string}, size: [height: number, width: number], chosen: [number, number] | null, words: string) => void} */
    update(shown, size, chosen, words) {
      [of, [height, width]] = [shown, size];
      pixel = chosen && chosen[0] < height && chosen[1] < width ? chosen : null;
      const place = pixel ? `row ${pixel[0]}, column ${pixel[1]} is chosen` : "none is chosen";
      update(button, { ariaLabel: `Pixels of ${words}: ${place}. Arrow keys choose one` });
      toggle(mark, pixel !== null);
      if (pixel) placeMark(mark, boxOf(pixel, height, width));
    },
    /** Whether there is a number behind each pixel to follow. @type {(allowed: boolean) => void} */
    allow: (allowed) => toggle(button, allowed),
  };
}
