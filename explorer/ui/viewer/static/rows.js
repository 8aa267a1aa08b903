// Further rows of the depth strip, which the server measures: which are wanted, and what of them is known.

/** Their labels: ROWS in row_drawings.py, STRIP_ROWS in labels.py. @type {Readonly<Record<string, string>>} */
export const ROWS = Object.freeze({
  probe: "Linear probe",
  separability: "Separability",
  dead: "Dead channels",
  field: "Receptive field",
  distance: "Distance to the twin",
  cka: "CKA with the twin",
});

/** The names in a text that there are, in their order. @type {(text: string | null) => string[]} */
export const parseRows = (text) => Object.keys(ROWS).filter((name) => (text ?? "").split(",").includes(name));

/** The text with a row switched on or off; null for none. @type {(text: string | null, name: string, on: boolean) => string | null} */
export function withRow(text, name, on) {
  const wanted = new Set(parseRows(text));
  if (on) wanted.add(name);
  else wanted.delete(name);
  return parseRows([...wanted].join()).join() || null;
}

/** Names all that the rows depend on; null where none is wanted, nor what they cost. @type {(state: Pick<State, "view" | "selection" | "offersRows" | "started">) => string | null} */
export function rowsKey({ view, selection, offersRows, started }) {
  const rows = parseRows(selection.rows).join();
  if (!view || (!rows && !offersRows)) return null;
  const { networks, layers, theme, step } = view;
  return JSON.stringify([networks, layers, theme, rows, started, step ?? null]);
}

/** Whether the server has more to say about them. @type {(state: Pick<State, "view" | "selection" | "offersRows" | "started" | "rows">) => boolean} */
export function needsRows(state) {
  const key = rowsKey(state);
  return key !== null && (state.rows?.key !== key || !state.rows.answer.done);
}

/** The rows that are wanted and known, of the networks that are shown. @type {(state: Pick<State, "view" | "selection" | "rows">) => LayerRow[]} */
export function shownRows({ view, selection, rows }) {
  if (!rows || !view) return [];
  const [networks, , , , , step] = JSON.parse(rows.key);
  if (String(networks) !== String(view.networks) || step !== (view.step ?? null)) return []; // of others
  const wanted = parseRows(selection.rows);
  return rows.answer.rows.filter(({ name }) => wanted.includes(name));
}

/**
 * A chart whose values lie on other layers: null where a layer is not among its own.
 * @type {(chart: StripChart, layers: string[], columns: string[]) => StripChart}
 */
export function aligned(chart, layers, columns) {
  const places = columns.map((name) => layers.indexOf(name));
  /** @template Value @param {Value[]} values @returns {(Value | null)[]} */
  const moved = (values) => places.map((place) => (place < 0 ? null : values[place]));
  const series = chart.series.map((each) => ({
    ...each,
    line: moved(each.line),
    dots: moved(each.dots),
    ...(each.bands && { bands: moved(each.bands) }),
  }));
  return { ...chart, series, hover: places.map((place, index) => (place < 0 ? `${columns[index]}, not measured` : chart.hover[place])) };
}

/** The charts of the rows that are known, on the columns of the strip; the same array as long as they are the same. */
export function rowCharts() {
  /** @type {unknown[]} */
  let of = [];
  /** @type {StripChart[]} */
  let charts = [];
  return (/** @type {State} */ now) => {
    const { message, rows, selection, view } = now;
    const from = [message?.columns, rows, selection.rows, String(view?.networks), view?.step]; // each run of the page brings a new view
    if (from.every((each, index) => each === of[index])) return charts;
    of = from;
    const columns = message?.columns.map(({ name }) => name) ?? [];
    const layers = rows?.answer.layers ?? [];
    charts = shownRows(now).flatMap(({ chart }) => (chart ? [aligned(chart, layers, columns)] : []));
    return charts;
  };
}
