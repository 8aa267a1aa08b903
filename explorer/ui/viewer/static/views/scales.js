// What the pieces of the viewer share: colour bars, their captions, and one canvas to enlarge pictures with.

import { colorTable, toImageData } from "../colors.js";
import { el, paintImage, setText } from "../dom.js";
import { formatNumber } from "../format.js";

/** @type {(message: Message, kind: Kind) => Uint8Array<ArrayBuffer>} */
export const paletteOf = ({ body, palettes }, kind) => body.subarray(palettes[kind], palettes[kind] + 768);

/**
 * The raw value that is drawn as the brightest colour.
 * @type {(message: Message, kind: Kind, network: number, column: number, scope: Scope) => number}
 */
export const scaleMax = ({ maxima }, kind, network, column, scope) =>
  scope === "layer" ? maxima[kind].layer[network][column] : maxima[kind][scope][network];

/** @type {Record<Kind, string>} */
const TITLES = { cam: "Grad-CAM", map: "feature map" };
/** @type {HTMLCanvasElement | undefined} */
let buffer;

/** A canvas with that picture, to be drawn enlarged; the next call overwrites it. @type {(image: ImageData) => HTMLCanvasElement} */
export function asCanvas(image) {
  buffer ??= document.createElement("canvas");
  paintImage(buffer, image);
  return buffer;
}

/** The palette from left to right, and what it stands for. @param {Kind} kind */
export function colorBar(kind) {
  const canvas = el("canvas", { className: "bar", width: 256, height: 1, role: "img", ariaLabel: "Colour scale" });
  const caption = el("span");
  let painted = false;
  return {
    box: el("div", { className: "scale" }, canvas, caption),
    /**
     * The bar of a saved picture, which shows values up to `max`.
     * @type {(message: Message, scope: Scope, max?: number) => SavedBar}
     */
    saved(message, scope, max) {
      return { source: canvas, title: TITLES[kind], ends: scaleEnds(message, kind, scope, max) };
    },
    /** @type {(message: Message, text: string) => void} */
    show(message, text) {
      if (!painted) {
        const steps = Uint8Array.from({ length: 256 }, (_, step) => step);
        paintImage(canvas, toImageData({ values: steps, height: 1, width: 256 }, colorTable(paletteOf(message, kind), kind, 1, 1)));
        painted = true;
      }
      setText(caption, text);
      canvas.ariaLabel = `Colour scale. ${text}`;
    },
  };
}

/**
 * What the ends of a colour bar stand for; `max` where it is known.
 * @type {(message: Pick<Message, "networks" | "maxima">, kind: Kind, scope: Scope, max?: number) => [low: string, high: string]}
 */
export function scaleEnds({ networks, maxima }, kind, scope, max) {
  const shared = scope === "both" || (scope === "network" && networks.length === 1) ? maxima[kind][scope][0] : undefined;
  const known = max ?? shared;
  const end = known === undefined ? `largest of the ${scope}` : formatNumber(known);
  return kind === "cam" ? ["0", end] : [`−${end}`, end];
}

/**
 * What one scale for each layer, network or all means, in words and numbers.
 * @type {(message: Message, kind: Kind, scope: Scope) => string}
 */
export function scaleCaption({ networks, maxima }, kind, scope) {
  const name = TITLES[kind];
  const from = kind === "cam" ? "0 to " : "±";
  if (scope === "layer") {
    const text = `${name}: ${from}the largest value found in that layer${networks.length > 1 ? " of both networks" : ""}`;
    return kind === "cam" ? `${text}. So a weak layer glows like a strong one: the bars under the maps say how strong it is` : text;
  }
  const parts = networks.map((_, index) => `${from}${formatNumber(maxima[kind][scope][index])}`);
  if (scope === "both" || parts.length === 1) return `${name}: ${parts[0]}`;
  return `${name}: ${parts.map((part, index) => `${part} (${networks[index].title})`).join(", ")}`;
}
