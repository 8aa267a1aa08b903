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
const TITLES = { cam: "Grad-CAM", map: "feature map", signed: "Signed Grad-CAM" };

/** How a Grad-CAM is drawn. @type {(selection: Pick<LayerSelection, "evidence">) => "cam" | "signed"} */
export const camKind = ({ evidence }) => (evidence === "signed" ? "signed" : "cam");

/** @type {(kind: Kind) => string} */
export const titleOf = (kind) => TITLES[kind];

/** What the colours of a Grad-CAM say, where they have two signs. @type {(kind: Kind) => string} */
const meaningOf = (kind) => (kind === "signed" ? ": red supports the explained class, blue opposes it" : "");
/** @type {HTMLCanvasElement | undefined} */
let buffer;

/** A canvas with that picture, to be drawn enlarged; the next call overwrites it. @type {(image: ImageData) => HTMLCanvasElement} */
export function asCanvas(image) {
  buffer ??= document.createElement("canvas");
  paintImage(buffer, image);
  return buffer;
}

/** The palette from left to right, and what it stands for: `kind`, or what `show` was called with. @param {Kind} kind */
export function colorBar(kind) {
  const canvas = el("canvas", { className: "bar", width: 256, height: 1, role: "img", ariaLabel: "Colour scale" });
  const caption = el("span");
  /** @type {Kind | null} */
  let painted = null;
  return {
    box: el("div", { className: "scale" }, canvas, caption),
    /**
     * The bar of a saved picture, which shows values up to `max`.
     * @type {(message: Message, scope: Scope, max?: number) => SavedBar}
     */
    saved(message, scope, max) {
      return { source: canvas, title: TITLES[painted ?? kind], ends: scaleEnds(message, painted ?? kind, scope, max) };
    },
    /** @type {(message: Message, text: string, now?: Kind) => void} */
    show(message, text, now = kind) {
      if (painted !== now) {
        const steps = Uint8Array.from({ length: 256 }, (_, step) => step);
        paintImage(canvas, toImageData({ values: steps, height: 1, width: 256 }, colorTable(paletteOf(message, now), now, 1, 1)));
        painted = now;
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
    if (kind === "map") return text;
    return `${text}${meaningOf(kind)}. So a weak layer glows like a strong one: the bars under the maps say how strong it is`;
  }
  const parts = networks.map((_, index) => `${from}${formatNumber(maxima[kind][scope][index])}`);
  if (scope === "both" || parts.length === 1) return `${name}: ${parts[0]}${meaningOf(kind)}`;
  return `${name}: ${parts.map((part, index) => `${part} (${networks[index].title})`).join(", ")}${meaningOf(kind)}`;
}
