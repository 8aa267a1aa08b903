// What the depth strip, the head of the chosen layer and its detail share. Each is a component of its own, and all draw
// from the same numbers: a click changes the view here, at once, and the server is told; it keeps the view in the link.
const depth = (globalThis.explorerDepth ??= {
  drawing: null, // of strip.py
  inside: null, // of layers.py: what the detail shows of every layer, or of the chosen one
  view: null, // {layer, channel, scope, opacity}, as AppState has it; layer is always a name
  pending: null, // the change that the server has not answered yet: {id, until}
  parts: new Map(), // how each component shows the view
  send: null, // tells the server
});

const PATIENCE = 5000; // milliseconds after which an answer is no longer waited for

function show() {
  if (depth.view && depth.drawing) for (const part of depth.parts.values()) part();
}

// A person chose something.
function change(changes) {
  depth.view = { ...depth.view, ...changes };
  depth.pending = { id: crypto.getRandomValues(new Uint32Array(1))[0], until: performance.now() + PATIENCE };
  show();
  depth.send?.({ ...depth.view, id: depth.pending.id });
}

// The server says what the view is. What it says of an earlier change is passed over: the person has gone on.
function follow(view, id) {
  if (depth.pending && depth.pending.id !== id && performance.now() < depth.pending.until) return;
  depth.pending = null;
  depth.view = view;
}

// The header of packing.py and, behind it, the bytes that its places count from.
function unpack(bytes) {
  const length = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  return { ...header, body: bytes.slice(4 + length) };
}

const floats = (pack, start, count) => new Float32Array(pack.body.buffer, pack.body.byteOffset + start, count);

// As Python writes a number with ".3g".
function short(value) {
  if (value === null) return "nan";
  if (value === 0) return "0";
  const [digits, power] = value.toExponential(2).split("e");
  const exponent = Number(power);
  if (exponent >= -4 && exponent < 3) return String(Number(value.toPrecision(3)));
  const sign = exponent < 0 ? "-" : "+";
  return `${Number(digits)}e${sign}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

// The colours of steps 0..255 of a picture whose steps end at `own`, on a scale that ends at `top`.
function colours(kind, own, top) {
  const palette = depth.drawing.body.subarray(depth.drawing.palettes[kind], depth.drawing.palettes[kind] + 768);
  const zero = kind === "map" ? 128 : 0;
  const steps = kind === "map" ? 127 : 255;
  const found = new Uint32Array(256);
  for (let step = 0; step < 256; step += 1) {
    let share = top > 0 ? ((step - zero) / steps) * (own / top) : 0;
    if (kind === "map") share = top > 0 ? 0.5 + share / 2 : 0.5;
    const place = 3 * Math.round(255 * Math.min(Math.max(share, 0), 1));
    found[step] = (255 << 24) | (palette[place + 2] << 16) | (palette[place + 1] << 8) | palette[place];
  }
  return found;
}

// Values as an ImageData in those colours.
function painted(values, height, width, table) {
  const pixels = new Uint32Array(width * height);
  for (let index = 0; index < pixels.length; index += 1) pixels[index] = table[values[index]];
  return new ImageData(new Uint8ClampedArray(pixels.buffer), width, height);
}

// One canvas for all that is painted at its own size and then enlarged.
function stamp(image) {
  const canvas = (depth.stamp ??= document.createElement("canvas"));
  canvas.width = image.width;
  canvas.height = image.height;
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

// An element with what is given of it; words are text, never markup.
function make(tag, attributes = {}, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...inside);
  return element;
}

function topOf(kind, network, column, scope) {
  const tops = depth.drawing.tops[kind][scope][network];
  return scope === "layer" ? tops[column] : tops;
}

// The palette from left to right, and what it stands for.
function colourBar(kind) {
  const canvas = make("canvas", { className: "bar", width: 256, height: 1, role: "img", ariaLabel: "Colour scale" });
  const ramp = painted(Uint8Array.from({ length: 256 }, (_, step) => step), 1, 256, colours(kind, 1, 1));
  canvas.getContext("2d").putImageData(ramp, 0, 0);
  const words = make("span");
  const box = make("div", { className: "scale" }, canvas, words);
  return {
    box,
    say(text) {
      if (words.textContent === text) return;
      words.textContent = text;
      canvas.setAttribute("aria-label", `Colour scale. ${text}`);
    },
  };
}

// What one scale for each of these means, in words and numbers.
function scaleWords(kind, scope) {
  const words = kind === "cam" ? "Grad-CAM" : "feature map";
  const from = kind === "cam" ? "0 to " : "±";
  const { networks, tops } = depth.drawing;
  if (scope === "layer") return `${words}: ${from}the largest value found in that layer${networks.length > 1 ? " of both networks" : ""}`;
  const parts = networks.map((network, index) => `${from}${short(tops[kind][scope][index])}`);
  if (scope === "both" || parts.length === 1) return `${words}: ${parts[0]}`;
  return `${words}: ${parts.map((part, index) => `${part} (${networks[index].title})`).join(", ")}`;
}
