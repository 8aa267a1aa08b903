// "Full screen" and "Save as PNG" of a picture, with its colour bars and its caption.

import { context2d, el, save } from "./dom.js";
import { paintElements } from "./paint.js";
import { BAR, contentWidth, enlargement, fileName, LINE, layOut, wrap } from "./picture_layout.js";

const SCALE = 2; // pixels of the file for one of the page
const LINE_COLOR = "#808080"; // as on the page

/** @type {(context: CanvasRenderingContext2D, bar: SavedBar, corner: Corner, font: (size: number) => string) => void} */
function drawBar(context, { source, title, ends: [low, high] }, { x, y }, font) {
  context.font = font(13);
  context.fillText(title, x, y);
  context.drawImage(source, x, y + BAR.title, BAR.width, BAR.height);
  context.font = font(12);
  const below = y + BAR.title + BAR.height + 3;
  context.fillText(low, x, below);
  context.textAlign = "right";
  context.fillText(high, x + BAR.width, below);
  context.textAlign = "left";
}

/** The picture as a file, on the background of the page. @type {(page: Element, subject: Subject) => Promise<Blob>} */
async function compose(page, { parts, caption, bars = [], cells = [1, 1] }) {
  const [first] = parts;
  const isCanvas = first instanceof HTMLCanvasElement;
  const picture = isCanvas ? first : await paintElements(parts, SCALE);
  const factor = isCanvas ? enlargement(picture.width, picture.height) : 1 / SCALE;
  const [width, height] = [picture.width * factor, picture.height * factor];
  const style = getComputedStyle(page);
  const font = (/** @type {number} */ size) => `${size}px ${style.fontFamily}`;
  const canvas = el("canvas");
  const context = context2d(canvas);
  context.font = font(14);
  const lines = wrap(caption, contentWidth(width), (text) => context.measureText(text).width);
  const layout = layOut({ width, height }, bars.length, lines.length);
  canvas.width = layout.width * SCALE;
  canvas.height = layout.height * SCALE;
  context.scale(SCALE, SCALE);
  context.fillStyle = style.getPropertyValue("--st-background-color") || "#fff";
  context.fillRect(0, 0, layout.width, layout.height);
  context.imageSmoothingEnabled = false;
  const { x, y } = layout.picture;
  context.drawImage(picture, x, y, width, height);
  const [columns, rows] = cells;
  context.fillStyle = LINE_COLOR;
  for (let column = 1; column < columns; column += 1) context.fillRect(x + (column / columns) * width - 0.5, y, 1, height);
  for (let row = 1; row < rows; row += 1) context.fillRect(x, y + (row / rows) * height - 0.5, width, 1);
  context.fillStyle = style.color;
  context.textBaseline = "top";
  bars.forEach((bar, index) => {
    drawBar(context, bar, layout.bars[index], font);
  });
  context.font = font(14);
  lines.forEach((line, index) => {
    context.fillText(line, layout.caption.x, layout.caption.y + index * LINE);
  });
  return new Promise((resolve, reject) =>
    canvas.toBlob((file) => (file ? resolve(file) : reject(new Error("the image is too large for this browser")))),
  );
}

/**
 * @param {HTMLElement} box what fills the screen; the buttons belong into it, so that they are at hand there
 * @param {string} name of the picture
 * @param {() => Subject} describe is asked when the picture is saved
 */
export function pictureTools(box, name, describe) {
  const full = el("button", { type: "button", ariaLabel: `Full screen: ${name}` }, "Full screen");
  const file = el("button", { type: "button", ariaLabel: `Save as PNG: ${name}` }, "Save as PNG");
  const failed = el("span", { role: "alert" });
  const isFull = () => box.matches(":fullscreen");
  full.hidden = !document.fullscreenEnabled;
  full.onclick = () => (isFull() ? document.exitFullscreen() : box.requestFullscreen());
  box.addEventListener("fullscreenchange", () => full.setAttribute("aria-pressed", String(isFull())));
  box.addEventListener("keydown", ({ key }) => {
    if (key === "Escape" && isFull()) document.exitFullscreen();
  });
  file.onclick = async () => {
    failed.textContent = "";
    try {
      const subject = describe();
      save(await compose(box, subject), fileName(subject.caption));
    } catch (error) {
      failed.textContent = `Nothing was saved: ${error instanceof Error ? error.message : error}`;
    }
  };
  return el("div", { className: "picture-tools" }, full, file, failed);
}
