// The detail of the chosen layer: overlays, numbers and feature maps of each network, from what layers.py measured.
const SIDE = 320; // pixels of an overlay, about
const PAGE = 64; // feature maps at once
const COLUMNS = 8;
const LARGE = 180; // pixels of the chosen one

// Where each pixel of an enlarged line lies between two of the small one: pixel centres kept in place.
function places(from, to) {
  const below = new Uint16Array(to);
  const share = new Float32Array(to);
  for (let index = 0; index < to; index += 1) {
    const at = Math.min(Math.max(((index + 0.5) * from) / to - 0.5, 0), from - 1);
    below[index] = Math.min(Math.floor(at), Math.max(from - 2, 0));
    share[index] = at - below[index];
  }
  return [below, share];
}

// Opacity and premultiplied colour of 1024 steps of heat: the picture stays itself where it is 0, and at 1 the colour
// covers it up to `opacity`, as figures.overlay in Python.
const STEPS = 1023;

function heatTable(opacity) {
  const palette = paletteOf("cam");
  const table = new Float32Array(4 * (STEPS + 1));
  for (let step = 0; step <= STEPS; step += 1) {
    const alpha = opacity * Math.sqrt(step / STEPS);
    const colour = 3 * Math.round((255 * step) / STEPS);
    table[4 * step] = 1 - alpha;
    for (let channel = 0; channel < 3; channel += 1) table[4 * step + 1 + channel] = 0.5 + alpha * palette[colour + channel];
  }
  return table;
}

