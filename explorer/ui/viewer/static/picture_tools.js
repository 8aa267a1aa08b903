// "Full screen", "Save as PNG" and "Save as SVG" of a picture, with its colour bars and its caption.

import { context2d, el, save } from "./dom.js";
import { drawings, paintElements } from "./paint.js";
import { BAR, contentWidth, enlargement, fileName, LINE, layOut, wrap } from "./picture_layout.js";
import { SvgPaper } from "./svg_paper.js";

const SCALE = 2; // pixels of a PNG for one of the page
const LINE_COLOR = "#808080"; // as on the page
/** @type {FileKind[]} */
const KINDS = ["png", "svg"];

/** @type {(context: Paper, bar: SavedBar, corner: Corner, font: (size: number) => string) => void} */
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

/** A picture for an SVG: its drawing, or all its own pixels. @type {(image: CanvasImageSource) => {uri: string} | {markup: string}} */
function sourceOf(image) {
  const markup = drawings.get(image);
  if (markup) return { markup };
  if (image instanceof HTMLCanvasElement) return { uri: image.toDataURL() };
  if (!(image instanceof HTMLImageElement)) throw new Error("no such picture is drawn here");
  const canvas = el("canvas", { width: image.naturalWidth, height: image.naturalHeight });
  context2d(canvas).drawImage(image, 0, 0);
  return { uri: canvas.toDataURL() };
}

/** @type {(canvas: HTMLCanvasElement) => {width: number, height: number, draw: (context: Paper) => void}} */
function canvasPicture(canvas) {
  const factor = enlargement(canvas.width, canvas.height);
  const [width, height] = [canvas.width * factor, canvas.height * factor];
  return { width, height, draw: (context) => context.drawImage(canvas, 0, 0, width, height) };
}

/** The picture as a file, on the background of the page. @type {(page: Element, subject: Subject, kind: FileKind) => Promise<Blob>} */
async function compose(page, { parts, caption, bars = [], cells = [1, 1] }, kind) {
  const [first] = parts;
  const picture = first instanceof HTMLCanvasElement ? canvasPicture(first) : await paintElements(parts);
  const { width, height } = picture;
  const style = getComputedStyle(page);
  const font = (/** @type {number} */ size) => `${size}px ${style.fontFamily}`;
  const canvas = el("canvas");
  const pixels = context2d(canvas);
  pixels.font = font(14);
  const lines = wrap(caption, contentWidth(width), (text) => pixels.measureText(text).width);
  const layout = layOut({ width, height }, bars.length, lines.length);
  const svg = kind === "svg" ? new SvgPaper(pixels, sourceOf) : null;
  if (!svg) {
    canvas.width = layout.width * SCALE;
    canvas.height = layout.height * SCALE;
    pixels.scale(SCALE, SCALE);
  }
  /** @type {Paper} */
  const context = svg ?? pixels;
  context.fillStyle = style.getPropertyValue("--st-background-color") || "#fff";
  context.fillRect(0, 0, layout.width, layout.height);
  context.imageSmoothingEnabled = false;
  const { x, y } = layout.picture;
  context.save();
  context.translate(x, y);
  picture.draw(context);
  const [columns, rows] = cells;
  context.fillStyle = LINE_COLOR;
  for (let column = 1; column < columns; column += 1) context.fillRect((column / columns) * width - 0.5, 0, 1, height);
  for (let row = 1; row < rows; row += 1) context.fillRect(0, (row / rows) * height - 0.5, width, 1);
  context.restore();
  context.fillStyle = style.color;
  context.textBaseline = "top";
  bars.forEach((bar, index) => {
    drawBar(context, bar, layout.bars[index], font);
  });
  context.font = font(14);
  lines.forEach((line, index) => {
    context.fillText(line, layout.caption.x, layout.caption.y + index * LINE);
  });
  if (svg) return new Blob([svg.markup(layout.width, layout.height, caption)], { type: "image/svg+xml" });
  return new Promise((resolve, reject) =>
    canvas.toBlob((file) => (file ? resolve(file) : reject(new Error("the image is too large for this browser")))),
  );
}

/**
 * A button for each kind of file, and what says that one failed.
 * @param {Element} page whose colours and font the file has
 * @param {string} name of the picture
 * @param {() => Subject} describe is asked when the picture is saved
 */
export function saveButtons(page, name, describe) {
  const failed = el("span", { role: "alert" });
  const buttons = KINDS.map((kind) => {
    const title = `Save as ${kind.toUpperCase()}`;
    const onclick = async () => {
      failed.textContent = "";
      try {
        const subject = describe();
        save(await compose(page, subject, kind), fileName(subject.caption, kind));
      } catch (error) {
        failed.textContent = `Nothing was saved: ${error instanceof Error ? error.message : error}`;
      }
    };
    return el("button", { type: "button", className: "download", ariaLabel: `${title}: ${name}`, onclick }, title);
  });
  return [...buttons, failed];
}

/**
 * @param {HTMLElement} box what fills the screen; the buttons belong into it, so that they are at hand there
 * @param {string} name of the picture
 * @param {() => Subject} describe is asked when the picture is saved
 */
export function pictureTools(box, name, describe) {
  const full = el("button", { type: "button", ariaLabel: `Full screen: ${name}` }, "Full screen");
  const isFull = () => box.matches(":fullscreen");
  full.hidden = !document.fullscreenEnabled;
  full.onclick = () => (isFull() ? document.exitFullscreen() : box.requestFullscreen());
  box.addEventListener("fullscreenchange", () => full.setAttribute("aria-pressed", String(isFull())));
  box.addEventListener("keydown", ({ key }) => {
    if (key === "Escape" && isFull()) document.exitFullscreen();
  });
  return el("div", { className: "picture-tools" }, full, ...saveButtons(box, name, describe));
}
