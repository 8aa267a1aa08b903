// Upright lines at the steps where a user turned dials of a training, each with its text.

import { svgEl } from "../dom.js";
import { toX } from "./frame.js";

const LETTER_PX = 5.6; // of a tick's font, on average
const ROW_PX = 13;
const ROWS = 6; // texts under each other; of more marks at one place the last ones have a line alone
const GAP_PX = 5;

/**
 * Where the marks of a frame lie that training has come to, in pixels; a text stands on the side where it has room, in
 * the highest row that is free, and has the row -1 where none is.
 * @type {(marks: DialMark[], frame: Frame, until: number) => {x: number, left: number, row: number, text: string}[]}
 */
export function layMarks(marks, frame, until) {
  const ends = Array.from({ length: ROWS }, () => Number.NEGATIVE_INFINITY);
  const [from, to] = frame.x;
  return marks
    .filter(({ x }) => x >= from && x <= to && x <= until)
    .map(({ x: step, text }) => {
      const x = toX(frame, step);
      const wide = text.length * LETTER_PX;
      const fits = x + GAP_PX + wide <= frame.left + frame.width;
      const left = fits ? x + GAP_PX : Math.max(frame.left, x - GAP_PX - wide);
      const row = ends.findIndex((end) => end <= left);
      if (row >= 0) ends[row] = left + wide + GAP_PX;
      return { x, left, row, text };
    });
}

/** @type {(inside: Element, marks: DialMark[], frame: Frame, until: number) => void} */
export function drawMarks(inside, marks, frame, until) {
  const laid = layMarks(marks, frame, until);
  for (const { x } of laid) inside.append(svgEl("line", { x1: x, x2: x, y1: frame.top, y2: frame.top + frame.height, class: "dial" }));
  for (const { left, row, text } of laid.filter((mark) => mark.row >= 0))
    inside.append(svgEl("text", { x: left, y: frame.top + ROW_PX * (row + 1), class: "dial-text" }, text));
}

/** The newest mark at or before a step, or undefined. @type {(marks: DialMark[], step: number) => DialMark | undefined} */
export const markAt = (marks, step) => marks.filter(({ x }) => x <= step).at(-1);
