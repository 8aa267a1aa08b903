// The depth strip: all layers of one or two networks on one axis.

import { changesIn, changeText, parseChanges } from "../changes.js";
import { colorTable, toImageData } from "../colors.js";
import { context2d, el, find, focusedIn, moveWithKeys, setText, svgEl, update } from "../dom.js";
import { formatNumber } from "../format.js";
import { rasterAt } from "../message.js";
import { pictureTools } from "../picture_tools.js";
import { asCanvas, camKind, colorBar, paletteOf, scaleCaption, scaleMax } from "./scales.js";
import { HINT, stripPixels } from "./strip_pixels.js";

const LABELS_PX = 124; // the column that stays while the layers scroll
const MIN_COLUMN_PX = 24; // a thumbnail must still show a shape and take a click
const MAX_COLUMN_PX = 46;
const TILE_PX = 32; // of a thumbnail in the row's canvas, at most; the browser scales it
const BAR_PX = 16; // of the longest bar
const MAX_CANVAS_PX = 16384; // which every browser can draw
/** @type {("cam" | "map")[]} */
const KINDS = ["cam", "map"];
/** @type {Record<Kind, string>} what each row shows */
const ROWS = { cam: "Grad-CAM", signed: "Signed Grad-CAM", map: "most active channel" };

/**
 * One canvas a row: hundreds of small ones take longer.
 * @type {(canvas: HTMLCanvasElement, message: Message, which: number, kind: Kind, scope: Scope) => void}
 */
function paintRow(canvas, message, which, kind, scope) {
  const context = context2d(canvas);
  const tile = canvas.height;
  const palette = paletteOf(message, kind);
  context.imageSmoothingQuality = "high";
  context.clearRect(0, 0, canvas.width, canvas.height);
  message.networks[which].cells.forEach((cell, index) => {
    if (cell === null) return;
    const map = rasterAt(message.body, cell[kind]);
    const own = (kind === "cam" ? cell.largest : kind === "signed" ? cell.extent : cell.peak) ?? 0;
    const table = colorTable(palette, kind, own, scaleMax(message, kind, which, index, scope));
    const picture = asCanvas(toImageData(map, table));
    context.imageSmoothingEnabled = Math.max(map.height, map.width) > tile; // smaller ones keep their hard edges
    context.drawImage(picture, index * tile, 0, tile, tile);
  });
}

/** The largest Grad-CAM value of each layer. @type {(network: Message["networks"][0]) => number[]} */
const strengthsOf = ({ cells }) => cells.map((cell) => cell?.largest ?? 0);

/** The same before its ReLU, of either sign. @type {(network: Message["networks"][0]) => number[]} */
const extentsOf = ({ cells }) => cells.map((cell) => cell?.extent ?? 0);

/** How far each layer is from another pass. @type {(network: Message["networks"][0]) => number[]} */
const distancesOf = ({ distances }) => (distances ?? []).map((value) => value ?? 0);

/** The largest value of all layers and networks. @type {(message: Message, valuesOf: (network: Message["networks"][0]) => number[]) => number} */
const largestOf = ({ networks }, valuesOf) => Math.max(0, ...networks.flatMap(valuesOf));

/**
 * A bar for each layer, beside the largest of all layers and networks.
 * @type {(canvas: HTMLCanvasElement, message: Message, which: number, valuesOf: (network: Message["networks"][0]) => number[]) => void}
 */
function paintBars(canvas, message, which, valuesOf) {
  const context = context2d(canvas);
  const [tile, height] = [canvas.width / message.columns.length, canvas.height];
  const max = largestOf(message, valuesOf);
  context.clearRect(0, 0, canvas.width, height);
  context.fillStyle = message.networks[which].colour;
  valuesOf(message.networks[which]).forEach((value, index) => {
    const fraction = value > 0 && max > 0 ? value / max : 0;
    const tall = fraction && Math.max(1, Math.round(fraction * height)); // what is more than nothing can be seen
    context.fillRect(index * tile + 1, height - tall, tile - 2, tall);
  });
}

