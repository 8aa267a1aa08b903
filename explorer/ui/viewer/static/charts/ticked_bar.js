// The colours of a map on the page, and what they stand for.

import { el } from "../dom.js";

/** @typedef {{label: string, at: number}} Mark `at` is a share of the bar's length */
/** @typedef {{image: string, title: string}} Bar */

/** @param {Bar} bar */
export function tickedBar({ image, title }) {
  const ticks = el("div", { className: "marks" });
  const scale = el("div", { className: "scale" }, el("img", { src: image, alt: `Colour scale. ${title}` }), ticks);
  return {
    parts: [scale, el("span", {}, title)],
    /** @param {Mark[]} marks */
    setMarks(marks) {
      ticks.replaceChildren(...marks.map(({ label, at }) => el("span", { style: `left:${100 * at}%` }, label)));
    },
  };
}
