// The networks' maps under each other, aligned by relative depth; everything is computed in aligned.py.

import { el, focusedIn, once, setTabStop } from "./dom.js";
import { pictureTools } from "./picture_tools.js";

const LABELS_PX = 96; // the column of names
const NARROWEST_PX = 36; // a thumbnail must still show a shape and take a click

/** @param {HTMLElement} root */
function alignedView(root) {
  /** @type {AlignedData} */
  let shown;
  const scroller = el("div", { className: "scroller" });
  const source = el("img");
  const subject = () => ({
    parts: [...scroller.children],
    caption: shown.caption,
    bars: [{ source, title: shown.title, ends: shown.ends }],
  });
  root.append(scroller, pictureTools(root, "aligned maps", subject));

  /** @type {(data: AlignedData, choose: (place: number) => void) => void} */
  return (data, choose) => {
    shown = data;
    source.src = data.bar;
    const { networks, depths, chosen } = data;
    const active = focusedIn(root);
    const focused = active instanceof HTMLElement ? active.dataset.place : undefined;
    const scrolled = scroller.scrollLeft;
    const grid = el("div", { className: `grid ${data.grid}` }, el("div", { className: "corner" }, "relative depth, input to output →"));
    grid.style.gridTemplateColumns = `${LABELS_PX}px repeat(${depths.length}, minmax(${NARROWEST_PX}px, 1fr))`;
    grid.append(...depths.map((depth, place) => el("div", { className: place === chosen ? "depth chosen" : "depth" }, depth)));
    const rows = networks.map((network, row) => {
      const picture = el("img", { src: network.input, alt: `the input of ${network.title}`, title: network.seen });
      const title = el("b", { style: `color:${network.colour}` }, network.title);
      grid.append(el("div", { className: "name" }, title, picture));
      return network.cells.map((cell, place) => {
        const button = el("button", {
          type: "button",
          className: cell.zero ? "zero" : "",
          title: cell.hover,
          ariaLabel: `${cell.layer}, ${network.title}, relative depth ${depths[place]}`,
          ariaPressed: String(place === chosen),
          tabIndex: place === chosen ? 0 : -1, // one stop of the Tab key a row
          style: `background-image:url(${cell.image})`,
          "data-place": `${row} ${place}`,
          onclick: () => choose(place),
        });
        const [layer, size, largest] = cell.words;
        const words = el("div", { className: "layer" }, el("b", {}, layer), el("span", {}, size), el("div", {}, largest));
        grid.append(el("div", {}, button, words));
        return button;
      });
    });
    grid.onkeydown = (event) => {
      if (!(event.target instanceof HTMLElement) || !event.target.dataset.place) return;
      const [row, place] = event.target.dataset.place.split(" ").map(Number);
      const beside = { ArrowRight: [row, place + 1], ArrowLeft: [row, place - 1], ArrowDown: [row + 1, place], ArrowUp: [row - 1, place] };
      const next = { ...beside, Home: [row, 0], End: [row, depths.length - 1] }[event.key];
      if (!next) return;
      event.preventDefault();
      const button = rows[next[0]]?.[next[1]];
      if (!button) return;
      setTabStop(rows[next[0]], button);
      button.focus();
    };
    scroller.replaceChildren(grid);
    scroller.scrollLeft = scrolled;
    for (const buttons of rows) {
      const same = buttons.find((button) => button.dataset.place === focused);
      if (!same) continue;
      setTabStop(buttons, same);
      same.focus({ preventScroll: true });
    }
  };
}

/** @type {(component: Component<AlignedData>) => void} */
export function aligned({ data, parentElement, setTriggerValue }) {
  const draw = once(parentElement, ".aligned", alignedView);
  draw(data, (place) => setTriggerValue("column", place));
}
