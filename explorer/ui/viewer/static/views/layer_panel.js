// The detail of the selected layer: overlays, numbers and feature maps of each network.

import { pixelOf, pixelUnder } from "../arithmetic.js";
import { colorTable, toImageData } from "../colors.js";
import { context2d, el, moveWithKeys, numberIn, paintImage, setTabStop, setText, toggle, update } from "../dom.js";
import { formatNumber } from "../format.js";
import { choosing, clickedPixel } from "../links.js";
import { floats, rasterAt } from "../message.js";
import { enlargement } from "../picture_layout.js";
import { pictureTools } from "../picture_tools.js";
import { shownLayer } from "../store.js";
import { unitAddress } from "../url.js";
import { drawOverlay } from "./overlay.js";
import { pixelPicker } from "./pixels.js";
import { camKind, colorBar, paletteOf, scaleMax, titleOf } from "./scales.js";

/** @typedef {import("./overlay.js").Shown} Shown */

const PAGE = 64; // feature maps at once
const COLUMNS = 8;
const LARGE_PX = 180; // of the chosen map

/**
 * What one feature map says; `weight` is its weight in the layer's Grad-CAM.
 * @type {(stats: ArrayLike<number>, target: string) => string}
 */
function channelText(stats, target) {
  const [low, high, size, weight] = Array.from(stats);
  if (low === 0 && high === 0) return "Zero everywhere: for this image nothing passes this channel.";
  const sizes = `From ${formatNumber(low)} to ${formatNumber(high)}, size ${formatNumber(size)}.`;
  if (weight === 0) return `${sizes} Its Grad-CAM weight is 0: it contributes nothing to ${target}.`;
  const [red, blue] = weight > 0 ? ["for", "against"] : ["against", "for"];
  const below = low < 0 ? `, where it is blue ${blue} it` : "";
  return `${sizes} Its Grad-CAM weight is ${formatNumber(weight)}: where it is red it speaks ${red} ${target}${below}.`;
}

/**
 * Overlay and colour bar of one network.
 * @param {number} which
 * @param {string} name of the network
 */
function camPart(which, name) {
  const canvas = el("canvas", { className: "overlay", role: "img", ariaLabel: "No Grad-CAM" });
  const zero = el("p", { className: "note" });
  const scale = colorBar("cam");
  const absent = el("p", { className: "note" });
  const beside = el("div", { className: "beside" }, zero, scale.box);
  const inside = el("div", { className: "side" }, canvas, beside);
  const [title, target] = [el("b"), el("em")];
  const box = el("section", {}, el("p", {}, title, ", explaining ", target), inside, absent);
  /** @type {Subject} */
  let subject;
  beside.append(pictureTools(box, `Grad-CAM of ${name}`, () => subject));
  return {
    box,
    /** @type {(message: Message, column: number, shown: Shown) => void} */
    update(message, column, shown) {
      const network = message.networks[which];
      setText(title, network.title);
      setText(target, network.target);
      const cell = network.cells[column] ?? null;
      toggle(inside, cell !== null);
      toggle(absent, cell === null);
      if (cell === null) {
        setText(absent, `${network.title} has no layer ${shown.layer}; choose one that both networks have.`);
        return;
      }
      drawOverlay(canvas, message, which, column, shown);
      const kind = camKind(shown);
      canvas.ariaLabel = `${titleOf(kind)} of ${shown.layer} over the image`;
      const isZero = kind === "cam" && cell.zero !== null;
      toggle(zero, isZero);
      setText(zero, isZero ? `The Grad-CAM is zero everywhere. ${cell.zero}` : "");
      const max = scaleMax(message, kind, which, column, shown.scope);
      const range = kind === "cam" ? "0 to " : "red supports the class, blue opposes it, ±";
      scale.show(message, `${titleOf(kind)}, ${range}${formatNumber(max)}`, kind);
      const caption = `${titleOf(kind)} of ${shown.layer} of ${network.title} over the image, explaining ${network.target}. ${zero.textContent} ${message.source}`;
      subject = { parts: [canvas], caption, bars: [scale.saved(message, shown.scope, max)] };
    },
  };
}

