// What the overview (predictions and depth strip), the head of the chosen layer, its detail and the gallery share. Each is a
// component of its own, and all draw from the same numbers: a click changes the view here, at once, and the server is told;
// it keeps the view in the link. Another picture the server has to look at; its answer comes with the overview alone.
const depth = (globalThis.explorerDepth ??= {
  drawing: null, // of explore/overview.py
  inside: null, // of explore/layers.py: what the detail shows of every layer, or of the chosen one
  view: null, // {layer, channel, scope, opacity}, as AppState has it; layer is always a name
  viewOf: null, // the drawing that the view was made for
  changed: {}, // what the server has not confirmed yet
  pending: null, // the last change that it was told: {id, until}
  parts: new Map(), // how each component shows the view
  send: null, // tells the server
  fetch: null, // tells it too, where its answer has to bring what the chosen layer shows
  look: null, // asks it for another picture, where the page has an overview
  take: null, // draws the overview that came
  token: null, // what the address of explore/drawings.py wants to know
  gallery: null, // hears which picture came: {adopt, part}
  held: false, // whether the files that are chosen come here first
  awaited: 0, // until when the page's answer to such a file is waited for, by performance.now()
  sheets: new Map(), // the pictures of a scene, by its number
});

const KEPT = 20; // scenes
const LONGEST_NAME = 300; // letters of a file's name that are told
const REST = 100; // milliseconds in which another picture can be asked for before the server hears of this one
const LARGEST = 8 * 2 ** 20; // bytes of a file for which that address is asked
const PATIENCE = 5000; // milliseconds after which a confirmation is no longer waited for

function show() {
  depth.gallery?.part();
  if (depth.view && depth.drawing && depth.viewOf === depth.drawing.key) for (const part of depth.parts.values()) part();
}

// A person chose something. The server hears of it `wait` milliseconds later, unless something else is chosen until then.
function change(changes, wait = 0) {
  depth.view = { ...depth.view, ...changes };
  tell(changes, wait);
  show();
}

// Only the answer to another picture brings all of it, so while one is waited for, all that is told goes that way.
function tell(changes, wait = 0) {
  depth.changed = { ...depth.changed, ...changes };
  const id = crypto.getRandomValues(new Uint32Array(1))[0];
  depth.pending = { id, until: performance.now() + wait + PATIENCE };
  clearTimeout(depth.later);
  depth.later = setTimeout(() => {
    const how = (depth.changed.picture && depth.look) || (lacks(depth.inside) && depth.fetch) || depth.send;
    how?.({ ...depth.changed, id });
  }, wait);
}

// Another drawn shape: its drawing alone comes first, from an address of its own (explore/drawings.py), and then the
// server hears of it. Where no drawing can be had, as of another kind of picture or beside a tab, the server is asked for
// everything.
async function another(picture) {
  depth.asking?.abort();
  if (!depth.drawing.inside || !depth.drawing.picture.startsWith("sample-")) return tell({ picture });
  tell({ picture }, PATIENCE); // the page waits, and whatever else is told until then takes it along
  const { signal } = (depth.asking = new AbortController());
  const bytes = await ask({ picture }, signal);
  if (signal.aborted || depth.changed.picture !== picture) return;
  if (bytes) draw(bytes);
  tell({ picture }, bytes ? REST : 0);
}

// The drawing of a picture that is asked for by its name, or comes as a file; null where there is none.
async function ask(what, signal, ...file) {
  const { layer, channel } = depth.view;
  const body = new Blob([JSON.stringify({ token: depth.token, layer, channel, ...what }), "\n", ...file]);
  try {
    const answer = await fetch(new URL("drawing", location.href), { method: "POST", body, signal });
    const drawn = answer.ok && answer.headers.get("Content-Type") === "application/octet-stream";
    return drawn ? new Uint8Array(await answer.arrayBuffer()) : null;
  } catch {
    return null; // aborted, or no connection: then the page says so
  }
}

function draw(bytes) {
  depth.take?.(bytes);
  show();
}

// A file chosen for Streamlit's uploader: it is drawn first, and Streamlit hears of it when that is done. It takes the file
// itself too, and the page's run says what is wrong with it. One that is dropped goes to Streamlit alone.
const UPLOADER = "[data-testid=stSidebar] [data-testid=stFileUploader] input[type=file]";
function holdFiles() {
  if (depth.held) return;
  depth.held = true;
  const passed = new WeakSet();
  const hold = async (event) => {
    const input = event.target;
    if (passed.has(event) || !depth.take || !depth.drawing?.inside || !input.matches?.(UPLOADER)) return;
    if (depth.changed.picture) return; // a drawn shape is on its way to the page, which puts the two in order
    const [file] = input.files;
    if (input.files.length !== 1 || file.size > LARGEST) return;
    event.stopImmediatePropagation();
    depth.asking?.abort();
    depth.awaited = performance.now() + PATIENCE;
    const asking = (depth.asking = new AbortController());
    const late = setTimeout(() => asking.abort(), PATIENCE); // the page takes it then, and says that it does
    const bytes = await ask({ name: file.name.slice(0, LONGEST_NAME) }, asking.signal, file);
    clearTimeout(late);
    if (bytes && !asking.signal.aborted) draw(bytes);
    if (input.files[0] !== file) return; // another one was chosen meanwhile
    setTimeout(() => {
      const again = new Event("change", { bubbles: true });
      depth.awaited = performance.now() + PATIENCE;
      passed.add(again);
      input.dispatchEvent(again);
    }, bytes ? REST : 0);
  };
  document.addEventListener("change", hold, true); // before React, which listens further inside
}

