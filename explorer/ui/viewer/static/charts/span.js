// Which part of the charts is seen, and how zooming and moving change it.

/** `high` wins where it is below `low`. @type {(value: number, low: number, high: number) => number} */
export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/**
 * The nearest span, not shorter than `least`, between `start` and `end`.
 * @type {(span: Span, start: number, end: number, least: number) => Span}
 */
function limitSpan([from, to], start, end, least) {
  const length = clamp(to - from, Math.min(end, least), end);
  const begin = clamp(from, start, end - length);
  return [begin, begin + length];
}

/**
 * The nearest view within `full`; null where that is all of it.
 * @type {(view: ChartView, full: ChartView, least: number) => ChartView | null}
 */
export function limitView(view, full, least) {
  const limited = { x: limitSpan(view.x, ...full.x, least), y: limitSpan(view.y, ...full.y, least) };
  const isAll = limited.x[1] - limited.x[0] >= full.x[1] && limited.y[1] - limited.y[0] >= full.y[1];
  return isAll ? null : limited;
}

/**
 * A view that shows `factor` as much; `middle` (null: of the view) stays where it is.
 * @type {(view: ChartView, middle: Cursor | null, factor: number) => ChartView}
 */
export function zoomView(view, middle, factor) {
  /** @type {(axis: "x" | "y") => Span} */
  const zoom = (axis) => {
    const [from, to] = view[axis];
    const kept = middle ? middle[axis] : (from + to) / 2;
    return [kept - (kept - from) * factor, kept + (to - kept) * factor];
  };
  return { x: zoom("x"), y: zoom("y") };
}

/** @type {(view: ChartView, x: number, y: number) => ChartView} */
export const moveView = (view, x, y) => ({ x: [view.x[0] + x, view.x[1] + x], y: [view.y[0] + y, view.y[1] + y] });

/**
 * The view moved as little as makes it contain that place, which takes `room` behind itself.
 * @type {(view: ChartView, place: Cursor, room: number) => ChartView}
 */
export function followPlace(view, place, room) {
  /** @type {(axis: "x" | "y") => number} */
  const missing = (axis) => Math.min(0, place[axis] - view[axis][0]) + Math.max(0, place[axis] - view[axis][1] + room);
  return moveView(view, missing("x"), missing("y"));
}