/**
 * One table of what was measured in this layer, a column for each network that has it.
 * @type {(table: HTMLTableElement, message: Message, layer: string) => void}
 */
function fillTable(table, { networks }, layer) {
  const there = networks.filter((network) => network.layers[layer]);
  const names = [...new Set(there.flatMap((network) => network.layers[layer].numbers.map(([name]) => name)))];
  const head = el("tr", {}, el("td"), ...there.map((network) => el("th", { scope: "col" }, network.title)));
  const rows = names.map((name) => {
    const values = there.map((network) => new Map(network.layers[layer].numbers).get(name) ?? "not measured");
    return el("tr", {}, el("th", { scope: "row" }, name), ...values.map((value) => el("td", {}, value)));
  });
  table.replaceChildren(el("thead", {}, head), el("tbody", {}, ...rows));
}

/** @type {(title: string, onclick: () => void) => HTMLButtonElement} */
function downloadButton(title, onclick) {
  const button = el("button", { type: "button", onclick }, `Raw numbers of ${title} (npz)`);
  button.title =
    "Of the chosen layer, where the network has it: activation, gradient and Grad-CAM. Also image, saliency and logits, as arrays.";
  return button;
}

/**
 * The feature maps of one network, 64 at a time, and the chosen one enlarged.
 * @param {number} which
 * @param {string} name of the network
 * @param {Select} select
 * @param {OpenUnit} openUnit
 */
