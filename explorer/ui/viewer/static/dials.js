// The dials that change a picture: their values as text of a link, as `Dials` of explorer/images/changes.py writes it.

const LIMIT = 32; // pixels of a shift before the size of the input is known

/** `quality` 101 stands for no JPEG at all. @type {Readonly<Record<string, Dial>>} */
export const DIALS = Object.freeze({
  x: { label: "Shift right", unit: " px", rest: 0, low: -LIMIT, high: LIMIT, step: 1 },
  y: { label: "Shift down", unit: " px", rest: 0, low: -LIMIT, high: LIMIT, step: 1 },
  rotation: { label: "Rotation", unit: "°", rest: 0, low: -180, high: 180, step: 1 },
  scale: { label: "Scale", unit: " ×", rest: 1, low: 0.25, high: 4, step: 0.05 },
  brightness: { label: "Brightness", unit: " ×", rest: 1, low: 0, high: 3, step: 0.05 },
  contrast: { label: "Contrast", unit: " ×", rest: 1, low: 0, high: 3, step: 0.05 },
  blur: { label: "Blur", unit: " px", rest: 0, low: 0, high: 16, step: 0.1 },
  noise: { label: "Noise", unit: " of 255", rest: 0, low: 0, high: 128, step: 1 },
  seed: { label: "Seed", unit: "", rest: 0, low: 0, high: 2 ** 31 - 1, step: 1 },
  jpeg: { label: "JPEG quality", unit: "", rest: 101, low: 1, high: 101, step: 1 },
});

/** Those that are not at rest, as `x3_rotation-12.5`. @type {(values: Record<string, number>) => string} */
export const dialsText = (values) =>
  Object.entries(DIALS)
    .map(([name, { rest }]) => ({ name, rest, value: Math.round((values[name] ?? rest) * 1000) / 1000 + 0 }))
    .filter(({ value, rest }) => value !== rest)
    .map(({ name, value }) => `${name}${value}`)
    .join("_");

/** All values; what cannot be read is at rest. @type {(text: string) => Record<string, number>} */
export function dialValues(text) {
  const values = Object.fromEntries(Object.entries(DIALS).map(([name, { rest }]) => [name, rest]));
  for (const part of text.split("_")) {
    const match = part.match(/^([a-z]+)(-?[0-9]+(?:\.[0-9]+)?)$/);
    if (match && Object.hasOwn(DIALS, match[1])) values[match[1]] = Number(match[2]);
  }
  return values;
}

/** What a dial says. @type {(name: string, value: number) => string} */
export const dialWords = (name, value) => (name === "jpeg" && value === DIALS.jpeg.rest ? "none" : `${value}${DIALS[name].unit}`);
