// Sizes along the depth of networks: decades upwards, with places for exactly 0 below and for no finite number above.

import { el, svgEl } from "../dom.js";
import { formatReading } from "../format.js";
import { across, label, toX, toY } from "./frame.js";
import { nearest, ticks } from "./ticks.js";

const TICK_PX = 58; // that the word of a tick takes
const LETTER = 7.6; // pixels of a letter of a label, about
const LINE_PX = 14; // between two labels
const NARROW = 560; // pixels within which two panels do not fit beside each other
const MARK = 3.4; // pixels of a radius

/** Where sizes lie, in powers of ten. @type {(data: Pick<ProfileData, "decades" | "lost">) => Heights} */
export function heightsOf({ decades: [low, high], lost }) {
  const gap = Math.max(0.35, 0.1 * (high - low));
  const [zero, top] = [low - gap, high + gap];
  return {
    zero,
    top,
    span: [lost ? top + 0.4 * gap : high + 0.3 * gap, zero - 0.4 * gap],
    place: (size) => (size === null ? null : size > 0 ? Math.log10(size) : zero),
  };
}

/** 0.01, 1, 100, 10⁵. @type {(power: number) => string} */
export function powerText(power) {
  if (power >= -2 && power <= 3) return String(Number((10 ** power).toPrecision(1)));
  return `10${[...String(power)].map((sign) => (sign === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(sign)])).join("")}`;
}

/** Labels at these heights in pixels, in order, pushed apart within `lowest`. @type {(wanted: number[], lowest: number) => number[]} */
export function pushedApart(wanted, lowest) {
  const order = wanted.map((_, index) => index).sort((one, other) => wanted[one] - wanted[other]);
  const places = [...wanted];
  order.forEach((index, at) => {
    if (at) places[index] = Math.max(places[index], places[order[at - 1]] + LINE_PX);
  });
  let limit = lowest;
  for (const index of order.toReversed()) {
    places[index] = Math.min(places[index], limit);
    limit = places[index] - LINE_PX;
  }
  return places;
}

/** A path through the places that are known. @type {(points: ([number, number] | null)[]) => string} */
function path(points) {
  let pen = "M";
  return points
    .map((point) => {
      const text = point ? `${pen}${point[0].toFixed(1)} ${point[1].toFixed(1)}` : "";
      pen = point ? "L" : "M";
      return text;
    })
    .join("");
}

/** The look of a line, and of its entry in the legend. @type {(look: ProfileLook) => Record<string, string | number>} */
const stroke = ({ colour, dashed, width }) => ({
  class: "line",
  style: `stroke:${colour};stroke-width:${width}`,
  "stroke-dasharray": dashed ? "6 4" : "",
});

/** @type {(line: ProfileLine, heights: Heights, surface: Surface) => void} */
function drawLine(line, { place, zero, top }, { frame, inside }) {
  /** @type {(size: number | null, index: number) => [number, number] | null} */
  const point = (size, index) => {
    const height = place(size);
    return height === null ? null : [toX(frame, line.x[index]), toY(frame, height)];
  };
  const points = line.median.map(point);
  if (line.n > 1) {
    const [low, high] = [line.low.map(point), line.high.map(point)];
    for (let start = 0; start < low.length; start += 1) {
      let end = start;
      while (end < low.length && low[end] && high[end]) end += 1;
      if (end === start) continue;
      const around = [...high.slice(start, end), ...low.slice(start, end).reverse()];
      inside.append(svgEl("path", { d: `${path(around)}Z`, class: "spread", style: `fill:${line.colour}` }));
      start = end;
    }
  }
  inside.append(svgEl("path", { d: path(points), ...stroke(line) }));
  const isShort = line.x.length < 3;
  for (const found of points) {
    if (!found || !(line.squares || isShort)) continue;
    const [x, y] = found;
    inside.append(svgEl("rect", { x: x - 2.5, y: y - 2.5, width: 5, height: 5, style: `fill:${line.colour}` }));
  }
  line.x.forEach((depth, index) => {
    const cx = toX(frame, depth);
    const mark = { class: "mark", style: `stroke:${line.colour}` };
    if (line.zeros[index]) inside.append(svgEl("circle", { cx, cy: toY(frame, zero), r: MARK, ...mark }));
    const cy = toY(frame, top);
    const cross = `M${cx - MARK} ${cy - MARK}l${2 * MARK} ${2 * MARK}m0 ${-2 * MARK}l${-2 * MARK} ${2 * MARK}`;
    if (line.lost[index]) inside.append(svgEl("path", { d: cross, ...mark }));
  });
}

/** The first size of a line within the view, as a height. @type {(line: ProfileLine, heights: Heights, from: number) => number} */
function startOf({ x, median }, { place, top }, from) {
  const index = median.findIndex((size, at) => size !== null && x[at] >= from);
  return (index < 0 ? null : place(median[index])) ?? top;
}

