// Draws on a canvas what the page shows: pictures, drawings, words and lines of an element, each where it stands.

import { context2d, el } from "./dom.js";

const UNSEEN = ".picture-tools, .says, .tip, .band"; // the band of the selected layer lies below the pictures
/** What a drawing has from style sheets, which do not come with it. */
const STYLES = `fill fill-opacity stroke stroke-width stroke-dasharray stroke-linejoin stroke-linecap opacity vector-effect font-family
  font-size font-weight image-rendering`.split(/\s+/);

/** @type {(src: string) => HTMLImageElement} */
async function loaded(src) {
  const image = new Image();
  image.src = src;
  await image.decode();
  return image;
}

/** @type {(svg: SVGSVGElement) => string} */
function drawingSource(svg) {
  const copy = /** @type {SVGSVGElement} */ (svg.cloneNode(true));
  const copies = [copy, ...copy.querySelectorAll("*")];
  [svg, ...svg.querySelectorAll("*")].forEach((element, index) => {
    const [style, own] = [getComputedStyle(element), /** @type {SVGElement} */ (copies[index]).style];
    for (const name of STYLES) own.setProperty(name, style.getPropertyValue(name));
  });
  const { width, height } = svg.getBoundingClientRect();
  copy.setAttribute("width", String(width));
  copy.setAttribute("height", String(height));
  copy.style.overflow = "visible";
  return `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(copy))}`;
}

/** @type {(element: Element) => string | false | undefined} */
const backgroundOf = (element) => element instanceof HTMLElement && element.style.backgroundImage.match(/^url\("?(.*?)"?\)$/)?.[1];

/**
 * The pictures that have to be loaded before anything can be drawn.
 * @type {(elements: Element[]) => Promise<Map<Element, HTMLImageElement>>}
 */
async function loadPictures(elements) {
  const found = elements.flatMap((element) => [element, ...element.querySelectorAll("*")]);
  /** @type {Map<Element, HTMLImageElement>} */
  const pictures = new Map();
  const load = async (/** @type {Element} */ element) => {
    const source = element instanceof SVGSVGElement ? drawingSource(element) : backgroundOf(element);
    if (source) pictures.set(element, await loaded(source));
  };
  await Promise.all(found.map(load));
  return pictures;
}

/** @type {(context: CanvasRenderingContext2D, text: string, box: DOMRect, style: CSSStyleDeclaration) => void} */
function drawWord(context, text, { left, top, width, height }, style) {
  context.font = `${style.fontStyle} ${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
  context.fillStyle = style.color;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.save();
  context.translate(left + width / 2, top + height / 2);
  if (style.writingMode !== "horizontal-tb") context.rotate(-Math.PI / 2); // names of layers, which read upwards
  context.fillText(text, 0, 0);
  context.restore();
}

/** `style`: of its element. @type {(context: CanvasRenderingContext2D, text: Text, style: CSSStyleDeclaration) => void} */
function drawText(context, text, style) {
  const range = document.createRange();
  for (const { 0: word, index } of text.data.matchAll(/\S+/g)) {
    range.setStart(text, index);
    range.setEnd(text, index + word.length);
    if (range.getClientRects().length === 1) {
      drawWord(context, word, range.getBoundingClientRect(), style);
      continue;
    }
    for (let place = index; place < index + word.length; place += 1) {
      range.setStart(text, place); // a word that is broken
      range.setEnd(text, place + 1);
      drawWord(context, text.data[place], range.getBoundingClientRect(), style);
    }
  }
}

/** @type {(context: CanvasRenderingContext2D, box: DOMRect, style: CSSStyleDeclaration) => void} */
function drawBorders(context, { left, top, width, height }, style) {
  const thick = (/** @type {string} */ size) => Number.parseFloat(size) || 0;
  const [above, below] = [thick(style.borderTopWidth), thick(style.borderBottomWidth)];
  const [before, after] = [thick(style.borderLeftWidth), thick(style.borderRightWidth)];
  context.fillStyle = style.borderTopColor;
  for (let x = 0; x < width; x += 3 * above) {
    context.fillRect(left + x, top, Math.min(style.borderTopStyle === "dashed" ? 2 * above : width, width - x), above);
    if (style.borderTopStyle !== "dashed" || !above) break;
  }
  context.fillStyle = style.borderBottomColor;
  context.fillRect(left, top + height - below, width, below);
  context.fillRect(left, top, before, height);
  context.fillRect(left + width - after, top, after, height);
}

/**
 * `opacity`: of what it is in.
 * @type {(context: CanvasRenderingContext2D, element: Element, pictures: Map<Element, HTMLImageElement>, opacity: number) => void}
 */
function drawElement(context, element, pictures, opacity) {
  const style = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  if (element.matches(UNSEEN) || style.display === "none" || style.visibility === "hidden") return;
  const seen = opacity * Number(style.opacity);
  const { left, top, width, height } = box;
  context.globalAlpha = seen;
  context.fillStyle = style.backgroundColor;
  context.fillRect(left, top, width, height);
  drawBorders(context, box, style);
  const picture = pictures.get(element) ?? element;
  if (picture instanceof HTMLImageElement || picture instanceof HTMLCanvasElement) {
    context.imageSmoothingEnabled = style.imageRendering !== "pixelated";
    const [wide, tall] = picture instanceof HTMLImageElement ? [picture.naturalWidth, picture.naturalHeight] : [width, height];
    const fit = style.objectFit === "contain" ? Math.min(width / wide, height / tall) : 0;
    context.drawImage(picture, left, top, fit * wide || width, fit * tall || height);
  }
  if (element instanceof SVGSVGElement) return;
  context.save();
  if (style.overflow !== "visible") {
    context.beginPath();
    context.rect(left, top, width, height);
    context.clip(); // names that are too long
  }
  for (const child of element.childNodes) {
    if (child instanceof Text) drawText(context, child, style);
    else if (child instanceof Element) drawElement(context, child, pictures, seen);
    context.globalAlpha = seen;
  }
  context.restore();
  const after = getComputedStyle(element, "::after");
  if (after.content.startsWith('"')) drawWord(context, JSON.parse(after.content), box, after);
}

/**
 * The elements under each other, with all that is scrolled out of sight, with `scale` pixels for one of the page.
 * @type {(elements: Element[], scale: number) => Promise<HTMLCanvasElement>}
 */
export async function paintElements(elements, scale) {
  const pictures = await loadPictures(elements);
  const scrollers = elements.map((element) => element.closest(".scroller"));
  const before = scrollers.map((scroller) => scroller?.scrollLeft ?? 0);
  for (const scroller of scrollers) scroller?.scrollTo({ left: 0, behavior: "instant" });
  const boxes = elements.map((element) => element.getBoundingClientRect());
  const width = Math.max(...boxes.map((box) => box.width));
  const height = boxes.reduce((sum, box) => sum + box.height, 0);
  const canvas = el("canvas", { width: Math.ceil(width * scale), height: Math.ceil(height * scale) });
  const context = context2d(canvas);
  let below = 0;
  elements.forEach((element, index) => {
    context.setTransform(scale, 0, 0, scale, -boxes[index].left * scale, (below - boxes[index].top) * scale);
    drawElement(context, element, pictures, 1);
    below += boxes[index].height;
  });
  scrollers.forEach((scroller, index) => {
    scroller?.scrollTo({ left: before[index], behavior: "instant" });
  });
  return canvas;
}
