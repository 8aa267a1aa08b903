// The drawings of a training step: three lanes of bars along the depth, and the loss along the update.

import { ticks } from "../charts/ticks.js";
import { svgEl } from "../dom.js";
import { formatReading } from "../format.js";

const [LEFT, RIGHT, TOP, LANE, GAP, BOTTOM] = [46, 6, 16, 62, 24, 20]; // pixels
const PATH = { height: 240, left: 50, right: 12, top: 10, bottom: 36 };
const MIN_WIDTH = 100;

/** The height of a bar, 0..1, between powers of ten; null for a size that has none. @type {(size: number | null, decades: Span) => number | null} */
export function heightOf(size, [low, high]) {
  if (size === null || !(size > 0)) return null;
  return Math.min(Math.max((Math.log10(size) - low) / (high - low), 0.02), 1);
}

/**
 * Draws the lanes of one network into the drawing, again where its width changes; `choose` hears of a click on a layer.
 * @type {(svg: SVGSVGElement, choose: (layer: number) => void) =>
 *   (network: SlowNetwork, data: SlowData, shown: {now: number | null, lanes: [number, number][]}, phase: SlowPhase) => void}
 */
export function laneView(svg, choose) {
  let width = 0;
  /** @type {(() => void) | null} */
  let again = null;
  new ResizeObserver(() => {
    if (svg.parentElement && svg.parentElement.clientWidth !== width) again?.();
  }).observe(/** @type {Element} */ (svg.parentElement));
  return (network, data, shown, phase) => {
    again = () => {
      width = svg.parentElement?.clientWidth ?? 0;
      if (width >= MIN_WIDTH) drawLanes(svg, width, network, data, shown, phase, choose);
    };
    again();
  };
}

/** @type {(svg: SVGSVGElement, width: number, network: SlowNetwork, data: SlowData, shown: {now: number | null, lanes: [number, number][]}, phase: SlowPhase, choose: (layer: number) => void) => void} */
function drawLanes(svg, width, network, data, { now, lanes }, phase, choose) {
  const count = network.layers.length;
  const each = (width - LEFT - RIGHT) / count;
  const height = network.lanes.length * (TOP + LANE + GAP) - GAP + BOTTOM;
  const x = (/** @type {number} */ layer) => LEFT + layer * each;
  svg.setAttribute("width", String(width));
  svg.setAttribute("height", String(height));
  svg.setAttribute("aria-label", `${network.title}: ${data.lanes.join(", ")}, layer by layer. The numbers are in the table below.`);
  svg.replaceChildren();
  network.lanes.forEach((sizes, lane) => {
    const top = lane * (TOP + LANE + GAP) + TOP;
    const bottom = top + LANE;
    const [low, high] = data.decades[lane];
    const group = svgEl("g", { class: "lane" });
    group.append(svgEl("text", { x: LEFT, y: top - 4, class: "tick" }, data.lanes[lane]));
    const every = Math.max(1, Math.ceil((high - low) / 3));
    for (let power = low; power <= high; power += every) {
      const y = bottom - ((power - low) / (high - low)) * LANE;
      group.append(
        svgEl("line", { x1: LEFT, x2: width - RIGHT, y1: y, y2: y, class: "rule" }),
        svgEl("text", { x: LEFT - 4, y: y + 3, "text-anchor": "end", class: "tick" }, formatReading(10 ** power)),
      );
    }
    const [from, to] = lanes[lane];
    sizes.forEach((size, layer) => {
      const share = heightOf(size, data.decades[lane]);
      const isShown = layer >= from && layer < to;
      const isNow = isShown && layer === now && (phase === "update" || lane === (phase === "backward" ? 1 : 0));
      const [tall, wide] = [isShown ? (share ?? 0) * LANE : 2, Math.max(1, each - (each > 4 ? 1.5 : 0.4))];
      const box = { x: x(layer), y: bottom - tall, width: wide, height: tall };
      const bar = svgEl("rect", {
        ...box,
        class: isShown ? (isNow ? "bar now" : "bar") : "wait",
        ...(isShown ? { fill: network.colour } : {}),
      });
      const hit = svgEl("rect", { x: x(layer), y: top, width: each, height: LANE, class: "hit" });
      if (isShown) hit.append(svgEl("title", {}, `${network.layers[layer]}: ${data.lanes[lane]} ${formatReading(size)}`));
      hit.addEventListener("click", () => choose(layer));
      group.append(bar, hit);
      if (isShown && share === null)
        group.append(
          svgEl("text", { x: x(layer) + each / 2, y: bottom - 2, "text-anchor": "middle", class: "tick" }, size === 0 ? "0" : "×"),
        );
      if (isNow && phase !== "update") {
        const middle = x(layer) + each / 2;
        const ahead = phase === "forward" ? 7 : -7;
        const tip = Math.max(bottom - tall - 7, top + 5);
        group.append(svgEl("polygon", { class: "moving", points: `${middle},${tip - 5} ${middle + ahead},${tip} ${middle},${tip + 5}` }));
      }
    });
    svg.append(group);
  });
  let free = LEFT; // where the name of the next stage has room
  for (const [title, start, end] of network.stages) {
    const [left, middle] = [x(start), x((start + end) / 2)];
    if (start) svg.append(svgEl("line", { x1: left - 0.5, x2: left - 0.5, y1: TOP, y2: height - BOTTOM, class: "rule" }));
    const half = title.length * 3;
    if (middle - half < free) continue;
    svg.append(svgEl("text", { x: middle, y: height - 6, "text-anchor": "middle", class: "tick" }, title));
    free = middle + half + 6;
  }
}

