// The pixels of the strip's feature maps: chosen by a click or keys, and marked with what belongs to them.

import { movedPixel, pixelOf, pixelUnder } from "../arithmetic.js";
import { el, update } from "../dom.js";
import { areasOf, choosing, clickedPixel, onHover, shares, tellHover } from "../links.js";
import { placeMark } from "./pixels.js";

export const HINT = "Shift with a click or an arrow key chooses a pixel: where does its number come from?";

/** @typedef {{button: HTMLElement, which: number, column: number, marks: HTMLElement[]}} Place a cell of the strip */

/**
 * `chooseLayer` is what a click does that chooses no pixel.
 * @type {(select: Select, chooseLayer: (column: number) => void) => {tool: HTMLElement, attach: (button: HTMLElement, which: number, column: number) => void, clear: () => void, draw: (now: State) => void}}
 */
export function stripPixels(select, chooseLayer) {
  /** @type {Place[]} */
  let places = [];
  /** @type {State | null} */
  let state = null;
  const tool = el("button", { type: "button", className: "choose", ariaPressed: "false" }, "Choose a pixel");
  tool.title = "While this is on, a click on a feature map chooses a pixel and shows where its number comes from.";
  tool.onclick = () => {
    choosing.on = !choosing.on;
    show(null);
  };

  /** @type {(which: number, column: number) => Cell | null} */
  const cellOf = (which, column) => state?.message?.networks[which]?.cells[column] ?? null;
  /** The layer's name. @type {(column: number) => string} */
  const nameOf = (column) => state?.message?.columns[column]?.name ?? "";
  /** @type {(cell: Cell, event: MouseEvent) => [number, number]} */
  const under = ({ shape: [height, width] }, { offsetX, offsetY, currentTarget }) => {
    const { clientWidth, clientHeight } = /** @type {HTMLElement} */ (currentTarget);
    return pixelUnder(offsetX / clientWidth, offsetY / clientHeight, width, height);
  };

  /** The chosen pixel of that map. @type {(cell: Cell, column: number) => [number, number] | null} */
  const chosenIn = (cell, column) => {
    const { layer, channel, at } = /** @type {State} */ (state).selection;
    const pixel = layer === nameOf(column) && channel === cell.most_active ? pixelOf(at) : null;
    return pixel && pixel[0] < cell.shape[0] && pixel[1] < cell.shape[1] ? pixel : null;
  };

  /** @type {(cell: Cell, column: number, pixel: [number, number], dragged?: boolean) => void} */
  const choose = (cell, column, [row, left], dragged) =>
    select({ layer: nameOf(column), channel: cell.most_active, at: `${row},${left}` }, dragged);

  /** @type {(button: HTMLElement, which: number, column: number) => void} */
  function attach(button, which, column) {
    places.push({ button, which, column, marks: [] });
    button.onclick = (event) => {
      const cell = cellOf(which, column);
      if (!cell || !state) return;
      const middle = () => chosenIn(cell, column) ?? /** @type {[number, number]} */ (movedPixel(null, "ArrowUp", ...cell.shape));
      const pixel = clickedPixel(event, state.selection.at !== null, choosing.on, () => under(cell, event), middle);
      if (pixel) choose(cell, column, pixel);
      else chooseLayer(column);
    };
    // Before the keys that move from layer to layer.
    button.addEventListener("keydown", (event) => {
      const cell = cellOf(which, column);
      const pixel = cell && event.shiftKey ? movedPixel(chosenIn(cell, column), event.key, ...cell.shape) : null;
      if (!cell || !pixel) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      choose(cell, column, pixel, true);
    });
    button.onpointermove = (event) => {
      const cell = cellOf(which, column);
      if (cell) tellHover({ which, layer: nameOf(column), pixel: under(cell, event) });
    };
    button.onpointerleave = () => tellHover(null);
  }

  /** @type {(hover: import("../links.js").Hover | null) => void} */
  function show(hover) {
    update(tool, { ariaPressed: String(choosing.on) });
    const values = state?.selection.at === null ? [] : (state?.values?.networks ?? []);
    for (const place of places) {
      const { button, which, column, marks } = place;
      const cell = cellOf(which, column);
      button.classList.toggle("picks", choosing.on || values.length > 0);
      const layer = nameOf(column);
      const own = hover?.which === which ? hover : null;
      const areas = cell ? areasOf(values[which], own).filter((area) => area.layer === layer) : [];
      const boxes = areas.flatMap((area) => (cell && shares(area, ...cell.shape)) ?? []);
      while (marks.length > boxes.length) marks.pop()?.remove();
      while (marks.length < boxes.length) {
        const mark = el("i", { className: "pixel", ariaHidden: "true" });
        marks.push(mark);
        button.append(mark);
      }
      boxes.forEach((box, index) => {
        placeMark(marks[index], box);
      });
    }
  }

  onHover("strip", show);
  return {
    tool,
    attach,
    clear() {
      places = [];
    },
    draw(now) {
      state = now;
      show(null);
    },
  };
}
