// Sliders that change the picture; both networks follow while the hand moves.

import { DIALS, dialsText, dialValues, dialWords } from "../dials.js";
import { el, setText, toggle, update } from "../dom.js";

/** @type {(root: HTMLElement, choose: Choose) => Draw} */
export function dialsView(root, choose) {
  let values = dialValues("");
  const reset = el("button", { type: "button", onclick: () => choose({ dials: "" }) }, "Reset");
  const sliders = Object.entries(DIALS)
    .filter(([name]) => name !== "seed") // a link may name one
    .map(([name, { label, low, high, step }]) => {
      const input = el("input", { type: "range", min: String(low), max: String(high), step: String(step) });
      const output = el("span", { className: "value", ariaHidden: "true" });
      input.oninput = () => choose({ dials: dialsText({ ...values, [name]: Number(input.value) }) }, true);
      return { name, input, output, box: el("label", {}, el("span", {}, label), output, input) };
    });
  const said = el("span", { className: "changes" });
  const panel = el("details", {}, el("summary", {}, "Change the image", said));
  panel.append(el("div", { className: "sliders" }, ...sliders.map(({ box }) => box)), el("p", {}, reset));
  root.replaceChildren(panel);
  return ({ view, message }) => {
    if (!view) return;
    values = dialValues(view.dials);
    const changed = sliders.filter(({ name }) => values[name] !== DIALS[name].rest);
    for (const { name, input, output } of sliders) {
      if ((name === "x" || name === "y") && message) {
        const side = Math.min(message.networks[0].input[name === "x" ? 2 : 1], 256);
        update(input, { min: String(-side), max: String(side) });
      }
      if (Number(input.value) !== values[name]) input.value = String(values[name]);
      setText(output, dialWords(name, values[name]));
      update(input, { ariaValueText: dialWords(name, values[name]) });
    }
    setText(said, changed.map(({ name, output }) => `${DIALS[name].label} ${output.textContent}`).join(", "));
    toggle(said, changed.length > 0);
    update(reset, { disabled: changed.length === 0 });
  };
}