/** @type {(cell: Cell, name: string, kind: Kind, max: number) => string} */
function hoverText(cell, name, kind, max) {
  if (cell.peak === null) return `${name}\nits values are no finite numbers: the network has diverged\n${cell.sizes}`;
  if (kind === "cam") {
    const largest = `largest value ${formatNumber(cell.largest)}, scale to ${formatNumber(max)}`;
    return `${name}\nGrad-CAM: ${cell.zero ?? largest}\n${cell.sizes}`;
  }
  if (kind === "signed") {
    const largest = `largest absolute value ${formatNumber(cell.extent)}, scale to ±${formatNumber(max)}`;
    return `${name}\nSigned Grad-CAM: ${largest}\n${cell.sizes}`;
  }
  const scale = `scale to ±${formatNumber(max)}`;
  if (cell.peak === 0) {
    return `${name}\nall ${cell.channels} channels are zero for this image: nothing passes this layer, ${scale}\n${cell.sizes}`;
  }
  return `${name}\nchannel ${cell.most_active}, the most active of ${cell.channels}, ${scale}\n${cell.sizes}`;
}

/** @type {(message: Message, chart: StripChart, name: HTMLElement, box: HTMLElement, choose: (column: number) => void) => void} */
function drawChart({ columns: { length } }, { title, alt, ticks, series, hover, marks = [] }, name, box, choose) {
  const labels = ticks.map(({ label, at }) => el("span", { style: `bottom:${at * 100}%` }, label));
  const limits = marks.map(({ label }) => el("span", { className: "limit" }, el("i", { ariaHidden: "true" }), label));
  name.replaceChildren(el("div", {}, title, ...limits), el("div", { className: "ticks" }, ...labels));
  /** @type {(points: (number | null)[]) => string[]} */
  const placesOf = (points) => points.flatMap((y, index) => (y === null ? [] : [`${index + 0.5} ${100 - y * 100}`]));
  const lines = series.flatMap(({ line, dots, colour: stroke, dash, bands, faint }) => {
    const [connected, alone] = [placesOf(line), placesOf(dots)];
    const path = connected.length ? `M${connected.join("L")}` : "";
    if (faint) return [svgEl("path", { d: path, stroke, "stroke-width": 1, "stroke-opacity": 0.7, "stroke-dasharray": "1 3" })];
    const ends = (bands ?? []).flatMap((band, index) => (band ? [`M${index + 0.5} ${100 - band[0] * 100}V${100 - band[1] * 100}`] : []));
    /** @type {(places: string[]) => string} */
    const dotted = (places) => places.map((place) => `M${place}h0`).join("");
    return [
      svgEl("path", { d: dotted(alone), stroke, "stroke-width": 4, "stroke-opacity": 0.6 }),
      svgEl("path", { d: ends.join(""), stroke, "stroke-width": 9, "stroke-opacity": 0.3, class: "interval" }),
      svgEl("path", { d: path, stroke, "stroke-width": 1.5, "stroke-dasharray": dash }),
      svgEl("path", { d: dotted(connected), stroke, "stroke-width": bands ? 4 : 6 }),
    ];
  });
  const rules = ticks.map(({ at }) => svgEl("path", { d: `M0 ${100 - at * 100}H${length}`, class: "rule" }));
  const dashes = marks.map(({ at }) => svgEl("path", { d: `M0 ${100 - at * 100}H${length}`, class: "limit" }));
  const look = { viewBox: `0 0 ${length} 100`, preserveAspectRatio: "none", role: "img", "aria-label": alt };
  const hits = el("div", { className: "hits" });
  const columnAt = (/** @type {MouseEvent} */ event) =>
    Math.min(Math.max(Math.floor((event.offsetX / hits.clientWidth) * length), 0), length - 1);
  hits.onclick = (event) => choose(columnAt(event));
  hits.onpointermove = (event) => {
    hits.title = hover[columnAt(event)];
  };
  box.replaceChildren(svgEl("svg", look, ...rules, ...dashes, ...lines), hits);
}