/** @type {(data: ProfileData, surface: Surface, isFirst: boolean) => void} */
function drawProfile(data, surface, isFirst) {
  const { frame, svg, inside, index } = surface;
  const { lines } = data.panels[index];
  const heights = heightsOf(data);
  const [low, high] = data.decades;
  const gutter = gutterOf(data);
  const step = Math.ceil((high - low) / Math.max(2, frame.height / 34));
  for (let power = Math.ceil(low / step) * step; power <= high; power += step) {
    const y = toY(frame, power);
    across(inside, frame, y, "rule");
    if (isFirst) label(svg, frame.left - gutter, y + 3, powerText(power), "end");
  }
  /** @type {[number, string][]} */
  const ends = data.lost
    ? [
        [heights.zero, "exactly 0"],
        [heights.top, "not finite"],
      ]
    : [[heights.zero, "exactly 0"]];
  for (const [height, text] of ends) {
    across(inside, frame, toY(frame, height), "end");
    if (isFirst) label(svg, frame.left - gutter, toY(frame, height) + 3, text, "end");
  }
  for (const tick of ticks(...frame.x, Math.min(4, frame.width / 60))) {
    label(svg, toX(frame, tick), frame.top + frame.height + 15, String(tick), "middle");
  }
  for (const line of lines) drawLine(line, heights, surface);
  const wanted = lines.map((line) => toY(frame, startOf(line, heights, frame.x[0])) + 4);
  pushedApart(wanted, frame.top + frame.height).forEach((y, at) => {
    const style = `fill:${lines[at].colour}`;
    svg.append(svgEl("text", { x: frame.left - 5, y, "text-anchor": "end", class: "direct", style }, lines[at].label));
  });
}

/** Room for the labels at the lines. @type {(data: ProfileData) => number} */
function gutterOf({ panels }) {
  return 12 + LETTER * Math.max(...panels.flatMap(({ lines }) => lines.map((line) => line.label.length)));
}

/** The sizes at the depth under the cursor. @type {(data: ProfileData, cursor: Cursor) => Reading} */
export function readProfile({ panels, sample }, { x, panel }) {
  const seen = panel === undefined ? panels : [panels[panel]];
  /** @type {Reading["rows"]} */
  const rows = seen.flatMap(({ lines }) =>
    lines.map((line) => {
      const at = nearest(line.x, x);
      const range = line.n > 1 ? `, median of ${line.n} ${sample}s, ${formatReading(line.low[at])} to ${formatReading(line.high[at])}` : "";
      const zeros = line.zeros[at] ? `, exactly 0 in ${line.zeros[at]} of ${line.n}` : "";
      const lost = line.lost[at] ? `, not finite in ${line.lost[at]} of ${line.n}` : "";
      const size = line.median[at] === null ? "" : ` ${formatReading(line.median[at])}${range}`;
      return [line.colour, line.name, `${line.layers[at]}${size}${zeros}${lost}`];
    }),
  );
  return { heading: `relative depth ${x.toFixed(2)}`, rows };
}

/** @type {(data: ProfileData) => Panels} */
export const profilePanels = (data) => {
  const count = data.panels.length;
  const columnsAt = (/** @type {number} */ width) => (count === 1 || width < NARROW ? 1 : count === 3 || count > 4 ? 3 : 2);
  let columns = 1;
  return {
    isMap: false,
    full: { x: [0, 1], y: [0, 1] },
    least: 0.05,
    axis: "relative depth, first to last",
    panels: data.panels,
    layout(width) {
      columns = columnsAt(width);
      const gutter = gutterOf(data);
      return { left: TICK_PX + gutter, gap: gutter + 6, height: count > 1 ? 220 : 320, columns };
    },
    spanY: () => heightsOf(data).span,
    draw: (surface) => drawProfile(data, surface, surface.index % columns === 0),
    mark(over, frame, cursor) {
      const x = toX(frame, cursor.x);
      over.append(svgEl("line", { x1: x, x2: x, y1: frame.top, y2: frame.top + frame.height, class: "cross" }));
    },
    read: (cursor) => readProfile(data, cursor),
    legend: () => [
      el("b", {}, data.size),
      ...data.legend.map((look) => {
        const key = svgEl("svg", { width: 26, height: 10 }, svgEl("path", { d: "M0 5H26", ...stroke({ ...look, width: 2 }) }));
        if (look.squares) key.append(svgEl("rect", { x: 10.5, y: 2.5, width: 5, height: 5, style: `fill:${look.colour}` }));
        return el("span", {}, ...(look.colour ? [key] : []), look.name);
      }),
    ],
    bar: () => [],
  };
};
