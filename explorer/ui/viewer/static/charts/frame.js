// Where panels lie in a drawing, and how data become pixels there.

import { svgEl } from "../dom.js";

const TOP = 24;
const BOTTOM = 38;
const RIGHT = 10;

/**
 * Panels of one size, row by row.
 * @type {(count: number, width: number, layout: Layout) => {boxes: Box[], height: number}}
 */
export function layPanels(count, width, { left, gap, height, columns }) {
  const each = (width - left - RIGHT - gap * (columns - 1)) / columns;
  const whole = TOP + height + BOTTOM;
  const boxes = Array.from({ length: count }, (_, index) => ({
    left: left + (index % columns) * (each + gap),
    top: TOP + Math.floor(index / columns) * whole,
    width: each,
    height,
  }));
  return { boxes, height: whole * Math.ceil(count / columns) };
}

/** @type {(frame: Frame, x: number) => number} */
export const toX = ({ left, width, x: [from, to] }, x) => left + ((x - from) / (to - from)) * width;

/** @type {(frame: Frame, y: number) => number} */
export const toY = ({ top, height, y: [from, to] }, y) => top + ((y - from) / (to - from)) * height;

/** A number or a name beside a frame. @type {(parent: Element, x: number, y: number, text: string, anchor: "middle" | "end") => void} */
export function label(parent, x, y, text, anchor) {
  parent.append(svgEl("text", { x, y, "text-anchor": anchor, class: "tick" }, text));
}

/** A line through the frame at the pixel `y`. @type {(parent: Element, frame: Frame, y: number, className: string) => void} */
export function across(parent, { left, width }, y, className) {
  parent.append(svgEl("line", { x1: left, x2: left + width, y1: y, y2: y, class: className }));
}
