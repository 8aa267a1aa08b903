// What each network says about the picture, beside the picture itself and what is left of it at the input.

// Words, with what stands between backticks as code.
function coded(text) {
  return text.split("`").map((part, index) => (index % 2 ? make("code", {}, part) : part));
}

// `canvas` is that of the picture before: a new one costs more than all else here.
function pictureBox(picture, body, canvas) {
  const [start, height, width] = picture.pixels;
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  canvas.ariaLabel = picture.alt;
  canvas.className = picture.small ? "small" : "";
  const pixels = new Uint32Array(width * height);
  for (let pixel = 0, place = start; pixel < pixels.length; pixel += 1, place += 3) {
    pixels[pixel] = 0xff000000 | (body[place + 2] << 16) | (body[place + 1] << 8) | body[place];
  }
  canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), width, height), 0, 0);
  return make("div", {}, make("p", {}, make("b", {}, picture.title), `, ${picture.size}`), canvas, make("p", {}, ...coded(picture.words)));
}

// Probabilities as bars from 0 to 100 %; an arrow marks the explained class.
function bars(network) {
  const rows = network.classes.flatMap(({ name, short, probability, explained }) => {
    const title = `${name}: ${probability === null ? "nan" : probability.toFixed(4)}`; // nan: the network has diverged
    const bar = make("div", { className: "filled" });
    // As its lines are dashed where another network has the same colour.
    const fill = network.dashed ? `repeating-linear-gradient(90deg, ${network.colour} 0 9px, transparent 9px 12px)` : network.colour;
    Object.assign(bar.style, { width: `${100 * (probability ?? 0)}%`, background: fill, opacity: explained ? 1 : 0.55 });
    return [
      make("div", { className: "class", title }, explained ? make("b", {}, `▸ ${short}`) : short),
      make("div", { className: "rail", title }, bar, make("span", {}, probability === null ? "nan" : `${(100 * probability).toFixed(1)}%`)),
    ];
  });
  const ticks = [0, 50, 100].map((at) => {
    const tick = make("span", {}, `${at}%`);
    Object.assign(tick.style, { left: `${at}%`, transform: `translateX(-${at}%)` });
    return tick;
  });
  const axis = make("div", { className: "axis", ariaHidden: "true" }, ...ticks);
  return make("div", { className: "bars", role: "group", ariaLabel: `The five most probable classes of ${network.title}` }, ...rows, make("span"), axis);
}

function networkBox(network) {
  const heading = make("p", {}, make("b", {}, network.title), network.accuracy === null ? "" : `, ${network.accuracy}`);
  return make("div", {}, heading, bars(network), make("p", {}, network.verdict));
}

function showPredictions(root, { pictures, networks, note }, body) {
  root.canvases ??= pictures.map(() => make("canvas", { role: "img" }));
  const boxes = pictures.map((picture, index) => pictureBox(picture, body, root.canvases[index]));
  const grid = make("div", { className: "predictions" }, ...boxes, ...networks.map(networkBox));
  grid.style.gridTemplateColumns = `minmax(0, 1fr) minmax(0, 1fr) repeat(${networks.length}, minmax(0, 1.5fr))`;
  root.replaceChildren(grid, ...(note === null ? [] : [make("p", { className: "targets" }, note)]));
}