function mapsPart(which, name, select, openUnit) {
  const caption = el("p");
  const pages = el("div", { className: "pages", role: "group" });
  const sheet = el("canvas", { className: "sheet" });
  sheet.ariaHidden = "true";
  const grid = el("div", { className: "tiles", role: "group" }, sheet);
  const scale = colorBar("map");
  const number = el("input", { id: `channel${which}`, type: "number", min: "0", placeholder: "none" });
  const large = el("canvas", { className: "large", role: "img", ariaLabel: "No feature map is chosen" });
  let enlarged = 0; // the channel
  const pixels = pixelPicker(`map/${which}`, large, (pixel, dragged) => select({ channel: enlarged, at: pixel.join() }, dragged));
  const meaning = el("p", { className: "caption" });
  const [all, one] = [el("div", { className: "all" }, grid, scale.box), el("div", { className: "field chosen" })];
  /** @type {Record<"all" | "one", Subject>} */
  const subjects = { all: { parts: [sheet], caption: "" }, one: { parts: [large], caption: "" } };
  all.append(pictureTools(all, `feature maps of ${name}`, () => subjects.all));
  const tools = pictureTools(one, `chosen feature map of ${name}`, () => subjects.one);
  const link = el("a", { className: "caption" }, "Page of this unit");
  one.append(el("label", { htmlFor: `channel${which}` }, "Channel"), number, pixels.box, meaning, link, tools);
  const inside = el("div", { className: "side" }, all, one);
  const section = el("section", {}, caption, pages, inside);
  /** Of the page of the chosen channel. @type {string | null} */
  let shownLayer = null;
  let [page, pageOf, channels] = [0, "", 0];
  let follows = false;
  let sides = [1, 1]; // of the layer, which may be larger than its tiles
  /** @type {HTMLButtonElement[]} */
  let buttons = [];
  /** @type {() => void} */
  let again = () => {};
  link.onclick = (event) => {
    const elsewhere = event.ctrlKey || event.metaKey || event.shiftKey || event.altKey; // another tab or window
    if (elsewhere || shownLayer === null || !openUnit({ layer: shownLayer, channel: enlarged, network: which })) return;
    event.preventDefault();
  };
  number.onchange = () => {
    const channel = numberIn(number);
    number.value = String(channel ?? "");
    select({ channel });
  };

  /** As in the strip. @type {(event: MouseEvent, index: number) => void} */
  const chooseTile = (event, index) => {
    const channel = page * PAGE + index;
    const { clientWidth, clientHeight } = /** @type {HTMLElement} */ (event.currentTarget);
    const under = () => pixelUnder(event.offsetX / clientWidth, event.offsetY / clientHeight, sides[1], sides[0]);
    const middle = () => pixelUnder(0.5, 0.5, sides[1], sides[0]);
    const pixel = clickedPixel(event, follows, choosing.on, under, middle);
    select(pixel ? { channel, at: pixel.join() } : { channel });
  };

  /** @type {(count: number) => void} */
  const fillTiles = (count) => {
    if (buttons.length === count) return;
    buttons = Array.from({ length: count }, (_, index) =>
      el("button", { type: "button", onclick: (/** @type {MouseEvent} */ event) => chooseTile(event, index) }),
    );
    moveWithKeys(buttons, COLUMNS);
    grid.replaceChildren(sheet, ...buttons);
  };

  return {
    box: section,
    /** Where the page of the chosen channel is. @type {(view: View, layer: string, channel: number | null) => void} */
    follow(view, layer, channel) {
      shownLayer = layer;
      if (channel !== null) update(link, { href: new URL(unitAddress(view, layer, channel, which), document.baseURI).href });
    },
    /** @type {(message: Message, column: number, shown: Shown) => void} */
    update(message, column, shown) {
      again = () => this.update(message, column, shown);
      const network = message.networks[which];
      const layer = network.layers[shown.layer];
      const cell = network.cells[column] ?? null;
      toggle(section, cell !== null);
      if (cell === null) return;
      section.classList.toggle("waiting", !layer); // what is too large to be fetched ahead is on its way
      if (!layer) return;
      channels = layer.channels;
      sides = layer.shape;
      follows = shown.at !== null;
      const chosen = shown.channel !== null && shown.channel < channels ? shown.channel : null;
      const key = JSON.stringify([message.picture, shown.layer, chosen, network.title]);
      if (pageOf !== key) [page, pageOf] = [chosen === null ? 0 : Math.floor(chosen / PAGE), key]; // a new channel turns to its page
      const [start, height, width] = layer.maps;
      const first = page * PAGE;
      const count = Math.min(PAGE, channels - first);
      const max = scaleMax(message, "map", which, column, shown.scope);
      const table = colorTable(paletteOf(message, "map"), "map", cell.peak ?? 0, max);
      /** @type {(channel: number) => PictureAt} */
      const placeOf = (channel) => [start + channel * height * width, height, width];
      const paint = (/** @type {PictureAt} */ place) => toImageData(rasterAt(layer.body, place), table);

      const rows = Math.ceil(count / COLUMNS);
      const range = `${first}–${first + count - 1} of ${channels}`;
      caption.replaceChildren(el("b", {}, "Feature maps"), ` ${range}. Click one to enlarge it.`);
      const bars = [scale.saved(message, shown.scope, max)];
      subjects.all = {
        parts: [sheet],
        caption: `Feature maps ${range} of ${shown.layer} of ${network.title}. ${message.source}`,
        bars,
        cells: [COLUMNS, rows],
      };
      const pageCount = Math.ceil(channels / PAGE);
      toggle(pages, pageCount > 1);
      if (pages.childElementCount !== pageCount) {
        const turn = (/** @type {number} */ index) => () => {
          page = index;
          again();
        };
        pages.replaceChildren(
          ...Array.from({ length: pageCount }, (_, index) =>
            el("button", { type: "button", ariaLabel: `Page ${index + 1}`, onclick: turn(index) }, String(index + 1)),
          ),
        );
      }
      pages.ariaLabel = `Pages of feature maps of ${network.title}`;
      [...pages.children].forEach((button, index) => {
        button.ariaCurrent = String(index === page);
      });

      fillTiles(count);
      grid.ariaLabel = `Feature maps of ${shown.layer} of ${network.title}`;
      grid.style.aspectRatio = `${COLUMNS} / ${rows}`;
      grid.style.setProperty("--ratio", String(COLUMNS / rows)); // to fill the screen
      sheet.width = COLUMNS * width;
      sheet.height = rows * height;
      const context = context2d(sheet);
      context.fillStyle = "#808080";
      context.fillRect(0, 0, sheet.width, sheet.height);
      const stats = floats(layer.body, layer.stats, 4 * channels);
      buttons.forEach((button, index) => {
        context.putImageData(paint(placeOf(first + index)), (index % COLUMNS) * width, Math.floor(index / COLUMNS) * height);
        const [low, high] = stats.subarray(4 * (first + index));
        const title = `channel ${first + index}, from ${formatNumber(low)} to ${formatNumber(high)}`;
        update(button, { title, ariaLabel: title, ariaPressed: String(first + index === chosen) });
      });
      setTabStop(buttons, buttons[(chosen ?? first) - first] ?? buttons[0]);
      scale.show(message, `feature map, ±${formatNumber(max)}`);

      number.max = String(channels - 1);
      update(number, { value: String(chosen ?? "") });
      for (const part of [pixels.box, meaning, link, tools]) toggle(part, chosen !== null);
      if (chosen === null) return;
      paintImage(large, paint(layer.chosen?.channel === chosen ? layer.chosen.map : placeOf(chosen)));
      large.style.width = `${large.width * enlargement(large.width, large.height, LARGE_PX)}px`;
      large.ariaLabel = `Feature map of channel ${chosen}`;
      enlarged = chosen;
      const words = `channel ${chosen} of ${shown.layer} of ${network.title}`;
      pixels.update({ which, layer: shown.layer }, layer.shape, pixelOf(shown.at), words);
      setText(meaning, channelText(stats.subarray(4 * chosen, 4 * chosen + 4), network.target));
      const what = `Feature map of channel ${chosen} of ${shown.layer} of ${network.title}. ${meaning.textContent} ${message.source}`;
      subjects.one = { parts: [large], caption: what, bars };
    },
  };
}

