// The colours of a map on the page, and what they stand for.

import { el } from "../dom.js";

/** @param {BarImage} bar */
export function tickedBar({ image, title }) {
  const ticks = el("div", { className: "marks" });
  const scale = el("div", { className: "scale" }, el("img", { src: image, alt: `Colour scale. ${title}` }), ticks);
  return {
    parts: [scale, el("span", {}, title)],
    /** @type {(marks: Mark[]) => void} */
    setMarks(marks) {
      ticks.replaceChildren(...marks.map(({ label, at }) => el("span", { style: `left:${100 * at}%` }, label)));
    },
  };
}
