// Pointer and keys: both move the cursor and change the view.

import { clamp, followPlace, moveView, zoomView } from "./span.js";

const CLICK_PX = 5; // a drag that is shorter is a click

/**
 * What the drag has marked, in pixels.
 * @param {Drag} drag
 * @param {boolean} isMap lines are marked in their whole height
 */
export function dragBox({ from, now }, isMap) {
  const { left, top, width, height } = from.frame;
  const end = now ?? from;
  const [x, right] = [from.left, clamp(end.left, left, left + width)].sort((one, other) => one - other);
  const [y, bottom] = isMap ? [from.top, clamp(end.top, top, top + height)].sort((one, other) => one - other) : [top, top + height];
  return { x, y, width: right - x, height: bottom - y };
}

/** @type {(drag: Drag, isMap: boolean) => ChartView} */
function dragView(drag, isMap) {
  const box = dragBox(drag, isMap);
  const { left, top, width, height } = drag.from.frame;
  const { x, y } = drag.view;
  const toStep = (/** @type {number} */ pixel) => x[0] + (pixel / width) * (x[1] - x[0]);
  const toRow = (/** @type {number} */ pixel) => y[0] + (pixel / height) * (y[1] - y[0]);
  return {
    x: [toStep(box.x - left), toStep(box.x - left + box.width)],
    y: [toRow(box.y - top), toRow(box.y - top + box.height)],
  };
}

/** @type {(chart: Chart) => ChartView} */
export const seenOf = ({ view, panels }) => view ?? panels?.full ?? { x: [0, 1], y: [0, 1] };

/** @type {(svg: SVGSVGElement, chart: Chart) => void} */
export function followPointer(svg, chart) {
  /** @type {(event: PointerEvent, panel: number) => PointerPlace} */
  const placeIn = (event, panel) => {
    const frame = chart.frames[panel];
    const bounds = svg.getBoundingClientRect();
    const zoom = bounds.width / svg.clientWidth || 1; // of a presentation
    const [left, top] = [(event.clientX - bounds.left) / zoom, (event.clientY - bounds.top) / zoom];
    const { x, y } = seenOf(chart);
    return {
      ...{ left, top, frame, panel },
      x: x[0] + ((left - frame.left) / frame.width) * (x[1] - x[0]),
      y: y[0] + ((top - frame.top) / frame.height) * (y[1] - y[0]),
    };
  };
  const placeOf = (/** @type {PointerEvent} */ event) => {
    const places = chart.frames.map((_, panel) => placeIn(event, panel));
    return (
      places.find(
        ({ left, top, frame }) =>
          left >= frame.left && left <= frame.left + frame.width && top >= frame.top && top <= frame.top + frame.height,
      ) ?? null
    );
  };
  svg.onpointerdown = (event) => {
    const from = placeOf(event);
    if (!from || event.button) return;
    chart.drag = { from, now: null, moves: event.shiftKey, view: seenOf(chart) };
    svg.setPointerCapture(event.pointerId);
  };
  svg.onpointermove = (event) => {
    const { drag, view } = chart;
    if (!drag) {
      chart.cursor = placeOf(event);
      chart.point();
      return;
    }
    const now = placeIn(event, drag.from.panel);
    chart.cursor = now;
    drag.now = now;
    if (!drag.moves || !view) return chart.point();
    const x = ((drag.from.left - now.left) / now.frame.width) * (view.x[1] - view.x[0]);
    const y = ((drag.from.top - now.top) / now.frame.height) * (view.y[1] - view.y[0]);
    chart.look(moveView(drag.view, x, y));
  };
  svg.onpointerup = (event) => {
    const { drag, panels } = chart;
    chart.drag = null;
    if (!drag || !panels) return;
    drag.now = placeIn(event, drag.from.panel);
    if (drag.moves || Math.abs(drag.now.left - drag.from.left) < CLICK_PX) chart.point();
    else chart.look(dragView(drag, panels.isMap));
  };
  svg.onpointerleave = () => {
    if (chart.drag) return;
    chart.cursor = null;
    chart.point();
  };
  svg.ondblclick = () => chart.look(null);
}

/** @type {(stage: HTMLElement, chart: Chart) => void} */
export function followKeys(stage, chart) {
  const leave = () => {
    chart.cursor = null;
    chart.point();
  };
  const zoom = (/** @type {number} */ factor) => chart.look(zoomView(seenOf(chart), chart.cursor, factor));
  stage.onkeydown = (event) => {
    const { panels } = chart;
    if (!panels || event.ctrlKey || event.metaKey || event.altKey) return;
    const { x, y } = seenOf(chart);
    const by = panels.isMap ? 1 : (x[1] - x[0]) / 50;
    const room = panels.isMap ? 0.5 : 0;
    const move = { ArrowLeft: [-by, 0], ArrowRight: [by, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const act = { "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: () => chart.look(null), Escape: leave }[event.key];
    if (!move && !act) return;
    event.preventDefault();
    if (!move) return act?.();
    const from = chart.cursor ?? { x: (x[0] + x[1]) / 2, y: (y[0] + y[1]) / 2 };
    const { full } = panels;
    chart.cursor = {
      x: clamp(from.x + move[0], full.x[0], full.x[1] - room),
      y: clamp(from.y + move[1], full.y[0], full.y[1] - room),
    };
    if (chart.view) chart.look(followPlace(chart.view, chart.cursor, room));
    else chart.point();
    chart.speak();
  };
  stage.onblur = leave;
}
