// Charts beside each other that share one view. The view lives here and not in Python, so numbers that arrive while a
// person looks closer do not move it. All colours and scales come from live.py.

import { el, svgEl } from "../dom.js";
import { pictureTools } from "../picture_tools.js";
import { layPanels, toX, toY } from "./frame.js";
import { linePanels } from "./line_panel.js";
import { mapPanels } from "./map_panel.js";
import { dragBox, followKeys, followPointer, seenOf } from "./moving.js";
import { profilePanels } from "./profile_panel.js";
import { limitView, zoomView } from "./span.js";

const MIN_WIDTH = 100; // pixels, below which nothing is drawn
const ROUND_PX = 260; // what stands above and below panels that fill the screen
const HELP = "Drag to zoom, Shift and drag to move. Keys: arrows read values, + and − zoom, 0 shows all.";
/** @type {(data: ChartData) => Panels} */
const panelsOf = (data) => (data.kind === "map" ? mapPanels(data) : data.kind === "profile" ? profilePanels(data) : linePanels(data));
let count = 0; // of all charts on the page: what a drawing names for itself has a name of its own in each

/** @type {(root: HTMLElement, name: string) => (data: ChartData, end?: number, alt?: string) => void} */
export function chartsView(root, name) {
  count += 1;
  const own = count;
  let [width, until] = [0, Number.POSITIVE_INFINITY];
  /** @type {ChartData | null} */
  let shown = null;
  /** @type {SVGGElement | null} */
  let over = null; // what follows the cursor
  /** @type {Chart} */
  const chart = { panels: null, view: null, cursor: null, drag: null, frames: [], look, point, speak };

  /** @type {(text: string, title: string, onclick: () => void) => HTMLButtonElement} */
  const button = (text, title, onclick) => el("button", { type: "button", title, ariaLabel: title, onclick }, text);
  const zoom = (/** @type {number} */ factor) => look(zoomView(seenOf(chart), chart.cursor, factor));
  const reset = button("Show all", "Show all", () => look(null));
  const zooms = [button("−", "Zoom out", () => zoom(2)), button("+", "Zoom in", () => zoom(0.5)), reset];
  const legend = el("div", { className: "legend" });
  const svg = svgEl("svg", { role: "img" });
  const tip = el("div", { className: "tip", hidden: true });
  const stage = el("div", { className: "stage", tabIndex: 0, role: "group" }, svg, tip);
  const bar = el("div", { className: "bar" });
  const spoken = el("div", { className: "says", ariaLive: "polite" });
  const subject = () => ({ parts: [legend, stage, bar], caption: `${svg.getAttribute("aria-label") ?? name} ${shown?.source ?? ""}` });
  const tools = el("div", { className: "tools" }, ...zooms, pictureTools(root, name, subject), el("span", {}, HELP));
  root.append(legend, tools, stage, bar, spoken);

  /** @type {(wanted: ChartView | null) => void} */
  function look(wanted) {
    const { panels } = chart;
    chart.view = wanted && panels && limitView(wanted, panels.full, panels.least);
    draw();
  }

  function draw() {
    const { panels, view } = chart;
    width = stage.clientWidth;
    if (!panels || width < MIN_WIDTH) return;
    reset.disabled = view === null;
    const layout = panels.layout(width);
    if (root.matches(":fullscreen"))
      layout.height = Math.max(layout.height, (innerHeight - ROUND_PX) / Math.ceil(panels.panels.length / layout.columns));
    const { boxes, height } = layPanels(panels.panels.length, width, layout);
    svg.setAttribute("width", String(width));
    svg.setAttribute("height", String(height));
    svg.replaceChildren();
    const { x } = seenOf(chart);
    chart.frames = boxes.map((box, index) => ({ ...box, x, y: panels.spanY(index, view) }));
    chart.frames.forEach((frame, index) => {
      const id = `${own}-${index}`;
      const { title, colour } = panels.panels[index];
      const area = { x: frame.left, y: frame.top, width: frame.width, height: frame.height };
      const inside = svgEl("g", { "clip-path": `url(#clip-${id})` });
      svg.append(
        svgEl("clipPath", { id: `clip-${id}` }, svgEl("rect", area)),
        svgEl("text", { x: frame.left, y: frame.top - 10, class: "title", style: colour ? `fill:${colour}` : "" }, title),
        inside,
      );
      panels.draw({ index, frame, svg, inside, until, id });
      const middle = { x: frame.left + frame.width / 2, y: frame.top + frame.height + 33, "text-anchor": "middle" };
      svg.append(svgEl("rect", { ...area, class: "frame" }), svgEl("text", middle, panels.axis));
    });
    over = svgEl("g");
    svg.append(over);
    point();
  }

  function point() {
    const { panels, cursor, drag, frames } = chart;
    if (!over || !panels) return;
    over.replaceChildren();
    tip.hidden = !cursor || drag !== null;
    if (drag?.now && !drag.moves) over.append(svgEl("rect", { ...dragBox(drag, panels.isMap), class: "drag" }));
    if (!cursor || drag) return;
    for (const frame of frames) {
      const x = toX(frame, panels.isMap ? Math.floor(cursor.x) : cursor.x);
      if (x >= frame.left - 1 && x <= frame.left + frame.width) panels.mark(over, frame, cursor);
    }
    const { heading, rows } = panels.read(cursor, until);
    const lines = rows.map(([color, name, value]) => el("div", {}, el("span", { style: `color:${color}` }, name), ` ${value}`));
    tip.replaceChildren(el("b", {}, heading), ...lines);
    const frame = frames[cursor.panel ?? 0];
    const x = toX(frame, cursor.x);
    const left = x + 14 + tip.offsetWidth > width ? x - tip.offsetWidth - 14 : x + 14;
    const lowest = frame.top + frame.height - tip.offsetHeight;
    tip.style.left = `${Math.max(0, Math.min(left, width - tip.offsetWidth))}px`;
    tip.style.top = `${panels.isMap ? Math.min(toY(frame, cursor.y) + 14, lowest) : frame.top + 6}px`;
  }

  function speak() {
    if (!chart.panels || !chart.cursor) return;
    const { heading, rows } = chart.panels.read(chart.cursor, until);
    spoken.textContent = `${heading}: ${rows.map(([, name, value]) => `${name} ${value}`).join("; ")}`;
  }

  followPointer(svg, chart);
  followKeys(stage, chart);
  new ResizeObserver(() => {
    if (stage.clientWidth !== width) draw();
  }).observe(stage);

  // `end`: the last step that is drawn, as in a replay; `alt`: what the charts show
  return (data, end = Number.POSITIVE_INFINITY, alt = data.alt) => {
    until = end;
    if (shown !== data) {
      shown = data;
      chart.panels = panelsOf(data);
      legend.replaceChildren(...chart.panels.legend());
      bar.replaceChildren(...chart.panels.bar());
    }
    svg.setAttribute("aria-label", alt);
    stage.setAttribute("aria-label", `${alt} Arrow keys read values, plus and minus zoom, 0 shows all.`);
    look(chart.view);
  };
}
