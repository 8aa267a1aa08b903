// The drawn shapes of a scene. Where the page has a drawing that takes a picture alone, it is asked; else the page.
const PATIENT = 10000; // milliseconds for which another picture than the asked one is taken for an earlier answer
const parsed = (picture) => picture.split("-").slice(1).map(Number); // [label, scene]

function build(root, data, ask) {
  const number = make("input", { id: "scene", type: "number", min: "0", max: String(data.scenes - 1) });
  number.title = "One scene shows each of the ten shapes with the same colours, place, clutter and noise.";
  const next = make("button", { type: "button", className: "next" }, "Next");
  const tiles = data.names.map((name, index) => {
    const tile = make("button", { type: "button", className: "tile" }, make("span", { className: "shape" }), make("span", {}, name));
    const [column, row] = [index % data.columns, Math.floor(index / data.columns)];
    const rows = Math.ceil(data.names.length / data.columns);
    const { style } = tile.firstChild;
    style.backgroundSize = `${100 * data.columns}% ${100 * rows}%`;
    style.backgroundPosition = `${(100 * column) / (data.columns - 1)}% ${(100 * row) / Math.max(rows - 1, 1)}%`;
    tile.onkeydown = (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -data.columns, ArrowDown: data.columns }[event.key];
      if (by === undefined) return;
      event.preventDefault();
      if (tiles[index + by]) stop(index + by).focus();
    };
    return tile;
  });
  const stop = (index) => {
    tiles.forEach((tile, other) => {
      const wanted = other === index ? 0 : -1; // one stop of the Tab key, arrows move within
      if (tile.tabIndex !== wanted) tile.tabIndex = wanted;
    });
    return tiles[index];
  };
  const grid = make("div", { className: "grid", role: "group", ariaLabel: "The ten drawn shapes of this scene" }, ...tiles);
  grid.style.gridTemplateColumns = `repeat(${data.columns}, 1fr)`;
  root.replaceChildren(make("div", { className: "scene" }, make("label", { htmlFor: "scene" }, "Scene"), number, next), grid);

  const show = () => {
    const [label, scene] = parsed(root.picture);
    const typing = root.getRootNode().activeElement === number;
    if (!typing && number.value !== String(scene)) number.value = String(scene);
    const sheet = depth.sheets.get(scene);
    if (sheet && root.sheet !== sheet) grid.style.setProperty("--sheet", `url(${sheet})`);
    if (sheet) root.sheet = sheet; // until it comes, the one before stays
    tiles.forEach((tile, index) => {
      const pressed = String(root.chosen && index === label);
      if (tile.ariaPressed !== pressed) tile.ariaPressed = pressed;
      const strange = Boolean(root.data.strange[index]);
      tile.classList.toggle("strange", strange);
      tile.title = strange ? "No class of these networks" : "";
    });
    if (!tiles.includes(root.getRootNode().activeElement)) stop(label);
  };
  const choose = (label, scene) => {
    root.picture = `sample-${label}-${scene}`;
    root.chosen = true;
    root.asked = { picture: root.picture, until: performance.now() + PATIENT };
    show();
    ask(root.picture);
  };
  number.onchange = () => {
    const [label, before] = parsed(root.picture);
    const scene = number.value === "" ? before : Math.min(Math.max(Math.round(Number(number.value)), 0), data.scenes - 1);
    number.value = String(scene);
    if (scene !== before) choose(label, scene);
  };
  next.onclick = () => {
    const [label, scene] = parsed(root.picture);
    choose(label, (scene + 1) % data.scenes);
  };
  tiles.forEach((tile, index) => {
    tile.onclick = () => choose(index, parsed(root.picture)[1]);
  });
  return show;
}

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".gallery");
  root.send = (picture) => setTriggerValue("picture", picture); // it belongs to this run of the script
  keepSheets(data.sheets);
  const adopt = (picture, chosen) => {
    if (root.asked && root.asked.picture !== picture && performance.now() < root.asked.until) return;
    root.asked = null;
    root.chosen = chosen;
    if (chosen || !root.picture) root.picture = picture; // after an upload the scene stays
  };
  if (root.data !== data) adopt(data.picture, data.shown);
  root.data = data;
  root.show ??= build(root, data, (picture) => (depth.look ? another(picture) : root.send(picture)));
  const part = () => root.show();
  part();
  depth.gallery = { adopt, part };
  return () => {
    if (depth.gallery?.part === part) depth.gallery = null;
  };
}