/**
 * `download` saves the raw numbers of the shown layer of a network.
 * @type {(root: HTMLElement, select: Select, download: (which: number) => void, openUnit: OpenUnit) => Draw}
 */
export function panelView(root, select, download, openUnit) {
  /** @type {ReturnType<typeof camPart>[]} */
  let cams = [];
  /** @type {ReturnType<typeof mapsPart>[]} */
  let maps = [];
  const table = el("table");
  let built = "";
  /** @type {Record<string, unknown[]>} */
  const drawn = {}; // what each part shows, so that it is drawn anew only where that changes
  /** @type {(part: string, key: unknown[], draw: () => void) => void} */
  const memo = (part, key, draw) => {
    if (drawn[part]?.every((value, index) => value === key[index])) return;
    drawn[part] = key;
    draw();
  };
  return (state) => {
    const { message, selection } = state;
    const layer = shownLayer(state);
    if (!message || layer === null) return;
    const titles = message.networks.map(({ title }) => title).join("\n");
    if (built !== titles) {
      built = titles;
      cams = message.networks.map(({ title }, which) => camPart(which, title));
      maps = message.networks.map(({ title }, which) => mapsPart(which, title, select, openUnit));
      root.replaceChildren(
        el("div", { className: "columns" }, ...cams.map((part) => part.box)),
        table,
        el("div", { className: "columns" }, ...maps.map((part) => part.box)),
        el("div", { className: "downloads" }, ...message.networks.map(({ title }, which) => downloadButton(title, () => download(which)))),
      );
      for (const part of Object.keys(drawn)) delete drawn[part];
    }
    const shown = { ...selection, layer };
    const column = message.columns.findIndex(({ name }) => name === layer);
    const there = message.networks.map((network) => network.layers[layer]);
    const { scope, opacity, evidence, channel, at } = selection;
    memo("cams", [message.predictions, layer, scope, opacity, evidence], () => {
      for (const part of cams) part.update(message, column, shown);
    });
    const isThere = there.some(Boolean);
    table.classList.toggle("waiting", !isThere);
    if (isThere) memo("table", [layer, ...there], () => fillTable(table, message, layer));
    memo("maps", [message.predictions, layer, scope, channel, at, ...there], () => {
      for (const part of maps) part.update(message, column, shown);
    });
    if (state.view) for (const part of maps) part.follow(state.view, layer, channel);
  };
}