// The server says what the view is of that drawing. What a person has changed since counts more.
function follow({ view, id, drawing }) {
  if (!depth.pending || depth.pending.id === id || performance.now() > depth.pending.until) {
    depth.pending = null;
    depth.changed = {};
  }
  depth.view = { ...view, ...depth.changed };
  depth.viewOf = drawing;
}

// What the detail shows arrives in parts where it is large: each layer knows the bytes that it counts from. What is there
// already stays, unless the whole map of the chosen channel came.
function arrived(pack, drawing, body) {
  const before = depth.inside?.drawing === drawing ? depth.inside : null;
  depth.arrivals = (depth.arrivals ?? 0) + 1;
  pack.networks.forEach((network, which) => {
    const old = before?.networks[which];
    for (const [name, layer] of Object.entries(network.layers)) {
      const chosen = layer.chosen?.channel;
      const there = old?.layers[name];
      if (there && (chosen === undefined || chosen !== depth.view.channel || chosen === there.chosen?.channel)) delete network.layers[name];
      else Object.assign(layer, { body, arrival: depth.arrivals });
    }
    network.layers = { ...old?.layers, ...network.layers };
    Object.assign(network, old ? { picture: old.picture, body: old.body } : { body });
  });
  depth.inside = { ...pack, drawing, every: Boolean(pack.every || before?.every) };
}

// The ten shapes of scenes, by their numbers; the oldest go.
function keepSheets(sheets) {
  for (const [number, sheet] of Object.entries(sheets)) {
    depth.sheets.delete(Number(number)); // else an old one keeps its place, which is the first to go
    depth.sheets.set(Number(number), sheet);
  }
  while (depth.sheets.size > KEPT) depth.sheets.delete(depth.sheets.keys().next().value);
}

// Whether the chosen layer, or the whole map of a large channel, has not been sent.
function lacks(pack) {
  if (!pack) return false;
  const { layer, channel } = depth.view;
  if (!depth.drawing.columns.some((column) => column.name === layer)) return false;
  const there = pack.networks.map((network) => network.layers[layer]).filter(Boolean);
  if (!there.length) return true;
  return there.some((found) => found.reduced && channel !== null && channel < found.channels && found.chosen?.channel !== channel);
}

// The header of packing.py and, behind it, the bytes that its places count from.
function unpack(bytes) {
  const length = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  return { ...header, body: bytes.slice(4 + length) };
}

const floats = ({ body }, start, count) => new Float32Array(body.buffer, body.byteOffset + start, count);

// As Python writes a number with ".3g".
function short(value) {
  if (value === null || Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (value === 0) return "0";
  const [digits, power] = value.toExponential(2).split("e");
  const exponent = Number(power);
  if (exponent >= -4 && exponent < 3) return String(Number(value.toPrecision(3)));
  const sign = exponent < 0 ? "-" : "+";
  return `${Number(digits)}e${sign}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

// 256 colours, three bytes each.
const paletteOf = (kind) => depth.drawing.body.subarray(depth.drawing.palettes[kind], depth.drawing.palettes[kind] + 768);

// The colours of steps 0..255 of a picture whose steps end at `own`, on a scale that ends at `top`.
function colours(kind, own, top) {
  const palette = paletteOf(kind);
  const zero = kind === "map" ? 128 : 0;
  const steps = kind === "map" ? 127 : 255;
  const found = new Uint32Array(256);
  for (let step = 0; step < 256; step += 1) {
    let share = top > 0 ? ((step - zero) / steps) * (own / top) : 0;
    if (kind === "map") share = 0.5 + share / 2;
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

// Text, where it changes.
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
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
  return {
    box: make("div", { className: "scale" }, canvas, words),
    say(text) {
      say(words, text);
      canvas.ariaLabel = `Colour scale. ${text}`;
    },
  };
}

// What one scale for each of these means, in words and numbers.
function scaleWords(kind, scope) {
  const words = kind === "cam" ? "Grad-CAM" : "feature map";
  const from = kind === "cam" ? "0 to " : "±";
  const { networks, tops } = depth.drawing;
  if (scope === "layer") {
    const found = `${words}: ${from}the largest value found in that layer${networks.length > 1 ? " of both networks" : ""}`;
    return kind === "cam" ? `${found}. So a weak layer glows like a strong one: the bars under the maps say how strong it is` : found;
  }
  const parts = networks.map((network, index) => `${from}${short(tops[kind][scope][index])}`);
  if (scope === "both" || parts.length === 1) return `${words}: ${parts[0]}`;
  return `${words}: ${parts.map((part, index) => `${part} (${networks[index].title})`).join(", ")}`;
}
