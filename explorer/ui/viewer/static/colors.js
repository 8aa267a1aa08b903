// Colour scales, and pictures painted with them: the counterparts of `explorer/figures/tiles.py`.

/**
 * The colours of steps 0..255 of a picture whose steps end at `own`, on a scale that ends at `max`.
 * @param {Uint8Array} palette 256 colours, three bytes each
 * @param {Kind} kind
 * @param {number} own
 * @param {number} max
 * @returns {Uint32Array} 256 pixels of an ImageData
 */
export function colorTable(palette, kind, own, max) {
  const [zero, steps] = kind === "cam" ? [0, 255] : [128, 127];
  const table = new Uint32Array(256);
  for (let step = 0; step < 256; step += 1) {
    let fraction = max > 0 ? ((step - zero) / steps) * (own / max) : 0;
    if (kind !== "cam") fraction = 0.5 + fraction / 2;
    const place = 3 * Math.round(255 * Math.min(Math.max(fraction, 0), 1));
    table[step] = (255 << 24) | (palette[place + 2] << 16) | (palette[place + 1] << 8) | palette[place];
  }
  return table;
}

/** @type {(raster: Raster, table: Uint32Array) => ImageData} */
export function toImageData({ values, height, width }, table) {
  const pixels = new Uint32Array(width * height);
  for (let index = 0; index < pixels.length; index += 1) pixels[index] = table[values[index]];
  return imageOf(pixels, height, width);
}

/**
 * Where each pixel of a line that is enlarged to the length `to` lies between two of the small one: pixel centres stay.
 * @type {(from: number, to: number) => [below: Uint16Array, fraction: Float32Array]}
 */
export function samplePositions(from, to) {
  const below = new Uint16Array(to);
  const fraction = new Float32Array(to);
  for (let index = 0; index < to; index += 1) {
    const at = Math.min(Math.max(((index + 0.5) * from) / to - 0.5, 0), from - 1);
    below[index] = Math.min(Math.floor(at), Math.max(from - 2, 0));
    fraction[index] = at - below[index];
  }
  return [below, fraction];
}

/** @type {(pixels: Uint32Array<ArrayBuffer>, height: number, width: number) => ImageData} */
export const imageOf = (pixels, height, width) => new ImageData(new Uint8ClampedArray(pixels.buffer), width, height);

export const HEAT_STEPS = 1023;
const STRONG = 0.8; // of the diverging scale's ends: where a colour tells its sign, and does not hide the picture

/** The place of a palette's colour of one sign, as `figures.signed_overlay` in Python has it. @type {(sign: number) => number} */
const signColor = (sign) => 3 * Math.round(255 * (0.5 + (Math.sign(sign) * STRONG) / 2));

/**
 * For each step of heat: how much of the picture stays, and the premultiplied colour over it. The picture stays itself
 * where the heat is 0; at 1 the colour covers it up to `opacity` (0..1), as `figures.overlay` in Python.
 * @type {(palette: Uint8Array, opacity: number) => Float32Array}
 */
export function heatTable(palette, opacity) {
  const table = new Float32Array(4 * (HEAT_STEPS + 1));
  for (let step = 0; step <= HEAT_STEPS; step += 1) {
    const alpha = opacity * Math.sqrt(step / HEAT_STEPS);
    const color = 3 * Math.round((255 * step) / HEAT_STEPS);
    table[4 * step] = 1 - alpha;
    for (let channel = 0; channel < 3; channel += 1) table[4 * step + 1 + channel] = 0.5 + alpha * palette[color + channel];
  }
  return table;
}

/**
 * The same for heat of both signs: step 0 is -1, the last step is 1. The colour tells the sign.
 * @type {(palette: Uint8Array, opacity: number) => Float32Array}
 */
export function signedHeatTable(palette, opacity) {
  const table = new Float32Array(4 * (HEAT_STEPS + 1));
  for (let step = 0; step <= HEAT_STEPS; step += 1) {
    const heat = (2 * step) / HEAT_STEPS - 1;
    const alpha = opacity * Math.sqrt(Math.abs(heat));
    const color = signColor(heat);
    table[4 * step] = 1 - alpha;
    for (let channel = 0; channel < 3; channel += 1) table[4 * step + 1 + channel] = 0.5 + alpha * palette[color + channel];
  }
  return table;
}

