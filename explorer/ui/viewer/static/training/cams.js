// The first test pictures, each beside its Grad-CAM of every network, all on one scale.

import { tickedBar } from "../charts/ticked_bar.js";
import { heatPixels } from "../colors.js";
import { el, paintImage, setText } from "../dom.js";
import { formatReading } from "../format.js";
import { pictureTools } from "../picture_tools.js";
import { answerText, framesView, labelOf, nameOf, photo, stepHeading } from "./samples.js";

const SIDE_PX = 96; // of a painted map: a picture on the page is as large, or smaller

const bytes = (/** @type {string} */ text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/** `end`: of the scale. @type {(top: number | null, end: number) => string} */
function topText(top, end) {
  if (top === null) return "its values are no finite numbers";
  if (top === 0) return "zero everywhere: nothing supports this class";
  return `largest value ${formatReading(top)}, scale to ${formatReading(end)}`;
}

/** @type {(...content: HTMLElement[]) => HTMLElement} */
const tileBox = (...content) => el("div", { className: "tile" }, ...content);

/** @type {(root: HTMLElement) => (data: CamsData, until?: number) => void} */
export function camsView(root) {
  const heading = el("div", { className: "heading" });
  const list = el("ul", { className: "cams" });
  const bar = el("div", { className: "bar" });
  let source = "";
  const subject = () => ({ parts: [list, bar], caption: `${heading.textContent}. ${source}` });
  root.append(heading, list, bar, pictureTools(root, "Grad-CAM of the test images", subject));
  /** @type {{face: HTMLElement, canvas: HTMLCanvasElement, line: HTMLElement}[][]} */
  let tiles = [];
  /** @type {ReturnType<typeof tickedBar> | null} */
  let scale = null;
  let palette = new Uint8Array();

  return framesView(
    (/** @type {CamsData} */ data) => {
      palette = bytes(data.palette);
      source = data.source;
      tiles = data.pictures.map((src) =>
        data.networks.map(() => {
          const canvas = el("canvas", { width: SIDE_PX, height: SIDE_PX, ariaHidden: "true" });
          const face = el("div", { className: "face", role: "img" }, el("img", { src, alt: "" }), canvas);
          return { face, canvas, line: el("span") };
        }),
      );
      const boxes = data.pictures.map((src, index) => {
        const face = el("div", { className: "face" }, photo(src, index));
        const networks = data.networks.map((network, which) =>
          tileBox(tiles[index][which].face, nameOf(network), tiles[index][which].line),
        );
        return el("li", {}, tileBox(face, labelOf(data.names[data.labels[index]])), ...networks);
      });
      list.ariaLabel = data.alt;
      list.replaceChildren(...boxes);
      scale = tickedBar(data.bar);
      bar.replaceChildren(...scale.parts);
    },
    (data, frame) => {
      const end = Math.max(0, ...frame.networks.flatMap(({ tops }) => tops.map((top) => top ?? 0)));
      setText(heading, stepHeading(`Where they look: Grad-CAM for the true class at the block ${data.layer}`, frame.step));
      scale?.setMarks([
        { label: "0", at: 0 },
        { label: formatReading(end), at: 1 },
      ]);
      frame.networks.forEach(({ size: [height, width], tops, maps, answers }, which) => {
        tiles.forEach((networks, index) => {
          const { face, canvas, line } = networks[which];
          const strength = end > 0 ? (tops[index] ?? 0) / end / 255 : 0;
          const pixels = heatPixels({ values: bytes(maps[index]), height, width }, strength, palette, data.opacity, SIDE_PX);
          paintImage(canvas, new ImageData(pixels, SIDE_PX, SIDE_PX));
          face.title = topText(tops[index], end);
          const what = `Grad-CAM of ${data.networks[which].title} on test image ${index + 1}`;
          face.ariaLabel = `${what}, for the class ${data.names[data.labels[index]]}: ${face.title}`;
          setText(line, answerText(data, answers, index));
        });
      });
    },
  );
}