/**
 * A short line as the network's in the charts: dashed where another one has its colour.
 * @type {(network: {colour: string, dashed: boolean}) => HTMLElement}
 */
function lineSample({ colour, dashed }) {
  const line = el("i", { className: "line", ariaHidden: "true" });
  line.style.borderTop = `3px ${dashed ? "dashed" : "solid"} ${colour}`;
  return line;
}

/** @typedef {{which: number, kind: "cam" | "map", canvas: HTMLCanvasElement, buttons: Map<number, HTMLButtonElement>, words: HTMLElement}} Row of a network */

/** `more`: charts below those of the message. @type {(root: HTMLElement, select: Select) => (message: Message, layer: string | null, state: State, more: StripChart[]) => void} */
export function stripView(root, select) {
  /** @type {Message} */
  let message;
  /** @type {Scope | null} */
  let scope = null;
  /** How the rows of Grad-CAMs are drawn. @type {"cam" | "signed"} */
  let evidence = "cam";
  const drawnAs = (/** @type {"cam" | "map"} */ kind) => (kind === "cam" ? evidence : kind);
  let [shape, selected, moved] = ["", -2, false];
  /** @type {number | undefined} */
  let scrolled;
  /** @type {HTMLElement[][]} */
  let charts = [];
  /** @type {StripChart[]} */
  let further = [];
  /** @type {Row[]} */
  let rows = [];
  /** @type {{which: number, valuesOf: (network: Message["networks"][0]) => number[], canvas: HTMLCanvasElement, name: HTMLElement}[]} */
  let bars = [];
  const scales = { cam: colorBar("cam"), map: colorBar("map") };
  const choose = (/** @type {number} */ column) => select({ layer: message.columns[column].name, channel: null });
  const pixels = stripPixels(select, choose);
  const allButtons = () => rows.flatMap(({ buttons }) => [...buttons.values()]);
  const tools = pictureTools(root, "all layers", () => {
    const captions = [`All layers of ${message.networks.map(({ title, target }) => `${title}, explaining ${target}`).join(", and ")}`];
    for (const kind of KINDS) captions.push(scaleCaption(message, drawnAs(kind), scope ?? "layer"));
    const bars = KINDS.map((kind) => scales[kind].saved(message, scope ?? "layer"));
    return { parts: [find(root, ".grid")], caption: `${captions.join(". ")}. ${message.source}`, bars };
  });

  // Hundreds of texts are not written ahead.
  /** @type {(button: HTMLElement, which: number, kind: "cam" | "map", column: number) => void} */
  function explain(button, which, kind, column) {
    const cell = message.networks[which].cells[column];
    if (!cell || scope === null) return;
    const { name } = message.columns[column];
    const { change, distances } = message.networks[which];
    const drawn = drawnAs(kind);
    const text = hoverText(cell, name, drawn, scaleMax(message, drawn, which, column, scope));
    const far = distances?.[column] ?? null;
    const changed = changesIn(parseChanges(change) ?? [], name).map(changeText);
    const hint = kind === "map" && cell.peak !== null ? [HINT] : [];
    button.title = [text, ...hint, ...(far === null ? [] : [`${message.distance}: ${formatNumber(far)}`]), ...changed].join("\n");
  }

  // Everything but the colours and the selection.
  function build() {
    const columns = message.columns.length;
    const grid = el("div", { className: "grid" });
    grid.style.gridTemplateColumns = `${LABELS_PX}px repeat(${columns}, minmax(${MIN_COLUMN_PX}px, ${MAX_COLUMN_PX}px))`;
    grid.style.minWidth = `${LABELS_PX + columns * MIN_COLUMN_PX}px`;
    /**
     * @template {HTMLElement} E
     * @param {E} element
     * @param {number | string} row
     * @param {number} column -1: the column of the labels
     */
    const put = (element, row, column, span = 1) => {
      element.style.gridRow = String(row);
      element.style.gridColumn = `${column + 2} / span ${span}`;
      grid.append(element);
      return element;
    };
    const tile = Math.max(1, Math.min(TILE_PX, Math.floor(MAX_CANVAS_PX / columns)));

    put(el("div", { className: "corner" }), 1, -1);
    let start = 0;
    for (const group of message.groups) {
      put(el("div", { className: "group", title: group.title }, group.label), 1, start, group.span);
      start += group.span;
    }
    put(el("div", { className: "corner" }, el("span", {}, "layers, input to output →")), 2, -1);
    message.columns.forEach((column, index) => {
      put(el("div", { className: `layer ${column.kind}`, title: column.name }, column.label), 2, index);
    });

    let row = 3;
    [rows, bars] = [[], []];
    pixels.clear();
    /** @type {(which: number, words: string, valuesOf: (network: Message["networks"][0]) => number[]) => HTMLElement} */
    const putBars = (which, words, valuesOf) => {
      const name = el("span", { className: "small" }, words);
      put(el("div", { className: "name" }, name), row, -1);
      const canvas = el("canvas", { className: "strengths", width: columns * tile, height: BAR_PX, ariaHidden: "true" });
      bars.push({ which, valuesOf, canvas: put(canvas, row, 0, columns), name });
      row += 1;
      return name;
    };
    const hasDashes = message.networks.some(({ dashed }) => dashed);
    message.networks.forEach((network, which) => {
      for (const kind of KINDS) {
        const name = put(el("div", { className: "name" }), row, -1);
        if (kind === "cam") {
          name.append(el("b", { style: `color:${network.colour}` }, network.title), ...(hasDashes ? [lineSample(network)] : [])); // its lines in the charts below
        }
        const words = el("span", {}, ROWS[kind]);
        name.append(words);
        // The buttons over the canvases say what these show.
        const canvas = el("canvas", { className: "row", width: columns * tile, height: tile, ariaHidden: "true" });
        /** @type {Row["buttons"]} */
        const buttons = new Map();
        rows.push({ which, kind, canvas: put(canvas, row, 0, columns), buttons, words });
        network.cells.forEach((cell, index) => {
          if (cell === null) {
            put(el("div", { className: "absent", title: `${network.title} has no such layer` }, "–"), row, index);
            return;
          }
          const button = el("button", { type: "button", tabIndex: -1 });
          if (kind === "map") pixels.attach(button, which, index);
          else button.onclick = () => choose(index);
          button.onpointerover = button.onfocus = () => explain(button, which, kind, index);
          button.dataset.place = `${which}/${kind}/${index}`;
          buttons.set(index, put(button, row, index));
        });
        moveWithKeys([...buttons.values()]);
        row += 1;
        if (kind === "cam") putBars(which, "its largest value", strengthsOf);
      }
      if (network.distances) putBars(which, "", distancesOf);
    });
    charts = [...message.charts, ...further].map(() => {
      const parts = [put(el("div", { className: "chartname" }), row, -1), put(el("div", { className: "chart" }), row, 0, columns)];
      row += 1;
      return parts;
    });
    put(el("div", { className: "band" }), `1 / ${row}`, 0);
    root.replaceChildren(
      el("div", { className: "scroller" }, grid),
      el("div", { className: "scales" }, scales.cam.box, scales.map.box, pixels.tool, tools),
    );
    selected = -2;
  }

  // What has the same layers of the same networks keeps its elements, and with them the focus.
  function fill() {
    const { columns, groups, networks } = message;
    const wanted = JSON.stringify([
      columns,
      groups,
      message.charts.length + further.length,
      networks.map(({ title, colour, dashed, cells, distances }) => [
        title,
        colour,
        dashed,
        cells.map((cell) => cell !== null),
        !distances,
      ]),
    ]);
    if (shape !== wanted) {
      const active = focusedIn(root);
      const focused = active instanceof HTMLElement ? active.dataset.place : undefined;
      scrolled = root.querySelector(".scroller")?.scrollLeft;
      build();
      shape = wanted;
      moved = true;
      if (focused)
        allButtons()
          .find((button) => button.dataset.place === focused)
          ?.focus();
    }
    scope = null;
    for (const { which, valuesOf, canvas, name } of bars) {
      paintBars(canvas, message, which, valuesOf === strengthsOf && evidence === "signed" ? extentsOf : valuesOf);
      if (valuesOf === distancesOf) setText(name, `${message.distance}, up to ${formatNumber(largestOf(message, valuesOf))}`);
      else setText(name, evidence === "signed" ? "its largest |value|" : "its largest value");
    }
    [...message.charts, ...further].forEach((chart, index) => {
      drawChart(message, chart, charts[index][0], charts[index][1], choose);
    });
    for (const { which, kind, buttons, words } of rows) {
      setText(words, ROWS[drawnAs(kind)]);
      const changes = parseChanges(networks[which].change) ?? [];
      for (const [column, button] of buttons) {
        const cell = networks[which].cells[column];
        const isZero = drawnAs(kind) === "cam" ? cell?.zero !== null : (kind === "cam" ? cell?.extent : cell?.peak) === 0;
        const { name } = columns[column];
        const isChanged = changesIn(changes, name).length > 0;
        update(button, { className: [isZero ? "zero" : "", isChanged ? "touched" : ""].join(" ").trim() });
        update(button, { ariaLabel: `${name}, ${networks[which].title}, ${ROWS[drawnAs(kind)]}${isChanged ? ", changed" : ""}` });
      }
    }
  }

  function paint(/** @type {Scope} */ wanted) {
    scope = wanted;
    for (const button of allButtons()) button.removeAttribute("title"); // of other numbers
    for (const { which, kind, canvas } of rows) paintRow(canvas, message, which, drawnAs(kind), wanted);
    scales.cam.show(message, scaleCaption(message, evidence, wanted), evidence);
    scales.map.show(message, scaleCaption(message, "map", wanted));
  }

  // Marks the selected layer's column.
  function mark(/** @type {number} */ column) {
    selected = column;
    const band = find(root, ".band");
    band.style.display = column < 0 ? "none" : "";
    band.style.gridColumn = `${Math.max(column, 0) + 2} / span 1`;
    // One stop of the Tab key a row: the selected layer, or the one nearest to it that this network has.
    for (const { buttons } of rows) {
      const [nearest] = [...buttons.keys()].sort((one, other) => Math.abs(one - column) - Math.abs(other - column));
      for (const [own, button] of buttons) update(button, { ariaPressed: String(own === column), tabIndex: own === nearest ? 0 : -1 });
    }
  }

  /** @type {unknown} */
  let filled = null;
  return (now, layer, state, more) => {
    message = now;
    const wanted = state.selection.scope;
    if (filled !== now.predictions || further !== more || evidence !== camKind(state.selection)) {
      [further, evidence] = [more, camKind(state.selection)];
      filled = now.predictions; // another message; more layers of the same one change nothing here
      fill();
    }
    if (scope !== wanted) paint(wanted);
    const column = now.columns.findIndex(({ name }) => name === layer);
    if (column !== selected) mark(column);
    pixels.draw(state);
    if (!moved) return;
    // Later drawings stay where the person scrolled to; the first shows the selected layer of a network that is too deep.
    const scroller = find(root, ".scroller");
    if (scrolled !== undefined) scroller.scrollLeft = scrolled;
    else if (column >= 0) scroller.scrollLeft = find(root, ".band").offsetLeft - scroller.clientWidth / 2;
    moved = false;
  };
}
