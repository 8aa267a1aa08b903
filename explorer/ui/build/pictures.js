// Some test pictures and what each network makes of them at one step: its predictions, and on the first ones its
// Grad-CAM. `frames` are in the order of their steps; the last one that is not behind `until` is shown.
const SIDE = 96; // pixels of a painted map: a picture on the page is as large, or smaller

const frameAt = (frames, until) => frames[Math.max(0, reached(frames.map(({ step }) => step), until) - 1)];
const percent = (share) => (share === null ? "not a number" : `${Math.round(100 * share)} %`);
const marked = (data, label, index, share) => `${index === label ? "✓" : "✗"} ${data.names[index]} ${percent(share)}`;

// Every picture with its label, and a line for each network in its colour.
function predictions(root) {
  const heading = make(root, "div", { class: "heading" });
  const scores = make(root, "div", { class: "scores" });
  const list = make(root, "ul", { class: "sheet" });
  let tiles = [], shown = null;

  function build(data) {
    list.replaceChildren();
    list.setAttribute("aria-label", data.alt);
    scores.replaceChildren();
    const right = data.networks.map(({ title, colour }) => {
      const score = make(scores, "span");
      make(score, "b", { style: `color:${colour}` }, title);
      return make(score, "span");
    });
    tiles = data.pictures.map((picture, index) => {
      const tile = make(list, "li");
      make(tile, "img", { src: picture, alt: `Test picture ${index + 1}` });
      const name = data.names[data.labels[index]];
      make(tile, "b", { title: name }, name);
      return data.networks.map(({ title, colour }) => make(tile, "span", { style: `color:${colour}`, "data-network": title }));
    });
    tiles.right = right;
  }

  return (data, until = Infinity) => {
    if (shown !== data) build(data);
    shown = data;
    const frame = frameAt(data.frames, until);
    say(heading, `The same test pictures again and again, now at step ${frame.step.toLocaleString("en")}`);
    data.networks.forEach((network, which) => {
      const [classes, shares] = frame.networks[which];
      say(tiles.right[which], `: ${classes.filter((found, index) => found === data.labels[index]).length} of ${data.labels.length} right`);
      tiles.forEach((lines, index) => {
        const text = marked(data, data.labels[index], classes[index], shares[index]);
        say(lines[which], text);
        lines[which].title = `${network.title}: ${text.slice(2)}, label ${data.names[data.labels[index]]}`;
      });
    });
  };
}

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

// A map of steps 0..255 of `top` over a picture, as figures.overlay paints it: bilinear with pixel centres in place, on
// a scale that ends at `end`; where the heat is 0 the picture stays itself.
function paintHeat(canvas, steps, [height, width], top, end, palette, opacity) {
  const image = new ImageData(SIDE, SIDE), pixels = image.data;
  const places = (size) => Array.from({ length: SIDE }, (_, pixel) => {
    const at = Math.min(Math.max(((pixel + 0.5) * size) / SIDE - 0.5, 0), size - 1), low = Math.min(Math.floor(at), size - 1);
    return [low, Math.min(low + 1, size - 1), at - low];
  });
  const columns = places(width), factor = end > 0 ? top / end / 255 : 0;
  places(height).forEach(([above, below, down], y) => {
    columns.forEach(([left, right, across], x) => {
      const upper = steps[above * width + left] * (1 - across) + steps[above * width + right] * across;
      const lower = steps[below * width + left] * (1 - across) + steps[below * width + right] * across;
      const heat = Math.min((upper * (1 - down) + lower * down) * factor, 1), place = 4 * (y * SIDE + x);
      const colour = 3 * Math.round(255 * heat);
      for (let channel = 0; channel < 3; channel += 1) pixels[place + channel] = palette[colour + channel];
      pixels[place + 3] = Math.round(255 * opacity * Math.sqrt(heat));
    });
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// The first pictures, each beside its Grad-CAM of every network, all on one scale.
function cams(root) {
  const heading = make(root, "div", { class: "heading" });
  const list = make(root, "ul", { class: "cams" });
  const bar = make(root, "div", { class: "bar" });
  let faces = [], setMarks = null, palette = null, shown = null, painted = null;

  function build(data) {
    palette = bytes(data.palette);
    list.replaceChildren();
    list.setAttribute("aria-label", data.alt);
    faces = data.pictures.map((picture, index) => {
      const group = make(list, "li"), name = data.names[data.labels[index]];
      const first = make(group, "div", { class: "tile" });
      make(make(first, "div", { class: "face" }), "img", { src: picture, alt: `Test picture ${index + 1}` });
      make(first, "b", { title: name }, name);
      return data.networks.map(({ title, colour }) => {
        const tile = make(group, "div", { class: "tile" }), face = make(tile, "div", { class: "face", role: "img" });
        make(face, "img", { src: picture, alt: "" });
        const canvas = make(face, "canvas", { width: SIDE, height: SIDE, "aria-hidden": "true" });
        make(tile, "b", { style: `color:${colour}` }, title);
        return { face, canvas, line: make(tile, "span") };
      });
    });
    bar.replaceChildren();
    setMarks = colourBar(bar, data.bar);
  }

  return (data, until = Infinity) => {
    if (shown !== data) build(data);
    const frame = frameAt(data.frames, until);
    if (shown === data && painted === frame) return;
    [shown, painted] = [data, frame];
    const end = Math.max(0, ...frame.networks.flatMap(({ tops }) => tops.map((top) => top ?? 0)));
    say(heading, `Where they look: Grad-CAM for the true class at the block ${data.layer}, now at step ${frame.step.toLocaleString("en")}`);
    setMarks([{ label: "0", at: 0 }, { label: short(end), at: 1 }]);
    frame.networks.forEach(({ size, tops, maps, answers: [classes, shares] }, which) => {
      faces.forEach((tiles, index) => {
        const { face, canvas, line } = tiles[which], top = tops[index], label = data.labels[index];
        paintHeat(canvas, bytes(maps[index]), size, top ?? 0, end, palette, data.opacity);
        const found = top === null ? "its values are no finite numbers" : top === 0 ? "zero everywhere: nowhere does it speak for this class" : `largest value ${short(top)}, scale to ${short(end)}`;
        face.setAttribute("aria-label", `Grad-CAM of ${data.networks[which].title} on test picture ${index + 1}, for the class ${data.names[label]}: ${found}`);
        face.title = found;
        say(line, marked(data, label, classes[index], shares[index]));
      });
    });
  };
}
