// What stands above the picture: which networks these are, what they know, and others that may know the picture.

import { el } from "../dom.js";

/** @type {(root: HTMLElement, choose: (changes: Partial<View>) => void) => (message: Message) => void} */
export function introductionView(root, choose) {
  let shown = "";
  return ({ introduction }) => {
    const now = JSON.stringify(introduction);
    if (shown === now) return;
    shown = now;
    const { heading, twins, known, offer } = introduction;
    const parts = [el("h2", {}, heading)];
    if (twins) {
      const words = "they started from the same weights and learned from the same images in the same order. The shortcuts are";
      const [first, second] = twins.map((title) => el("b", {}, title));
      parts.push(
        el("p", {}, first, " and ", second, ` are twins: ${words} the only difference, so every difference below comes from them.`),
      );
    }
    parts.push(el("p", { className: "known" }, known));
    if (offer) {
      const { why, words, networks } = offer;
      const button = el("button", { type: "button", onclick: () => choose({ networks, target: null }) }, words);
      parts.push(el("div", { className: "offer" }, el("p", {}, why), button));
    }
    root.replaceChildren(...parts);
  };
}
