// A drawing in pixels of the network's input. Its drawn pixels are the object's mask.

const LEAST = 0.71; // pixels of a radius: a line without holes

/** @type {(width: number, height: number, mean: number[]) => Drawing} */
export function blank(width, height, mean) {
  const pixels = new Uint8ClampedArray(width * height * 3);
  for (let place = 0; place < pixels.length; place += 1) pixels[place] = mean[place % 3];
  return { width, height, pixels, mask: new Uint8Array(width * height), mean };
}

/** An image that is painted over: what is erased gets its own mean colour. @type {(raster: Raster) => Drawing} */
export function over({ values, height, width }) {
  const sums = [0, 0, 0];
  for (let place = 0; place < values.length; place += 1) sums[place % 3] += values[place];
  const mean = sums.map((sum) => Math.round(sum / (width * height)));
  return { width, height, pixels: new Uint8ClampedArray(values), mask: null, mean };
}

/** @type {(drawing: Drawing) => Drawing} */
export const copyOf = (drawing) => ({ ...drawing, pixels: drawing.pixels.slice(), mask: drawing.mask?.slice() ?? null });

/** @type {(drawing: Drawing, x: number, y: number, colour: number[] | null) => void} */
function set({ width, pixels, mask, mean }, x, y, colour) {
  const place = y * width + x;
  pixels.set(colour ?? mean, 3 * place);
  if (mask) mask[place] = colour ? 1 : 0;
}

/** The distance of a point from the line between two others. @type {(point: Point, from: Point, to: Point) => number} */
function distance([x, y], [fromX, fromY], [toX, toY]) {
  const [dx, dy] = [toX - fromX, toY - fromY];
  const along = dx || dy ? Math.min(Math.max(((x - fromX) * dx + (y - fromY) * dy) / (dx * dx + dy * dy), 0), 1) : 0;
  return Math.hypot(x - fromX - along * dx, y - fromY - along * dy);
}

/**
 * Paints, in place, every pixel whose centre is near the line through the points; without a colour it erases.
 * @type {(drawing: Drawing, points: Point[], size: number, colour: number[] | null) => void}
 */
export function stroke(drawing, points, size, colour) {
  const radius = Math.max(size / 2, LEAST);
  points.forEach((to, index) => {
    const from = points[Math.max(index - 1, 0)];
    const [left, right] = [Math.min(from[0], to[0]) - radius, Math.max(from[0], to[0]) + radius];
    const [top, bottom] = [Math.min(from[1], to[1]) - radius, Math.max(from[1], to[1]) + radius];
    for (let y = Math.max(Math.floor(top), 0); y < Math.min(bottom, drawing.height); y += 1) {
      for (let x = Math.max(Math.floor(left), 0); x < Math.min(right, drawing.width); x += 1) {
        if (distance([x + 0.5, y + 0.5], from, to) <= radius) set(drawing, x, y, colour);
      }
    }
  });
}

/** A thick line, and all that it goes around. @type {(drawing: Drawing, points: Point[], size: number, colour: number[]) => void} */
export function shape(drawing, points, size, colour) {
  stroke(drawing, [...points, points[0]], size, colour);
  for (let y = 0; y < drawing.height; y += 1) {
    const crossings = points
      .map((to, index) => [points.at(index - 1) ?? to, to])
      .filter(([from, to]) => from[1] <= y + 0.5 !== to[1] <= y + 0.5)
      .map(([from, to]) => from[0] + ((y + 0.5 - from[1]) / (to[1] - from[1])) * (to[0] - from[0]))
      .sort((one, other) => one - other);
    for (let pair = 0; pair + 1 < crossings.length; pair += 2) {
      const end = Math.min(crossings[pair + 1] - 0.5, drawing.width - 1);
      for (let x = Math.max(Math.ceil(crossings[pair] - 0.5), 0); x <= end; x += 1) set(drawing, x, y, colour);
    }
  }
}

/** As the server takes it. @type {(drawing: Drawing, keep: boolean) => LiveFrame} */
export function frameOf({ width, height, pixels, mask }, keep) {
  const bytes = new Uint8Array(pixels.length + (mask?.length ?? 0));
  bytes.set(pixels);
  if (mask) bytes.set(mask, pixels.length);
  return { kind: "drawing", size: [height, width], mask: mask !== null, keep, bytes };
}

/** A colour of the browser's, `#rrggbb`. @type {(text: string) => number[]} */
export const rgbOf = (text) => [1, 3, 5].map((place) => Number.parseInt(text.slice(place, place + 2), 16));
