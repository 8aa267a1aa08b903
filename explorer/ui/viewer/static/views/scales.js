// What the pieces of the viewer share: colour bars, their captions, and one canvas to enlarge pictures with.

import { colorTable, toImageData } from "../colors.js";
import { context2d, el, setText } from "../dom.js";
import { formatNumber } from "../format.js";

/** @typedef {import("../message.js").Message} Message */
/** @typedef {import("../colors.js").Kind} Kind */
/** @typedef {import("../colors.js").Scope} Scope */

/**
 * @param {Message} message
 * @param {Kind} kind
 */
export const paletteOf = ({ body, palettes }, kind) => body.subarray(palettes[kind], palettes[kind] + 768);

/**
 * The raw value that is drawn as the brightest colour.
 * @param {Message} message
 * @param {Kind} kind
 * @param {number} network
 * @param {number} column
 * @param {Scope} scope
 * @returns {number}
 */
export function scaleMax({ maxima }, kind, network, column, scope) {
  const found = maxima[kind][scope][network];
  return scope === "layer" ? found[column] : found;
}

/** @type {Record<Kind, string>} */
const TITLES = { cam: "Grad-CAM", map: "feature map" };
/** @type {HTMLCanvasElement | undefined} */
let buffer;

/**
 * A canvas with that picture, to be drawn enlarged; the next call overwrites it.
 * @param {ImageData} image
 */
export function asCanvas(image) {
  buffer ??= document.createElement("canvas");
  buffer.width = image.width;
  buffer.height = image.height;
  context2d(buffer).putImageData(image, 0, 0);
  return buffer;
}

/**
 * The palette from left to right, and what it stands for.
 * @param {Kind} kind
 */
export function colorBar(kind) {
  const canvas = el("canvas", { className: "bar", width: 256, height: 1, role: "img", ariaLabel: "Colour scale" });
  const caption = el("span");
  let painted = false;
  return {
    box: el("div", { className: "scale" }, canvas, caption),
    /**
     * The bar of a saved picture.
     * @param {Message} message
     * @param {Scope} scope
     * @param {number} [max] of all that the picture shows
     * @returns {import("../picture_tools.js").Bar}
     */
    saved(message, scope, max) {
      return { source: canvas, title: TITLES[kind], ends: scaleEnds(message, kind, scope, max) };
    },
    /**
     * @param {Message} message
     * @param {string} text
     */
    show(message, text) {
      if (!painted) {
        const steps = Uint8Array.from({ length: 256 }, (_, step) => step);
        context2d(canvas).putImageData(toImageData(steps, 1, 256, colorTable(paletteOf(message, kind), kind, 1, 1)), 0, 0);
        painted = true;
      }
      setText(caption, text);
      canvas.ariaLabel = `Colour scale. ${text}`;
    },
  };
}

/**
 * What the ends of a colour bar stand for.
 * @param {Pick<Message, "networks" | "maxima">} message
 * @param {Kind} kind
 * @param {Scope} scope
 * @param {number} [max] where it is known
 * @returns {[low: string, high: string]}
 */
export function scaleEnds({ networks, maxima }, kind, scope, max) {
  const shared = scope === "both" || (scope === "network" && networks.length === 1) ? maxima[kind][scope][0] : undefined;
  const known = max ?? shared;
  const end = known === undefined ? `largest of the ${scope}` : formatNumber(known);
  return kind === "cam" ? ["0", end] : [`−${end}`, end];
}

/**
 * What one scale for each layer, network or all means, in words and numbers.
 * @param {Message} message
 * @param {Kind} kind
 * @param {Scope} scope
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
