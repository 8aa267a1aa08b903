// The drawn shapes of a scene.

import { el } from "../dom.js";

const CACHED = 20; // scenes
/** @type {Map<number, string>} */
const sheets = new Map(); // the ten shapes of a scene as one picture, by the scene's number

/**
 * The oldest go.
 * @param {Record<string, string>} more
 */
export function keepSheets(more) {
  for (const [number, sheet] of Object.entries(more)) {
    sheets.delete(Number(number)); // else an old one keeps its place, which is the first to go
    sheets.set(Number(number), sheet);
  }
  for (const oldest of sheets.keys()) {
    if (sheets.size <= CACHED) break;
    sheets.delete(oldest);
  }
}

/**
 * @param {string} picture "sample-LABEL-SCENE"
 * @returns {[label: number, scene: number]}
 */
function parse(picture) {
  const [label, scene] = picture.split("-").slice(1).map(Number);
  return [label, scene];
}

/**
 * @typedef {object} GalleryData
 * @property {string} picture
 * @property {boolean} shown whether it is the picture of the view
 * @property {string[]} names
 * @property {boolean[]} strange
 * @property {number} columns
 * @property {number} scenes
 */

/** @param {HTMLElement} root */
export function galleryView(root) {
  /** @type {((data: GalleryData) => void) | null} */
  let show = null;
  let [picture, pressed] = ["sample-6-6", true];
  /** @type {(picture: string) => void} */
  let send = () => {};

  /** @param {GalleryData} first */
  function build({ names, columns, scenes }) {
    const number = el("input", { id: "scene", type: "number", min: "0", max: String(scenes - 1) });
    number.title = "One scene shows each of the ten shapes with the same colours, place, clutter and noise.";
    const next = el("button", { type: "button", className: "next" }, "Next");
    const tiles = names.map((name, index) => {
      const shape = el("span", { className: "shape" });
      const rows = Math.ceil(names.length / columns);
      shape.style.backgroundSize = `${100 * columns}% ${100 * rows}%`;
      const [column, row] = [index % columns, Math.floor(index / columns)];
      shape.style.backgroundPosition = `${(100 * column) / (columns - 1)}% ${(100 * row) / Math.max(rows - 1, 1)}%`;
      const tile = el("button", { type: "button", className: "tile" }, shape, el("span", {}, name));
      tile.onkeydown = (event) => {
        const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
        if (by === undefined) return;
        event.preventDefault();
        if (tiles[index + by]) stop(index + by).focus();
      };
      tile.onclick = () => choose(index, parse(picture)[1]);
      return tile;
    });
    /** @param {number} index */
    const stop = (index) => {
      tiles.forEach((tile, other) => {
        const wanted = other === index ? 0 : -1; // one stop of the Tab key, arrows move within
        if (tile.tabIndex !== wanted) tile.tabIndex = wanted;
      });
      return tiles[index];
    };
    const grid = el("div", { className: "grid", role: "group", ariaLabel: "The ten drawn shapes of this scene" }, ...tiles);
    grid.style.gridTemplateColumns = `repeat(${columns}, 1fr)`;
    root.replaceChildren(el("div", { className: "scene" }, el("label", { htmlFor: "scene" }, "Scene"), number, next), grid);

    /**
     * @param {number} label
     * @param {number} scene
     */
    function choose(label, scene) {
      picture = `sample-${label}-${scene}`;
      pressed = true;
      update();
      send(picture);
    }
    number.onchange = () => {
      const [label, before] = parse(picture);
      const scene = number.value === "" ? before : Math.min(Math.max(Math.round(Number(number.value)), 0), scenes - 1);
      number.value = String(scene);
      if (scene !== before) choose(label, scene);
    };
    next.onclick = () => {
      const [label, scene] = parse(picture);
      choose(label, (scene + 1) % scenes);
    };
    /** @type {string | undefined} */
    let sheet;
    /** @type {boolean[]} */
    let strange = [];
    function update() {
      const [label, scene] = parse(picture);
      const active = document.activeElement && /** @type {any} */ (root.getRootNode()).activeElement;
      if (active !== number && number.value !== String(scene)) number.value = String(scene);
      const wanted = sheets.get(scene);
      if (wanted && sheet !== wanted) grid.style.setProperty("--sheet", `url(${wanted})`);
      if (wanted) sheet = wanted; // until it comes, the one before stays
      tiles.forEach((tile, index) => {
        const isPressed = String(pressed && index === label);
        if (tile.ariaPressed !== isPressed) tile.ariaPressed = isPressed;
        tile.classList.toggle("strange", Boolean(strange[index]));
        const title = strange[index] ? "No class of these networks" : "";
        if (tile.title !== title) tile.title = title;
      });
      if (!tiles.includes(active)) stop(label);
    }
    return (/** @type {GalleryData} */ data) => {
      strange = data.strange;
      update();
    };
  }

  /**
   * @param {GalleryData} data
   * @param {import("../store.js").State} state
   * @param {(picture: string) => void} choose
   * @param {boolean} isViewer whether this page has the viewer, whose picture counts
   */
  return (data, state, choose, isViewer) => {
    send = choose;
    const now = isViewer && state.view ? state.view.picture : data.picture;
    pressed = isViewer && state.view ? now.startsWith("sample-") : data.shown;
    if (now.startsWith("sample-")) picture = now; // after an upload the scene stays
    show ??= build(data);
    show(data);
  };
}
