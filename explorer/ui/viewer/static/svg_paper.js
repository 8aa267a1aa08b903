// What a canvas draws, written as SVG: one drawing makes the PNG and the SVG, so both hold the same.

/** @typedef {[a: number, b: number, c: number, d: number, e: number, f: number]} Matrix as in SVG */

/** @type {Matrix} */
const IDENTITY = [1, 0, 0, 1, 0, 0];

/** @type {(text: string) => string} */
const escaped = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

/** @type {(value: number) => string} */
const short = (value) => String(Math.round(value * 1000) / 1000);

/** @type {(outer: Matrix, inner: Matrix) => Matrix} */
const product = ([a, b, c, d, e, f], [g, h, i, j, k, l]) => [
  a * g + c * h,
  b * g + d * h,
  a * i + c * j,
  b * i + d * j,
  a * k + c * l + e,
  b * k + d * l + f,
];

/** @type {(colour: string) => boolean} */
const isClear = (colour) => colour === "transparent" || /^rgba\(.*, 0\)$/.test(colour);

/** The part of a canvas' context that the saved pictures use. @implements {Paper} */
export class SvgPaper {
  font = "10px sans-serif";
  /** @type {Paper["fillStyle"]} */
  fillStyle = "#000000";
  /** @type {CanvasTextAlign} */
  textAlign = "left";
  /** @type {CanvasTextBaseline} */
  textBaseline = "alphabetic";
  globalAlpha = 1;
  imageSmoothingEnabled = true;
  /** @type {string[]} */
  #written = [];
  #matrix = IDENTITY;
  #groups = 0; // that are open since the last `save`
  #clips = 0;
  /** @type {[left: number, top: number, width: number, height: number] | null} */
  #path = null;
  /** @type {{fields: object, matrix: Matrix, groups: number}[]} */
  #saved = [];
  #measure;
  #sourceOf;

  /**
   * @param {Pick<CanvasRenderingContext2D, "font" | "textBaseline" | "measureText">} measure a context that measures text
   * @param {(image: CanvasImageSource) => {uri: string} | {markup: string}} sourceOf a picture as the address of all its
   *   pixels, or as the text of an SVG
   */
  constructor(measure, sourceOf) {
    this.#measure = measure;
    this.#sourceOf = sourceOf;
  }

  /** The file. @type {(width: number, height: number, title: string) => string} */
  markup(width, height, title) {
    const size = `width="${short(width)}" height="${short(height)}" viewBox="0 0 ${short(width)} ${short(height)}"`;
    return `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img"><title>${escaped(title)}</title>\n${this.#written.join("\n")}\n</svg>\n`;
  }

  save() {
    const { font, fillStyle, textAlign, textBaseline, globalAlpha, imageSmoothingEnabled } = this;
    const fields = { font, fillStyle, textAlign, textBaseline, globalAlpha, imageSmoothingEnabled };
    this.#saved.push({ fields, matrix: this.#matrix, groups: this.#groups });
    this.#groups = 0;
  }

  restore() {
    const before = this.#saved.pop();
    if (!before) return;
    this.#written.push(...Array(this.#groups).fill("</g>"));
    Object.assign(this, before.fields);
    this.#matrix = before.matrix;
    this.#groups = before.groups;
  }

  /** @param {number} x @param {number} y */
  translate(x, y) {
    this.#matrix = product(this.#matrix, [1, 0, 0, 1, x, y]);
  }

  /** @param {number} x @param {number} y */
  scale(x, y) {
    this.#matrix = product(this.#matrix, [x, 0, 0, y, 0, 0]);
  }

  /** @param {number} angle in radians */
  rotate(angle) {
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    this.#matrix = product(this.#matrix, [cos, sin, -sin, cos, 0, 0]);
  }

  beginPath() {
    this.#path = null;
  }

  /** @type {(left: number, top: number, width: number, height: number) => void} */
  rect(left, top, width, height) {
    this.#path = [left, top, width, height];
  }

  clip() {
    if (!this.#path) return;
    this.#clips += 1;
    const id = `cut-${this.#clips}`;
    this.#written.push(
      `<clipPath id="${id}"><rect ${this.#box(...this.#path)}${this.#transform()}/></clipPath><g clip-path="url(#${id})">`,
    );
    this.#groups += 1;
  }

  /** @type {(left: number, top: number, width: number, height: number) => void} */
  fillRect(left, top, width, height) {
    if (!(width > 0 && height > 0) || isClear(String(this.fillStyle))) return;
    this.#written.push(`<rect ${this.#box(left, top, width, height)} fill="${escaped(String(this.fillStyle))}"${this.#look()}/>`);
  }

  /** @param {string} text */
  measureText(text) {
    this.#measure.font = this.font;
    this.#measure.textBaseline = this.textBaseline;
    return this.#measure.measureText(text);
  }

  /** With the width that it has here: another computer may lack the font. @type {(text: string, x: number, y: number) => void} */
  fillText(text, x, y) {
    const { width, actualBoundingBoxAscent: ascent } = this.measureText(text);
    this.#measure.textBaseline = "alphabetic"; // which every program knows
    const below = this.#measure.measureText(text).actualBoundingBoxAscent - ascent;
    const anchor = { center: "middle", right: "end", end: "end", left: "start", start: "start" }[this.textAlign];
    const place = `x="${short(x)}" y="${short(y + below)}" text-anchor="${anchor}" textLength="${short(width)}" lengthAdjust="spacingAndGlyphs"`;
    const look = `style="font: ${escaped(this.font)}" fill="${escaped(String(this.fillStyle))}"${this.#look()}`;
    if (text.trim()) this.#written.push(`<text ${place} ${look}>${escaped(text)}</text>`);
  }

  /** @type {(image: CanvasImageSource, left: number, top: number, width: number, height: number) => void} */
  drawImage(image, left, top, width, height) {
    const source = this.#sourceOf(image);
    if ("markup" in source) {
      this.#written.push(`<g${this.#look([1, 0, 0, 1, left, top])}>${source.markup}</g>`);
      return;
    }
    const edges = this.imageSmoothingEnabled ? "" : ' image-rendering="optimizeSpeed" style="image-rendering: pixelated"';
    const place = `${this.#box(left, top, width, height)} preserveAspectRatio="none"`;
    this.#written.push(`<image ${place} href="${escaped(source.uri)}"${edges}${this.#look()}/>`);
  }

  /** @type {(left: number, top: number, width: number, height: number) => string} */
  #box(left, top, width, height) {
    return `x="${short(left)}" y="${short(top)}" width="${short(width)}" height="${short(height)}"`;
  }

  /** @param {Matrix} inner */
  #transform(inner = IDENTITY) {
    const matrix = product(this.#matrix, inner);
    return matrix.every((value, index) => value === IDENTITY[index]) ? "" : ` transform="matrix(${matrix.map(short).join(" ")})"`;
  }

  /** @param {Matrix} [inner] */
  #look(inner) {
    return (this.globalAlpha < 1 ? ` opacity="${short(this.globalAlpha)}"` : "") + this.#transform(inner);
  }
}
