// The first test pictures, each beside its Grad-CAM of every network, all on one scale.

import { tickedBar } from "../charts/ticked_bar.js";
import { heatPixels } from "../colors.js";
import { context2d, el, setText } from "../dom.js";
import { formatReading } from "../format.js";
import { pictureTools } from "../picture_tools.js";
import { answerText, frameAt } from "./samples.js";

/**
 * @typedef {object} Looks where one network looks at one step
 * @property {[height: number, width: number]} size
 * @property {(number | null)[]} tops the largest value of each map; null: no finite number
 * @property {string[]} maps uint8 shares 0..255 of the largest value, as base64
 * @property {import("./samples.js").Answers} answers
 */

/**
 * @typedef {object} Cams
 * @property {"cams"} kind
 * @property {string} alt
 * @property {string} layer
 * @property {string} palette 256 colours, as base64
 * @property {number} opacity where the heat is largest
 * @property {import("../charts/ticked_bar.js").Bar} bar
 * @property {{step: number, networks: Looks[]}[]} frames
 */

/** @typedef {import("./samples.js").Samples & Cams} CamsData `cams` of live.py */

const SIDE_PX = 96; // of a painted map: a picture on the page is as large, or smaller

const bytes = (/** @type {string} */ text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/**
 * @param {number | null} top
 * @param {number} end of the scale
 */
function topText(top, end) {
  if (top === null) return "its values are no finite numbers";
  if (top === 0) return "zero everywhere: nowhere does it speak for this class";
  return `largest value ${formatReading(top)}, scale to ${formatReading(end)}`;
}

/** @param {HTMLElement} root */
export function camsView(root) {
  const heading = el("div", { className: "heading" });
  const list = el("ul", { className: "cams" });
  const bar = el("div", { className: "bar" });
  const subject = () => ({ parts: [list, bar], caption: `${heading.textContent}.` });
  root.append(heading, list, bar, pictureTools(root, "Grad-CAM of the test pictures", subject));
  /** @type {{face: HTMLElement, canvas: HTMLCanvasElement, line: HTMLElement}[][]} */
  let tiles = [];
  /** @type {ReturnType<typeof tickedBar> | null} */
  let scale = null;
  let palette = new Uint8Array();
  /** @type {CamsData | null} */
  let shown = null;
  /** @type {CamsData["frames"][0] | null} */
  let painted = null;

  /** @param {CamsData} data */
  function build(data) {
    palette = bytes(data.palette);
    tiles = data.pictures.map((src) =>
      data.networks.map(() => {
        const canvas = el("canvas", { width: SIDE_PX, height: SIDE_PX, ariaHidden: "true" });
        const face = el("div", { className: "face", role: "img" }, el("img", { src, alt: "" }), canvas);
        return { face, canvas, line: el("span") };
      }),
    );
    list.setAttribute("aria-label", data.alt);
    list.replaceChildren(
      ...data.pictures.map((src, index) => {
        const name = data.names[data.labels[index]];
        const face = el("div", { className: "face" }, el("img", { src, alt: `Test picture ${index + 1}` }));
        const networks = data.networks.map(({ title, colour }, which) => {
          const tile = tiles[index][which];
          return el("div", { className: "tile" }, tile.face, el("b", { style: `color:${colour}` }, title), tile.line);
        });
        return el("li", {}, el("div", { className: "tile" }, face, el("b", { title: name }, name)), ...networks);
      }),
    );
    scale = tickedBar(data.bar);
    bar.replaceChildren(...scale.parts);
  }

  return (/** @type {CamsData} */ data, until = Number.POSITIVE_INFINITY) => {
    if (shown !== data) build(data);
    const frame = frameAt(data.frames, until);
    if (shown === data && painted === frame) return;
    [shown, painted] = [data, frame];
    const end = Math.max(0, ...frame.networks.flatMap(({ tops }) => tops.map((top) => top ?? 0)));
    const step = frame.step.toLocaleString("en");
    setText(heading, `Where they look: Grad-CAM for the true class at the block ${data.layer}, now at step ${step}`);
    scale?.setMarks([
      { label: "0", at: 0 },
      { label: formatReading(end), at: 1 },
    ]);
    frame.networks.forEach(({ size: [height, width], tops, maps, answers }, which) => {
      tiles.forEach((networks, index) => {
        const { face, canvas, line } = networks[which];
        const strength = end > 0 ? (tops[index] ?? 0) / end / 255 : 0;
        const pixels = heatPixels(bytes(maps[index]), height, width, strength, palette, data.opacity, SIDE_PX);
        context2d(canvas).putImageData(new ImageData(pixels, SIDE_PX, SIDE_PX), 0, 0);
        const found = topText(tops[index], end);
        const what = `Grad-CAM of ${data.networks[which].title} on test picture ${index + 1}`;
        face.setAttribute("aria-label", `${what}, for the class ${data.names[data.labels[index]]}: ${found}`);
        face.title = found;
        setText(line, answerText(data, answers, index));
      });
    });
  };
}
