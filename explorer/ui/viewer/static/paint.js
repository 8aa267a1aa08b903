// Draws on a canvas, or as SVG, what the page shows: pictures, drawings, words and lines of an element, each where it stands.

import { svgEl } from "./dom.js";

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

/** The text of each drawing, by the picture of it. @type {WeakMap<CanvasImageSource, string>} */
export const drawings = new WeakMap();

/** A presentation enlarges its page: there a box has more pixels than its style says. @param {Element} element */
const zoomOf = (element) => /** @type {Element & {currentCSSZoom?: number}} */ (element).currentCSSZoom ?? 1;

/** In the pixels of the style. @type {(place: Element | Range, zoom: number) => Box} */
function boxOf(place, zoom) {
  const { left, top, width, height } = place.getBoundingClientRect();
  return { left: left / zoom, top: top / zoom, width: width / zoom, height: height / zoom };
}

/** Gradients and clips of the copy that another drawing defines. @type {(svg: SVGSVGElement, copy: SVGSVGElement) => void} */
function addDefinitions(svg, copy) {
  const names = new Set([...copy.outerHTML.matchAll(/url\((?:["']|&quot;)?[^)#]*#([^)"'&]+)/g)].map(([, name]) => name));
  const root = /** @type {Document | ShadowRoot} */ (svg.getRootNode());
  for (const name of names) {
    const defined = copy.querySelector(`#${CSS.escape(name)}`) ? null : root.getElementById(name);
    if (defined) copy.append(svgEl("defs", {}, defined.cloneNode(true)));
  }
}

/** @type {(svg: SVGSVGElement) => string} */
function drawingSource(svg) {
  const copy = /** @type {SVGSVGElement} */ (svg.cloneNode(true));
  const copies = [copy, ...copy.querySelectorAll("*")];
  [svg, ...svg.querySelectorAll("*")].forEach((element, index) => {
    const [style, own] = [getComputedStyle(element), /** @type {SVGElement} */ (copies[index]).style];
    for (const name of STYLES) own.setProperty(name, style.getPropertyValue(name));
    if (!(element instanceof SVGTextContentElement) || element.childElementCount || !element.getComputedTextLength()) return;
    copies[index].setAttribute("textLength", String(element.getComputedTextLength())); // the file may be without the font
    copies[index].setAttribute("lengthAdjust", "spacingAndGlyphs");
  });
  addDefinitions(svg, copy);
  const { width, height } = boxOf(svg, zoomOf(svg));
  copy.setAttribute("width", String(width));
  copy.setAttribute("height", String(height));
  copy.style.overflow = "visible";
  return new XMLSerializer().serializeToString(copy).replaceAll(/url\((["']|&quot;)?[^)#]*#/g, "url($1#"); // none of the page
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
    const drawing = element instanceof SVGSVGElement && drawingSource(element);
    const source = drawing ? `data:image/svg+xml;charset=utf-8,${encodeURIComponent(drawing)}` : backgroundOf(element);
    if (!source) return;
    const picture = await loaded(source);
    if (drawing) drawings.set(picture, drawing);
    pictures.set(element, picture);
  };
  await Promise.all(found.map(load));
  return pictures;
}

/** @type {(context: Paper, text: string, box: Box, style: CSSStyleDeclaration) => void} */
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

/** `style`: of its element. @type {(context: Paper, text: Text, style: CSSStyleDeclaration, zoom: number) => void} */
function drawText(context, text, style, zoom) {
  const range = document.createRange();
  for (const { 0: word, index } of text.data.matchAll(/\S+/g)) {
    range.setStart(text, index);
    range.setEnd(text, index + word.length);
    if (range.getClientRects().length === 1) {
      drawWord(context, word, boxOf(range, zoom), style);
      continue;
    }
    for (let place = index; place < index + word.length; place += 1) {
      range.setStart(text, place); // a word that is broken
      range.setEnd(text, place + 1);
      drawWord(context, text.data[place], boxOf(range, zoom), style);
    }
  }
}

/** @type {(context: Paper, box: Box, style: CSSStyleDeclaration) => void} */
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
 * @type {(context: Paper, element: Element, pictures: Map<Element, HTMLImageElement>, opacity: number, zoom: number) => void}
 */
function drawElement(context, element, pictures, opacity, zoom) {
  const style = getComputedStyle(element);
  const box = boxOf(element, zoom);
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
    if (child instanceof Text) drawText(context, child, style, zoom);
    else if (child instanceof Element) drawElement(context, child, pictures, seen, zoom);
    context.globalAlpha = seen;
  }
  context.restore();
  const after = getComputedStyle(element, "::after");
  if (after.content.startsWith('"')) drawWord(context, JSON.parse(after.content), box, after);
}

/**
 * The elements under each other, with all that is scrolled out of sight, in pixels of the page without its zoom.
 * @type {(elements: Element[]) => Promise<{width: number, height: number, draw: (context: Paper) => void}>}
 */
export async function paintElements(elements) {
  const pictures = await loadPictures(elements);
  const zoom = zoomOf(elements[0]);
  const boxes = () => elements.map((element) => boxOf(element, zoom));
  const draw = (/** @type {Paper} */ context) => {
    const scrollers = elements.map((element) => element.closest(".scroller"));
    const before = scrollers.map((scroller) => scroller?.scrollLeft ?? 0);
    for (const scroller of scrollers) scroller?.scrollTo({ left: 0, behavior: "instant" });
    let below = 0;
    boxes().forEach(({ left, top, height }, index) => {
      context.save();
      context.translate(-left, below - top);
      drawElement(context, elements[index], pictures, 1, zoom);
      context.restore();
      below += height;
    });
    scrollers.forEach((scroller, index) => {
      scroller?.scrollTo({ left: before[index], behavior: "instant" });
    });
  };
  const width = Math.max(...boxes().map((box) => box.width));
  return { width, height: boxes().reduce((sum, box) => sum + box.height, 0), draw };
}