/** The picture (RGB) in grey, under a map of both signs. @type {(picture: Raster) => Raster} */
export function inGrey({ values, height, width }) {
  const grey = new Uint8Array(values.length);
  for (let at = 0; at < values.length; at += 3) grey.fill(Math.round((values[at] + values[at + 1] + values[at + 2]) / 3), at, at + 3);
  return { values: grey, height, width };
}

/**
 * The picture (RGB), enlarged with hard edges by `factor`, under its Grad-CAM, enlarged smoothly. One step of the cam is
 * `strength` steps of heat in the `table` of `heatTable`. `signed`: of a map around 128, in that of `signedHeatTable`.
 * @type {(picture: Raster, factor: number, cam: Raster, strength: number, table: Float32Array, signed?: boolean) => Uint32Array<ArrayBuffer>}
 */
export function overlayPixels(
  { values: pixels, height, width },
  factor,
  { values: cam, height: rows, width: columns },
  strength,
  table,
  signed = false,
) {
  const offset = signed ? HEAT_STEPS / 2 - 128 * strength : 0;
  const [tall, wide] = [height * factor, width * factor];
  const [lefts, overs] = samplePositions(columns, wide);
  const [aboves, downs] = samplePositions(rows, tall);
  const next = columns > 1 ? 1 : 0;
  const line = new Float32Array(columns); // the cam between two of its rows
  const found = new Uint32Array(tall * wide);
  for (let y = 0; y < tall; y += 1) {
    const above = aboves[y] * columns;
    const below = rows > 1 ? above + columns : above;
    const down = downs[y];
    for (let x = 0; x < columns; x += 1) line[x] = offset + strength * (cam[above + x] * (1 - down) + cam[below + x] * down);
    for (let x = 0, place = 3 * width * Math.floor(y / factor), repeat = factor; x < wide; x += 1) {
      const left = lefts[x];
      const heat = line[left] + (line[left + next] - line[left]) * overs[x];
      const step = 4 * (heat < HEAT_STEPS ? (heat + 0.5) | 0 : HEAT_STEPS);
      const rest = table[step];
      found[y * wide + x] =
        0xff000000 |
        ((pixels[place + 2] * rest + table[step + 3]) << 16) |
        ((pixels[place + 1] * rest + table[step + 2]) << 8) |
        (pixels[place] * rest + table[step + 1]);
      repeat -= 1;
      if (repeat === 0) {
        place += 3;
        repeat = factor;
      }
    }
  }
  return found;
}

/**
 * A Grad-CAM, enlarged smoothly to a square of `side` pixels that is laid over a picture: transparent where it is 0, as the
 * picture under it stays itself there. One step of the cam has the heat `strength`; `opacity` is 0..1. `signed`: of a map
 * around 128, whose colours tell the sign.
 * @type {(cam: Raster, strength: number, palette: Uint8Array, opacity: number, side: number, signed?: boolean) => Uint8ClampedArray<ArrayBuffer>}
 */
export function heatPixels({ values: cam, height: rows, width: columns }, strength, palette, opacity, side, signed = false) {
  const pixels = new Uint8ClampedArray(4 * side * side);
  const [lefts, overs] = samplePositions(columns, side);
  const [aboves, downs] = samplePositions(rows, side);
  const [right, below] = [columns > 1 ? 1 : 0, rows > 1 ? columns : 0]; // steps to the neighbours
  for (let place = 0; place < side * side; place += 1) {
    const [x, y] = [place % side, Math.floor(place / side)];
    const at = aboves[y] * columns + lefts[x];
    const upper = cam[at] * (1 - overs[x]) + cam[at + right] * overs[x];
    const lower = cam[at + below] * (1 - overs[x]) + cam[at + below + right] * overs[x];
    const found = (upper * (1 - downs[y]) + lower * downs[y] - (signed ? 128 : 0)) * strength;
    const heat = Math.min(Math.abs(found), 1);
    const color = signed ? signColor(found) : 3 * Math.round(255 * heat);
    pixels.set([...palette.subarray(color, color + 3), Math.round(255 * opacity * Math.sqrt(heat))], 4 * place);
  }
  return pixels;
}
