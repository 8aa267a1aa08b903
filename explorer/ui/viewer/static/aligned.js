// The networks' maps under each other, aligned by relative depth; everything is computed in aligned.py.

import { el, find, once } from "./dom.js";
import { pictureTools } from "./picture_tools.js";

/**
 * @typedef {object} AlignedCell
 * @property {string} layer
 * @property {[layer: string, size: string, largest: string]} words
 * @property {string} image
 * @property {boolean} zero whether the map is zero everywhere
 * @property {string} hover
 */

/**
 * @typedef {object} AlignedData `aligned_maps` of aligned.py
 * @property {string} grid "true": the pixels of the maps are seen
 * @property {string[]} depths
 * @property {number} chosen one of them
 * @property {string} caption
 * @property {string} bar the colours of the scale, as a picture
 * @property {[low: string, high: string]} ends of the scale
 * @property {{title: string, colour: string, input: string, seen: string, cells: AlignedCell[]}[]} networks
 */

const LABELS_PX = 96; // the column of names
const NARROWEST_PX = 36; // a thumbnail must still show a shape and take a click

/** @type {(cell: AlignedCell, network: string, depth: string) => HTMLButtonElement} */
function cellButton(cell, network, depth) {
  const ariaLabel = `${cell.layer}, ${network}, relative depth ${depth}`;
  const button = el("button", { type: "button", className: cell.zero ? "zero" : "", title: cell.hover, ariaLabel });
  button.style.backgroundImage = `url(${cell.image})`;
  return button;
}

/** @param {HTMLElement} root */
function alignedView(root) {
  /** @type {AlignedData} */
  let shown;
  const scroller = el("div", { className: "scroller" });
  const source = el("img");
  const subject = () => ({
    parts: [...scroller.children],
    caption: shown.caption,
    bars: [{ source, title: "Grad-CAM", ends: shown.ends }],
  });
  root.append(scroller, pictureTools(root, "aligned maps", subject));

  /** @type {(data: AlignedData, choose: (place: number) => void) => void} */
  return (data, choose) => {
    shown = data;
    source.src = data.bar;
    const { networks, depths, chosen } = data;
    const { activeElement } = /** @type {ShadowRoot | Document} */ (root.getRootNode());
    const focused = activeElement instanceof HTMLElement ? activeElement.dataset.place : undefined;
    const scrolled = scroller.scrollLeft;
    const grid = el("div", { className: `grid ${data.grid}` }, el("div", { className: "corner" }, "relative depth, input to output →"));
    grid.style.gridTemplateColumns = `${LABELS_PX}px repeat(${depths.length}, minmax(${NARROWEST_PX}px, 1fr))`;
    grid.append(...depths.map((depth, place) => el("div", { className: place === chosen ? "depth chosen" : "depth" }, depth)));
    const rows = networks.map((network, row) => {
      const picture = el("img", { src: network.input, alt: `the input of ${network.title}`, title: network.seen });
      const title = el("b", { style: `color:${network.colour}` }, network.title);
      grid.append(el("div", { className: "name" }, title, picture));
      return network.cells.map((cell, place) => {
        const button = cellButton(cell, network.title, depths[place]);
        button.dataset.place = `${row} ${place}`;
        button.tabIndex = place === chosen ? 0 : -1; // one stop of the Tab key a row
        button.setAttribute("aria-pressed", String(place === chosen));
        button.onclick = () => choose(place);
        const [layer, size, largest] = cell.words;
        const words = el("div", { className: "layer" }, el("b", {}, layer), el("span", {}, size), el("div", {}, largest));
        grid.append(el("div", {}, button, words));
        return button;
      });
    });
    grid.onkeydown = (event) => {
      const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
      if (!step || !(event.target instanceof HTMLElement) || !event.target.dataset.place) return;
      event.preventDefault();
      const [row, place] = event.target.dataset.place.split(" ").map(Number);
      rows[row + step[0]]?.[place + step[1]]?.focus();
    };
    scroller.replaceChildren(grid);
    scroller.scrollLeft = scrolled;
    const same = rows.flat().find((button) => button.dataset.place === focused);
    same?.focus({ preventScroll: true });
  };
}

/** @type {(component: Component<AlignedData>) => void} */
export function aligned({ data, parentElement, setTriggerValue }) {
  const draw = once(parentElement, () => alignedView(find(parentElement, ".aligned")));
  draw(data, (place) => setTriggerValue("column", place));
}
