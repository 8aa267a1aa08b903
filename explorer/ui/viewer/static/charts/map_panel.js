// Maps of layers by training steps, one for each network, on one colour scale.

import { el, svgEl } from "../dom.js";
import { formatReading } from "../format.js";
import { across, label, toX, toY } from "./frame.js";
import { clamp } from "./span.js";
import { tickedBar } from "./ticked_bar.js";
import { reached } from "./ticks.js";

const LETTER = 5.8; // pixels of a letter, about
const MAX_LEFT = 150;
const LEGIBLE_PX = 11; // of a row that has room for its name
const COLUMN_PX = 34; // that the number of a step takes

/** @param {Frame} frame pixels of one cell */
const cellSize = ({ width, height, x, y }) => [width / (x[1] - x[0]), height / (y[1] - y[0])];

/** @type {(data: MapData, surface: Surface) => void} */
function drawPanel({ rows, columns, groups, panels }, { index, frame, svg, inside, until, id }) {
  const [width, height] = cellSize(frame);
  const hatch = svgEl("path", { d: "M0 6L6 0M-1 1L1 -1M5 7L7 5", class: "hatch" });
  const whole = { x: toX(frame, 0), y: toY(frame, 0), width: width * columns.length, height: height * rows.length };
  inside.append(
    svgEl("pattern", { id: `hatch-${id}`, width: 6, height: 6, patternUnits: "userSpaceOnUse" }, hatch),
    svgEl("rect", { x: frame.left, y: frame.top, width: frame.width, height: frame.height, fill: `url(#hatch-${id})` }),
    svgEl("clipPath", { id: `there-${id}` }, svgEl("rect", { ...whole, width: width * reached(columns, until) })),
    svgEl("image", { href: panels[index].image, ...whole, preserveAspectRatio: "none", "clip-path": `url(#there-${id})` }),
  );
  const every = Math.ceil(COLUMN_PX / width);
  for (let column = Math.ceil(frame.x[0] - 0.5); column < frame.x[1] - 0.4; column += 1) {
    if (column < 0 || column % every) continue;
    label(svg, toX(frame, column + 0.5), frame.top + frame.height + 15, String(columns[column]), "middle");
  }
  const [top, bottom] = frame.y;
  for (const { start } of groups) if (start > top && start < bottom) across(inside, frame, toY(frame, start), "cut");
  if (index) return; // the names stand beside the first panel
  label(svg, frame.left - 6, 14, "input ↓ output", "end");
  const names =
    height >= LEGIBLE_PX
      ? rows.map((text, row) => ({ text, at: row + 0.5 }))
      : groups.map(({ label: text, start, end }) => ({ text, at: (Math.max(start, top) + Math.min(end, bottom)) / 2 }));
  for (const { text, at } of names) if (at > top && at < bottom) label(svg, frame.left - 6, toY(frame, at) + 3, text, "end");
}

/** The sizes in the cell under the cursor. @type {(data: MapData, cursor: {x: number, y: number}, until: number) => Reading} */
export function readMaps({ rows, columns, panels }, cursor, until) {
  const column = clamp(Math.floor(cursor.x), 0, columns.length - 1);
  const row = clamp(Math.floor(cursor.y), 0, rows.length - 1);
  const isThere = columns[column] <= until;
  return {
    heading: `${rows[row]}, step ${columns[column]}`,
    rows: panels.map(({ colour, title, sizes }) => [colour, title, isThere ? formatReading(sizes[row][column]) : "not reached yet"]),
  };
}

/** @type {(data: MapData) => Panels} */
export const mapPanels = (data) => ({
  isMap: true,
  full: { x: [0, data.columns.length], y: [0, data.rows.length] },
  least: 2,
  axis: "training step",
  panels: data.panels,
  layout: () => ({
    left: Math.min(MAX_LEFT, 14 + LETTER * Math.max(...data.rows.map((name) => name.length))),
    gap: 18,
    height: clamp(15 * data.rows.length, 200, 460),
    columns: data.panels.length,
  }),
  spanY: (_, view) => view?.y ?? [0, data.rows.length],
  draw: (surface) => drawPanel(data, surface),
  mark(over, frame, cursor) {
    const [width, height] = cellSize(frame);
    const [x, y] = [toX(frame, Math.floor(cursor.x)), toY(frame, Math.floor(cursor.y))];
    over.append(svgEl("rect", { x, y, width, height, class: "cell" }));
  },
  read: (cursor, until) => readMaps(data, cursor, until),
  legend: () => [],
  bar() {
    const { parts, setMarks } = tickedBar(data.bar);
    setMarks(data.bar.ticks);
    const lines = svgEl("path", { d: "M-2 6L6 -2M-1 11L11 -1M5 13L16 2", class: "hatch" });
    const none = svgEl("svg", { width: 14, height: 11, class: "none" }, lines);
    const zero = el("span", {}, el("i", { style: `background:${data.bar.zero}` }), "exactly zero");
    return [...parts, zero, el("span", {}, none, "not measured")];
  },
});
