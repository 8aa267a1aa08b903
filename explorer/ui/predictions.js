// What each network says about the picture, beside the picture itself and what is left of it at the input.

// Words, with what stands between backticks as code.
function coded(text) {
  return text.split("`").map((part, index) => (index % 2 ? make("code", {}, part) : part));
}

function pictureBox(picture, body) {
  const [start, height, width] = picture.pixels;
  const canvas = make("canvas", { width, height, role: "img", ariaLabel: picture.alt, className: picture.small ? "small" : "" });
  const image = new ImageData(width, height);
  for (let pixel = 0; pixel < height * width; pixel += 1) {
    for (let colour = 0; colour < 3; colour += 1) image.data[4 * pixel + colour] = body[start + 3 * pixel + colour];
    image.data[4 * pixel + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return make("div", {}, make("p", {}, make("b", {}, picture.title), `, ${picture.size}`), canvas, make("p", {}, ...coded(picture.words)));
}

// Probabilities as bars from 0 to 100 %; an arrow marks the explained class.
function bars(network) {
  const rows = network.classes.flatMap(({ name, short, probability, explained }) => {
    const title = `${name}: ${probability === null ? "nan" : probability.toFixed(4)}`; // nan: the network has diverged
    const bar = make("div", { className: "filled" });
    Object.assign(bar.style, { width: `${100 * (probability ?? 0)}%`, background: network.colour, opacity: explained ? 1 : 0.55 });
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
  const grid = make("div", { className: "predictions" }, ...pictures.map((picture) => pictureBox(picture, body)), ...networks.map(networkBox));
  grid.style.gridTemplateColumns = `minmax(0, 1fr) minmax(0, 1fr) repeat(${networks.length}, minmax(0, 1.5fr))`;
  root.replaceChildren(grid, ...(note === null ? [] : [make("p", { className: "targets" }, note)]));
}
