// The maps inside a residual block, which the server paints: any pixel can be chosen to see where its number comes from.

import { chosenPlace } from "../arithmetic.js";
import { el, update } from "../dom.js";
import { shownLayer } from "../store.js";
import { pixelPicker } from "./pixels.js";

/** @type {(root: HTMLElement, select: Select) => {fill: (data: BlockMaps) => void, draw: Draw}} */
export function blockMapsView(root, select) {
  /** @type {BlockMaps | null} */
  let shown = null;
  /** @type {((state: State) => void)[]} */
  let draws = [];
  /** @type {HTMLElement[]} */
  let figures = [];

  /** What fills the figure of a map. @type {(place: number) => () => void} */
  function build(place) {
    const data = () => /** @type {BlockMaps} */ (shown);
    const map = () => data().maps[place];
    const figure = el("figure");
    const name = el("b");
    const words = el("figcaption");
    const image = el("img");
    const picker = pixelPicker(`${data().key}/${place}`, image, (pixel, dragged) =>
      select({ at: `${map().layer}:${[map().channel, ...pixel].join()}` }, dragged),
    );
    figures.push(figure);
    draws.push((state) => {
      const { title, which } = data();
      const { layer, channel, size } = map();
      const at = chosenPlace(state.selection, shownLayer(state));
      const isChosen = at !== null && at.layer === layer && at.place[0] === channel;
      picker.update({ which, layer: layer ?? "" }, size, isChosen ? [at.place[1], at.place[2]] : null, `${map().name} of ${title}`);
      picker.allow(layer !== null);
    });
    return () => {
      const { name: text, image: source, alt, caption } = map();
      update(name, { textContent: text });
      update(words, { textContent: caption });
      if (source) update(image, { src: source, alt });
      const parts = [name, ...(source ? [picker.box] : []), words];
      if (figure.childElementCount !== parts.length) figure.replaceChildren(...parts); // else the focus is lost
    };
  }

  /** @type {(() => void)[]} */
  let fills = [];
  return {
    fill(data) {
      const before = shown;
      shown = data;
      if (before?.maps.length !== data.maps.length || before.key !== data.key) {
        [draws, figures] = [[], []];
        fills = data.maps.map((_, place) => build(place));
        root.replaceChildren(...figures);
      }
      for (const fill of fills) fill();
    },
    draw(state) {
      for (const draw of draws) draw(state);
    },
  };
}
