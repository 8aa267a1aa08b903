// The drawn shapes of a scene.

import { el, focusedIn, moveWithKeys, numberIn, setTabStop, update } from "../dom.js";
import { keepNewest } from "../store.js";

const CACHED = 20; // scenes
/** @type {Map<number, string>} */
const sheets = new Map(); // the ten shapes of a scene as one picture, by the scene's number

/** @type {(more: Record<string, string>) => void} */
export function keepSheets(more) {
  for (const [number, sheet] of Object.entries(more)) keepNewest(sheets, Number(number), sheet, CACHED);
}

/** Label and scene of "sample-LABEL-SCENE". @type {(picture: string) => number[]} */
const parse = (picture) => picture.split("-").slice(1).map(Number);

/**
 * The names of the shapes, the columns and the number of scenes are those that come first. `next` shows the same shape in
 * another scene. `isViewer`: this page has the viewer, whose picture counts.
 * @param {HTMLElement} root
 * @param {GalleryData} first
 */
export function galleryView(root, { names, columns, scenes }) {
  let [picture, pressed] = ["sample-6-6", true];
  /** @type {(picture: string) => void} */
  let send = () => {};
  /** @type {string | undefined} */
  let sheet;
  /** @type {boolean[]} */
  let strange = [];

  const title = "A background has the same colours, place, clutter and noise for each of the ten shapes.";
  const number = el("input", { id: "scene", type: "number", min: "0", max: String(scenes - 1), title });
  const rows = Math.ceil(names.length / columns);
  const tiles = names.map((name, index) => {
    const shape = el("span", { className: "shape" });
    const [column, row] = [index % columns, Math.floor(index / columns)];
    shape.style.backgroundSize = `${100 * columns}% ${100 * rows}%`;
    shape.style.backgroundPosition = `${(100 * column) / (columns - 1)}% ${(100 * row) / Math.max(rows - 1, 1)}%`;
    return el(
      "button",
      { type: "button", className: "tile", onclick: () => choose(index, parse(picture)[1]) },
      shape,
      el("span", {}, name),
    );
  });
  moveWithKeys(tiles, columns);
  const grid = el("div", { className: "grid", role: "group", ariaLabel: "The ten drawn shapes on this background" }, ...tiles);
  grid.style.gridTemplateColumns = `repeat(${columns}, 1fr)`;
  root.replaceChildren(el("div", { className: "scene" }, el("label", { htmlFor: "scene" }, "Background"), number), grid);

  /** @type {(label: number, scene: number) => void} */
  function choose(label, scene) {
    [picture, pressed] = [`sample-${label}-${scene}`, true];
    draw();
    send(picture);
  }
  number.onchange = () => {
    const [label, before] = parse(picture);
    const scene = numberIn(number) ?? before;
    number.value = String(scene);
    if (scene !== before) choose(label, scene);
  };
  function draw() {
    const [label, scene] = parse(picture);
    const active = focusedIn(root);
    if (active !== number) update(number, { value: String(scene) });
    const wanted = sheets.get(scene);
    if (wanted && sheet !== wanted) grid.style.setProperty("--sheet", `url(${wanted})`);
    sheet = wanted ?? sheet; // until it comes, the one before stays
    tiles.forEach((tile, index) => {
      update(tile, { ariaPressed: String(pressed && index === label), title: strange[index] ? "No class of these networks" : "" });
      tile.classList.toggle("strange", Boolean(strange[index]));
    });
    if (!tiles.some((tile) => tile === active)) setTabStop(tiles, tiles[label]);
  }

  const next = () => {
    const [label, scene] = parse(picture);
    choose(label, (scene + 1) % scenes);
  };
  /** @type {(data: GalleryData, state: State, choose: (picture: string) => void, isViewer: boolean) => void} */
  const show = (data, { view }, chosen, isViewer) => {
    [send, strange] = [chosen, data.strange];
    const now = isViewer && view ? view.picture : data.picture;
    const isSample = now.startsWith("sample-");
    pressed = isViewer && view ? isSample : data.shown;
    if (isSample) picture = now; // after an upload the scene stays
    draw();
  };
  return { show, next };
}