/** Draws the loss along the update: what was measured, and dashed what the gradient predicts. @type {(root: HTMLElement) => (data: SlowData) => void} */
export function pathView(root) {
  const svg = svgEl("svg", { role: "img", "aria-label": "The mean loss along the update" });
  root.append(svg);
  let width = 0;
  /** @type {SlowData | null} */
  let data = null;
  const draw = () => {
    width = root.clientWidth;
    if (data && width >= MIN_WIDTH) drawPath(svg, Math.min(width, 720), data);
  };
  new ResizeObserver(() => {
    if (root.clientWidth !== width) draw();
  }).observe(root);
  return (next) => {
    data = next;
    draw();
  };
}

/** The losses that the drawing holds: all that were measured, and of the predictions as much again below them. @type {(data: SlowData) => Span} */
export function spanOf({ networks }) {
  const losses = networks.flatMap(({ path }) => path.filter((loss) => loss !== null));
  const [low, high] = [Math.min(...losses), Math.max(...losses)];
  const span = Math.max(high - low, 1e-3);
  const ends = networks.map(({ path, predicted }) => (path[0] ?? high) + (predicted ?? 0));
  return [Math.max(Math.min(low, ...ends), low - span) - 0.05 * span, high + 0.05 * span];
}

/** @type {(svg: SVGSVGElement, width: number, data: SlowData) => void} */
function drawPath(svg, width, data) {
  const { height, left, right, top, bottom } = PATH;
  const [low, high] = spanOf(data);
  const inner = { width: width - left - right, height: height - top - bottom };
  const x = (/** @type {number} */ share) => left + share * inner.width;
  const y = (/** @type {number} */ loss) => top + ((high - loss) / (high - low)) * inner.height;
  const inside = svgEl("g", { "clip-path": "url(#slow-path)" });
  svg.setAttribute("width", String(width));
  svg.setAttribute("height", String(height));
  svg.setAttribute(
    "aria-label",
    `The mean loss along the update. Dashed: what the gradient predicts. ${data.networks.map(({ finding }) => finding).join(" ")}`,
  );
  const area = { x: left, y: top, width: inner.width, height: inner.height };
  svg.replaceChildren(svgEl("clipPath", { id: "slow-path" }, svgEl("rect", area)), inside, svgEl("rect", { ...area, class: "frame" }));
  for (const loss of ticks(low, high, 4)) {
    svg.append(
      svgEl("line", { x1: left, x2: width - right, y1: y(loss), y2: y(loss), class: "rule" }),
      svgEl("text", { x: left - 5, y: y(loss) + 4, "text-anchor": "end", class: "tick" }, formatReading(loss)),
    );
  }
  for (const share of data.shares) {
    svg.append(
      svgEl("text", { x: x(share), y: height - bottom + 15, "text-anchor": "middle", class: "tick" }, `${Math.round(100 * share)}%`),
    );
  }
  const middle = { x: left + inner.width / 2, y: height - 4, "text-anchor": "middle", class: "tick" };
  svg.append(svgEl("text", middle, "share of the update; solid: measured mean loss, dashed: predicted by the gradient"));
  for (const { path, colour, dashed, predicted, title } of data.networks) {
    const points = path.flatMap((loss, index) => (loss === null ? [] : [`${x(data.shares[index])},${y(loss)}`]));
    const style = dashed ? "stroke-dasharray:7 3" : "";
    inside.append(svgEl("polyline", { points: points.join(" "), class: "line", stroke: colour, style }));
    path.forEach((loss, index) => {
      if (loss === null) return;
      const dot = svgEl("circle", { cx: x(data.shares[index]), cy: y(loss), r: 3.5, fill: colour, class: "dots" });
      dot.append(svgEl("title", {}, `${title}: loss ${formatReading(loss)} at ${Math.round(100 * data.shares[index])}% of the update`));
      inside.append(dot);
    });
    const [start] = path;
    if (start === null || predicted === null) continue;
    inside.append(svgEl("line", { x1: x(0), y1: y(start), x2: x(1), y2: y(start + predicted), class: "foreseen", stroke: colour }));
  }
}