// The picture, enlarged with hard edges, under its Grad-CAM, enlarged smoothly.
function overlay(canvas, { picture, body }, which, column, view) {
  const [start, height, width] = picture;
  const pixels = body.subarray(start, start + 3 * height * width);
  const factor = Math.max(1, Math.round(SIDE / Math.max(height, width)));
  const [tall, wide] = [height * factor, width * factor];
  const cell = depth.drawing.networks[which].cells[column];
  const [from, rows, columns] = cell.cam;
  const cam = depth.drawing.body.subarray(from, from + rows * columns);
  const top = topOf("cam", which, column, view.scope);
  const share = top > 0 ? ((cell.largest ?? 0) / top / 255) * STEPS : 0;
  const table = heatTable(view.opacity / 100);
  const [lefts, overs] = places(columns, wide);
  const [aboves, downs] = places(rows, tall);
  const next = columns > 1 ? 1 : 0;
  const line = new Float32Array(columns); // the cam between two of its rows
  const image = new ImageData(wide, tall);
  const found = new Uint32Array(image.data.buffer);
  for (let y = 0; y < tall; y += 1) {
    const above = aboves[y] * columns;
    const below = rows > 1 ? above + columns : above;
    const down = downs[y];
    for (let x = 0; x < columns; x += 1) line[x] = share * (cam[above + x] * (1 - down) + cam[below + x] * down);
    const seen = 3 * width * Math.floor(y / factor);
    for (let x = 0, place = seen, repeat = factor; x < wide; x += 1) {
      const left = lefts[x];
      const heat = line[left] + (line[left + next] - line[left]) * overs[x];
      const step = 4 * (heat < STEPS ? (heat + 0.5) | 0 : STEPS);
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
  if (canvas.width !== wide) canvas.width = wide;
  if (canvas.height !== tall) canvas.height = tall;
  canvas.getContext("2d").putImageData(image, 0, 0);
}

const columnOf = (layer) => depth.drawing.columns.findIndex((found) => found.name === layer);

function reveal(element, visible) {
  if (element.hidden === visible) element.hidden = !visible;
}

// What one feature map says; `weight` is its weight in the layer's Grad-CAM.
function channelWords([low, high, size, weight], target) {
  if (low === 0 && high === 0) return "Zero everywhere: for this picture nothing passes this channel.";
  const sizes = `From ${short(low)} to ${short(high)}, size ${short(size)}.`;
  if (weight === 0) return `${sizes} Its Grad-CAM weight is 0: it has no say in ${target}.`;
  const [red, blue] = weight > 0 ? ["for", "against"] : ["against", "for"];
  const below = low < 0 ? `, where it is blue ${blue} it` : "";
  return `${sizes} Its Grad-CAM weight is ${short(weight)}: where it is red it speaks ${red} ${target}${below}.`;
}

// Overlay and colour bar of one network.
function camPart(which) {
  const canvas = make("canvas", { className: "overlay", role: "img", ariaLabel: "No Grad-CAM" });
  const zero = make("p", { className: "note" });
  const scale = colourBar("cam");
  const absent = make("p", { className: "note" });
  const inside = make("div", { className: "side" }, canvas, make("div", { className: "beside" }, zero, scale.box));
  const [title, target] = [make("b"), make("em")];
  const box = make("section", {}, make("p", {}, title, ", explaining ", target), inside, absent);
  return {
    box,
    update(pack, column, view) {
      const [network, layer] = [pack.networks[which], view.layer];
      say(title, network.title);
      say(target, network.target);
      const cell = column < 0 ? null : depth.drawing.networks[which].cells[column];
      reveal(inside, cell !== null);
      reveal(absent, cell === null);
      if (cell === null) {
        say(absent, `${network.title} has no layer ${layer}; choose one that both networks have.`);
        return;
      }
      overlay(canvas, network, which, column, view);
      canvas.setAttribute("aria-label", `Grad-CAM of ${layer} over the picture`);
      reveal(zero, cell.zero !== null);
      say(zero, cell.zero === null ? "" : `The Grad-CAM is zero everywhere. ${cell.zero}`);
      scale.say(`Grad-CAM, 0 to ${short(topOf("cam", which, column, view.scope))}`);
    },
  };
}

// One table of what was measured in this layer, a column for each network that has it.
function numbers(table, networks, layer) {
  const there = networks.filter((network) => network.layers[layer]);
  const names = [...new Set(there.flatMap((network) => network.layers[layer].numbers.map(([name]) => name)))];
  const head = make("tr", {}, make("td"), ...there.map((network) => make("th", { scope: "col" }, network.title)));
  const rows = names.map((name) => {
    const values = there.map((network) => new Map(network.layers[layer].numbers).get(name) ?? "not measured");
    return make("tr", {}, make("th", { scope: "row" }, name), ...values.map((value) => make("td", {}, value)));
  });
  table.replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
}

// The feature maps of one network, 64 at a time, and the chosen one enlarged.
function mapsPart(which) {
  const words = make("p");
  const pages = make("div", { className: "pages", role: "group" });
  const canvas = make("canvas", { className: "sheet" });
  canvas.ariaHidden = "true";
  const grid = make("div", { className: "tiles", role: "group" }, canvas);
  const scale = colourBar("map");
  const box = make("input", { id: `channel${which}`, type: "number", min: "0", placeholder: "none" });
  const large = make("canvas", { className: "large", role: "img", ariaLabel: "No feature map is chosen" });
  const caption = make("p", { className: "caption" });
  const inside = make(
    "div",
    { className: "side" },
    make("div", {}, grid, scale.box),
    make("div", { className: "field chosen" }, make("label", { htmlFor: `channel${which}` }, "Channel"), box, large, caption),
  );
  const section = make("section", {}, words, pages, inside);
  let page = 0;
  let pageOf = "";
  let buttons = [];
  let channels = 0;
  box.onchange = () => {
    const value = box.value === "" ? null : Math.min(Math.max(Math.round(Number(box.value)), 0), channels - 1);
    box.value = value === null ? "" : String(value);
    change({ channel: value });
  };

  const tiles = (count) => {
    if (buttons.length === count) return;
    buttons = Array.from({ length: count }, (_, index) => {
      const button = make("button", { type: "button", tabIndex: -1 });
      button.onclick = () => change({ channel: page * PAGE + index });
      button.onkeydown = (event) => {
        const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -COLUMNS, ArrowDown: COLUMNS }[event.key];
        if (by === undefined) return;
        event.preventDefault();
        const next = buttons[index + by];
        if (!next) return;
        button.tabIndex = -1;
        next.tabIndex = 0;
        next.focus();
      };
      return button;
    });
    grid.replaceChildren(canvas, ...buttons);
  };

  return {
    box: section,
    update(pack, column, view) {
      const network = pack.networks[which];
      const layer = network.layers[view.layer];
      const cell = column < 0 ? null : depth.drawing.networks[which].cells[column];
      reveal(section, cell !== null);
      if (cell === null) return;
      section.classList.toggle("waiting", !layer); // what is too large to be sent ahead comes with the answer
      if (!layer) return;
      channels = layer.channels;
      const chosen = view.channel !== null && view.channel < channels ? view.channel : null;
      const key = `${pack.drawing}/${view.layer}/${chosen}`;
      if (pageOf !== key) [page, pageOf] = [chosen === null ? 0 : Math.floor(chosen / PAGE), key]; // a new channel turns to its page
      const [start, height, width] = layer.maps;
      const first = page * PAGE;
      const count = Math.min(PAGE, channels - first);
      const top = topOf("map", which, column, view.scope);
      const table = colours("map", cell.peak ?? 0, top);
      const map = (channel) => painted(layer.body.subarray(start + channel * height * width, start + (channel + 1) * height * width), height, width, table);

      words.replaceChildren(make("b", {}, "Feature maps"), ` ${first}–${first + count - 1} of ${channels}. Click one to enlarge it.`);
      const number = Math.ceil(channels / PAGE);
      reveal(pages, number > 1);
      if (pages.childElementCount !== number) {
        const turn = (index) => () => {
          page = index;
          this.update(depth.inside, columnOf(depth.view.layer), depth.view);
        };
        pages.replaceChildren(
          ...Array.from({ length: number }, (_, index) => make("button", { type: "button", ariaLabel: `Page ${index + 1}`, onclick: turn(index) }, String(index + 1))),
        );
      }
      pages.ariaLabel = `Pages of feature maps of ${network.title}`;
      [...pages.children].forEach((button, index) => {
        button.ariaCurrent = String(index === page);
      });

      const rows = Math.ceil(count / COLUMNS);
      tiles(count);
      grid.setAttribute("aria-label", `Feature maps of ${view.layer} of ${network.title}`);
      grid.style.aspectRatio = `${COLUMNS} / ${rows}`;
      canvas.width = COLUMNS * width;
      canvas.height = rows * height;
      const context = canvas.getContext("2d");
      context.fillStyle = "#808080";
      context.fillRect(0, 0, canvas.width, canvas.height);
      const stats = floats(layer, layer.stats, 4 * channels);
      for (let index = 0; index < count; index += 1) {
        context.putImageData(map(first + index), (index % COLUMNS) * width, Math.floor(index / COLUMNS) * height);
        const button = buttons[index];
        const [low, high] = stats.subarray(4 * (first + index));
        const label = `channel ${first + index}, from ${short(low)} to ${short(high)}`;
        button.title = label;
        button.ariaLabel = label;
        button.ariaPressed = String(first + index === chosen);
        button.tabIndex = -1;
      }
      const stop = chosen !== null && chosen >= first && chosen < first + count ? chosen - first : 0;
      buttons[stop].tabIndex = 0;
      scale.say(`feature map, ±${short(top)}`);

      box.max = String(channels - 1);
      const shown = chosen === null ? "" : String(chosen);
      if (box.value !== shown) box.value = shown;
      reveal(large, chosen !== null);
      reveal(caption, chosen !== null);
      if (chosen === null) return;
      const whole = layer.chosen?.channel === chosen ? layer.chosen.map : null;
      const [from, tall, wide] = whole ?? [start + chosen * height * width, height, width];
      const image = painted(layer.body.subarray(from, from + tall * wide), tall, wide, table);
      large.width = wide;
      large.height = tall;
      large.style.width = `${wide * Math.max(1, Math.round(LARGE / Math.max(tall, wide)))}px`;
      large.getContext("2d").putImageData(image, 0, 0);
      large.setAttribute("aria-label", `Feature map of channel ${chosen}`);
      say(caption, channelWords(stats.subarray(4 * chosen, 4 * chosen + 4), network.target));
    },
  };
}

function build(root, count) {
  const cams = Array.from({ length: count }, (_, which) => camPart(which));
  const maps = Array.from({ length: count }, (_, which) => mapsPart(which));
  const table = make("table");
  root.replaceChildren(
    make("div", { className: "columns" }, ...cams.map((part) => part.box)),
    table,
    make("div", { className: "columns" }, ...maps.map((part) => part.box)),
  );
  const drawn = {}; // what each part shows, so that it is drawn anew only where that changes
  const once = (part, key, draw) => {
    const wanted = JSON.stringify(key);
    if (drawn[part] === wanted) return;
    drawn[part] = wanted;
    draw();
  };
  return (pack) => {
    const { layer, channel, scope, opacity } = depth.view;
    const column = columnOf(layer);
    const known = pack.networks.some((network) => network.layers[layer]);
    const arrivals = pack.networks.map((network) => network.layers[layer]?.arrival);
    once("cams", [pack.drawing, layer, scope, opacity], () => cams.forEach((part) => part.update(pack, column, depth.view)));
    table.classList.toggle("waiting", !known);
    if (known) once("table", [pack.drawing, layer], () => numbers(table, pack.networks, layer));
    once("maps", [pack.drawing, arrivals, layer, channel, scope], () => maps.forEach((part) => part.update(pack, column, depth.view)));
  };
}

const LEISURE = 400; // milliseconds in which nobody does anything, after which what might be chosen next is asked for
const ACTS = ["pointerdown", "keydown", "popstate"]; // the last is the browser's Back
const RUNNING = "[data-test-script-state=running]"; // what Streamlit says of the page
const APP = "[data-testid=stApp]"; // of which it says that
const OURS = ".stBidiComponent"; // what is done in there is in depth.pending

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".layers");
  if (root.data !== data) {
    root.data = data;
    const pack = data instanceof Uint8Array ? unpack(data) : data;
    root.ahead = pack.ahead; // whether all layers may be asked for
    if (pack.networks && pack.drawing === depth.drawing?.key) { // else another picture came meanwhile
      follow(pack);
      arrived(pack, pack.drawing, pack.body);
    }
  }
  // While the page runs, or is about to because of what somebody has just chosen, this part of it may be about to vanish,
  // and its request would find nobody.
  const ask = () => {
    root.leisure = null;
    if (!root.isConnected || depth.inside.every || depth.inside.drawing !== depth.drawing.key) return;
    const awaited = Math.max(depth.awaited, root.acted ?? 0);
    if (depth.pending || performance.now() < awaited || document.querySelector(RUNNING)) later();
    else setTriggerValue("ahead", depth.drawing.key);
  };
  const later = () => {
    clearTimeout(root.leisure);
    root.leisure = setTimeout(ask, LEISURE);
  };
  const postpone = ({ target }) => {
    if (!target.closest?.(OURS)) root.acted = performance.now() + PATIENCE; // a run answers it, sooner or later
    if (root.leisure) later();
  };
  const part = () => {
    const pack = depth.inside;
    const fits = pack?.drawing === depth.drawing.key;
    root.classList.toggle("waiting", !fits); // the numbers of this picture come on their own
    if (!fits) return;
    if (root.count !== pack.networks.length) {
      root.count = pack.networks.length;
      root.update = build(root, root.count);
    }
    root.update(pack);
    if (root.ahead && !pack.every) later();
  };
  const fetch = (view) => setTriggerValue("view", view);
  depth.fetch = fetch;
  depth.parts.set("layers", part);
  show();
  root.listening?.abort(); // this runs again with each data, and ends once
  root.listening = new AbortController();
  for (const act of ACTS) addEventListener(act, postpone, { capture: true, signal: root.listening.signal });
  const runs = new MutationObserver(() => {
    if (document.querySelector(RUNNING)) root.acted = 0;
  });
  runs.observe(document.querySelector(APP), { attributeFilter: ["data-test-script-state"] });
  root.listening.signal.addEventListener("abort", () => runs.disconnect());
  return () => {
    root.listening.abort();
    clearTimeout(root.leisure);
    if (depth.parts.get("layers") === part) depth.parts.delete("layers");
    if (depth.fetch === fetch) depth.fetch = null;
  };
}
