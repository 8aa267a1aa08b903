// Where the parts of a saved picture lie: the picture, its colour bars, its caption.

export const BAR = { width: 200, height: 10, title: 18, ends: 16 }; // words above the bar and below it
export const LINE = 20; // of the caption
const MARGIN = 16;
const GAP = 24; // between two bars
const SMALLEST = 320; // the longer side of a picture whose own pixels are fewer
const NAME_LETTERS = 80;

/**
 * How many pixels one of a painted picture becomes for a longer side of about `side`: whole ones, so that cells stay squares.
 * @type {(width: number, height: number, side?: number) => number}
 */
export const enlargement = (width, height, side = SMALLEST) => Math.max(1, Math.round(side / Math.max(width, height)));

/**
 * The lines of a text that is no wider than `width`; a longer word has a line of its own.
 * @type {(text: string, width: number, measure: (text: string) => number) => string[]}
 */
export function wrap(text, width, measure) {
  /** @type {string[]} */
  const lines = [];
  for (const word of text.split(/\s+/).filter(Boolean)) {
    const longer = lines.length ? `${lines[lines.length - 1]} ${word}` : word;
    if (lines.length && measure(longer) <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

/** @param {number} width of the picture */
export const contentWidth = (width) => Math.max(width, SMALLEST);

/**
 * @param {{width: number, height: number}} picture
 * @param {number} bars
 * @param {number} lines of the caption
 * @returns {{width: number, height: number, picture: Corner, bars: Corner[], caption: Corner}}
 */
export function layOut(picture, bars, lines) {
  const inner = contentWidth(picture.width);
  const inRow = Math.max(1, Math.floor((inner + GAP) / (BAR.width + GAP)));
  const rowHeight = BAR.title + BAR.height + BAR.ends + MARGIN / 2;
  const below = MARGIN + picture.height + MARGIN;
  const places = Array.from({ length: bars }, (_, index) => ({
    x: MARGIN + (index % inRow) * (BAR.width + GAP),
    y: below + Math.floor(index / inRow) * rowHeight,
  }));
  const caption = { x: MARGIN, y: below + Math.ceil(bars / inRow) * rowHeight };
  return { width: inner + 2 * MARGIN, height: caption.y + lines * LINE + MARGIN, picture: { x: MARGIN, y: MARGIN }, bars: places, caption };
}

/** A name of a file that every system can keep. @type {(caption: string, ending?: string) => string} */
export function fileName(caption, ending = "png") {
  const image = inWords(caption.match(/ Image: ([^;]+);/)?.[1] ?? "", NAME_LETTERS / 2);
  const named = image ? `${inWords(caption.split(". ")[0], NAME_LETTERS - 1 - image.length)}-${image}` : inWords(caption, NAME_LETTERS);
  return `${named || "picture"}.${ending}`;
}

/** Plain letters with hyphens between the words, whole words as far as they fit. @type {(text: string, most: number) => string} */
function inWords(text, most) {
  const words = text
    .normalize("NFKD")
    .replace(/\p{M}/gu, "")
    .replace(/\.?[^A-Za-z0-9._]+/g, "-");
  const whole = words.length > most ? words.slice(0, most + 1).replace(/-[^-]*$/, "") : words;
  return whole.slice(0, most).replace(/^[-.]+|[-.]+$/g, "");
}
