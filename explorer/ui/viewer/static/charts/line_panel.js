// Lines over training steps.

import { el, svgEl } from "../dom.js";
import { formatReading } from "../format.js";
import { drawMarks, markAt } from "./dial_marks.js";
import { across, label, toX, toY } from "./frame.js";
import { nearest, reached, ticks } from "./ticks.js";

const LEFT = 46;
const NARROW = 560; // pixels within which two panels do not fit beside each other
const DOT = 3.2; // pixels of a radius

/**
 * The values from the top of the panel to its bottom.
 * @param {LinePanel} panel
 * @param {ChartView | null} view null: all steps
 * @returns {Span}
 */
export function valueSpan({ percent, lines }, view) {
  if (view === null && percent) return [1, 0];
  const [from, to] = view?.x ?? [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const line of lines) {
    line.x.forEach((x, index) => {
      const y = line.y[index];
      if (x < from || x > to || y === null) return;
      low = Math.min(low, y);
      high = Math.max(high, y);
    });
  }
  if (low > high) return [1, 0];
  if (view === null) low = 0;
  const air = (high - low || Math.abs(high) || 1) * 0.05;
  return [high + air, view === null ? 0 : low - air];
}

/** @type {(look: LineLook) => { stroke: string; class: string; "stroke-dasharray": string; }} */
const stroke = ({ colour, dashed, points }) => ({
  stroke: colour,
  class: points ? "line" : "line running",
  "stroke-dasharray": dashed ? "6 4" : "",
});

/** @type {(panel: LinePanel, surface: Surface) => void} */
function drawPanel({ percent, lines }, { frame, svg, inside, until }) {
  for (const tick of ticks(frame.y[1], frame.y[0], 5)) {
    const y = toY(frame, tick);
    across(inside, frame, y, "rule");
    label(svg, frame.left - 6, y + 3, percent ? `${Number((100 * tick).toFixed(3))}%` : String(tick), "end");
  }
  for (const tick of ticks(...frame.x, frame.width / 70)) {
    label(svg, toX(frame, tick), frame.top + frame.height + 15, String(tick), "middle");
  }
  for (const line of lines) {
    let [path, pen] = ["", "M"];
    const dots = [];
    for (let index = 0; index < reached(line.x, until); index += 1) {
      const y = line.y[index];
      if (y === null) {
        pen = "M";
        continue;
      }
      const [cx, cy] = [toX(frame, line.x[index]), toY(frame, y)];
      path += `${pen}${cx.toFixed(1)} ${cy.toFixed(1)}`;
      pen = "L";
      if (line.points) dots.push(svgEl("circle", { cx, cy, r: DOT, fill: line.colour }));
    }
    inside.append(svgEl("path", { d: path, ...stroke(line) }), ...dots);
  }
}

/** The values of all lines at the steps nearest to the cursor, and the dials that were turned last. @type {(data: LineData, cursor: {x: number}, until: number) => Reading} */
export function readLines({ legend, panels, marks = [] }, cursor, until) {
  /** @type {Reading["rows"]} */
  const rows = legend.map(({ name, colour, points }) => {
    const found = panels.flatMap(({ title, percent, lines }) => {
      const line = lines.find((each) => each.name === name);
      const there = line ? line.x.slice(0, reached(line.x, until)) : [];
      if (!line || !there.length) return [];
      const at = nearest(there, cursor.x);
      const value = line.y[at];
      const text = percent && value !== null ? `${(100 * value).toFixed(1)}%` : formatReading(value);
      return [{ step: line.x[at], text: `${title.toLowerCase()} ${text}` }];
    });
    if (!found.length) return [colour, name, "nothing yet"];
    return [colour, name, found.map(({ text }) => text).join(", ") + (points ? ` (step ${found[0].step})` : "")];
  });
  const mark = markAt(marks, Math.min(cursor.x, until));
  if (mark) rows.push(["inherit", `dial at step ${mark.x}`, mark.text]);
  return { heading: `step ${Math.round(cursor.x)}`, rows };
}

/** @type {(data: LineData) => Panels} */
export const linePanels = (data) => ({
  isMap: false,
  full: { x: [0, data.last], y: [0, 1] },
  least: 1,
  panels: data.panels,
  axis: "training step",
  layout: (width) => ({ left: LEFT, gap: LEFT + 24, height: width < NARROW ? 170 : 250, columns: width < NARROW ? 1 : data.panels.length }),
  spanY: (index, view) => valueSpan(data.panels[index], view),
  draw(surface) {
    drawPanel(data.panels[surface.index], surface);
    drawMarks(surface.inside, data.marks ?? [], surface.frame, surface.until);
  },
  mark(over, frame, cursor) {
    const x = toX(frame, cursor.x);
    over.append(svgEl("line", { x1: x, x2: x, y1: frame.top, y2: frame.top + frame.height, class: "cross" }));
  },
  read: (cursor, until) => readLines(data, cursor, until),
  legend: () =>
    data.legend.map((look) => {
      const key = svgEl("svg", { width: 26, height: 10 }, svgEl("path", { d: "M0 5H26", ...stroke(look) }));
      if (look.points) key.append(svgEl("circle", { cx: 13, cy: 5, r: DOT, fill: look.colour }));
      return el("span", {}, key, look.name);
    }),
  bar: () => [],
});
