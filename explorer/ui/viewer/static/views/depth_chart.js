// Test accuracy against depth of the pretrained twins: each point is a link to its pair.

import { el, svgEl } from "../dom.js";

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [280, 200, 38, 12, 10, 34];

/** @type {(root: HTMLElement, choose: (changes: Partial<View>) => void) => (chart: DepthChart | null) => void} */
export function depthChartView(root, choose) {
  let drawn = "";
  return (chart) => {
    const now = JSON.stringify(chart);
    if (drawn === now) return;
    drawn = now;
    root.replaceChildren(...(chart ? [el("p", {}, el("b", {}, chart.title)), drawing(chart), links(chart, choose)] : []));
  };
}

/** @type {(chart: DepthChart) => SVGSVGElement} */
function drawing({ title, lines, points }) {
  const xOf = (/** @type {number} */ index) => LEFT + ((index + 0.5) * (WIDTH - LEFT - RIGHT)) / points.length;
  const yOf = (/** @type {number} */ share) => TOP + (1 - share) * (HEIGHT - TOP - BOTTOM);
  const words = points.map((point) => point.words).join("; ");
  const svg = svgEl("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}: ${words}` });
  for (const share of [0, 0.5, 1]) {
    const y = yOf(share);
    svg.append(svgEl("line", { class: "rule", x1: LEFT, x2: WIDTH - RIGHT, y1: y, y2: y }));
    svg.append(svgEl("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, `${100 * share}%`));
  }
  points.forEach(({ depth, shown }, index) => {
    if (shown) svg.append(svgEl("rect", { class: "shown", x: xOf(index) - 22, y: TOP - 6, width: 44, height: HEIGHT - TOP - 8, rx: 6 }));
    svg.append(svgEl("text", { x: xOf(index), y: HEIGHT - 20, "text-anchor": "middle" }, String(depth)));
  });
  svg.append(svgEl("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 3, "text-anchor": "middle" }, "layers"));
  lines.forEach(({ colour }, which) => {
    const places = points.map(({ shares }, index) => `${xOf(index)},${yOf(shares[which])}`);
    svg.append(svgEl("polyline", { points: places.join(" "), fill: "none", stroke: colour, "stroke-width": 2.5 }));
    points.forEach(({ shares }, index) => {
      svg.append(svgEl("circle", { cx: xOf(index), cy: yOf(shares[which]), r: 4.5, fill: colour }));
    });
  });
  return svg;
}

/** A button for each depth, with the lines' names. @type {(chart: DepthChart, choose: (changes: Partial<View>) => void) => HTMLElement} */
function links({ lines, points }, choose) {
  const buttons = points.map(({ depth, words, networks, picture, shown }) => {
    const onclick = () => choose({ networks, target: null, ...(picture === null ? {} : { picture }) });
    return el("button", { type: "button", title: words, ariaLabel: `Show ${words}`, ariaPressed: String(shown), onclick }, String(depth));
  });
  const names = lines.map(({ title, colour }) => el("span", { style: `color:${colour}` }, title));
  return el(
    "div",
    {},
    el("div", { className: "depths" }, ...names),
    el("div", { className: "depths" }, el("span", {}, "Layers"), ...buttons),
  );
}
