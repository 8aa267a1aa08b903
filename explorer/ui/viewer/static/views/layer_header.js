// Which layer is shown, how opaque overlays are, and what shares a colour scale.

import { el, setText, toggle, update } from "../dom.js";
import { shownLayer } from "../store.js";

/** @type {Record<string, [label: string, meaning: string]>} */
const SCOPES = {
  layer: ["layer", "Networks can be compared at one layer."],
  network: ["network", "The layers of one network can be compared."],
  both: ["all", "One scale for everything; weak layers then look empty."],
};

/** @type {(label: HTMLElement, control: HTMLElement) => HTMLElement} */
const field = (label, control) => el("div", { className: "field" }, label, control);

/** @type {(root: HTMLElement, select: Select) => Draw} */
export function headerView(root, select) {
  const heading = el("h3", {});
  const picker = el("select", { id: "layer", onchange: () => select({ layer: picker.value, channel: null }) });
  const percent = el("output", {});
  percent.htmlFor.add("opacity");
  const opacity = el("input", { id: "opacity", type: "range", min: "0", max: "100" });
  opacity.oninput = opacity.onchange = () => select({ opacity: Number(opacity.value) }, true);
  const signed = el("input", {
    type: "checkbox",
    role: "switch",
    onchange: () => select({ evidence: signed.checked ? "signed" : "positive" }),
  });
  const switched = el("label", { className: "switch" }, signed, el("span", {}, "Signed Grad-CAM"));
  switched.title = "Shows what opposes the explained class too, in blue: Grad-CAM before its ReLU.";
  const radios = Object.keys(SCOPES).map((scope) =>
    el("input", { type: "radio", name: "scope", value: scope, onchange: () => select({ scope: /** @type {any} */ (scope) }) }),
  );
  const labels = radios.map((radio) => el("label", {}, radio, el("span", {}, SCOPES[radio.value][0])));
  const meaning = el("span", { id: "meaning", className: "meaning" });
  const group = el("div", { className: "scopes", role: "radiogroup", ariaLabel: "One colour scale for each" }, ...labels);
  group.setAttribute("aria-describedby", "meaning");
  root.replaceChildren(
    heading,
    el(
      "div",
      { className: "controls" },
      field(el("label", { htmlFor: "layer" }, "Layer"), picker),
      field(el("label", { htmlFor: "opacity" }, "Opacity of the overlay, %"), el("div", { className: "slider" }, opacity, percent)),
      field(el("span", {}, "One colour scale for each"), el("div", { className: "choice" }, group, meaning)),
      switched,
    ),
  );
  let names = "";
  return (state) => {
    const layer = shownLayer(state);
    toggle(root, state.message !== null);
    if (!state.message || layer === null) return;
    const layers = state.message.columns.map((column) => column.name);
    if (names !== layers.join()) {
      names = layers.join();
      picker.replaceChildren(...layers.map((name) => el("option", { value: name }, name)));
    }
    setText(heading, `Layer ${layer}`);
    update(picker, { value: layer });
    update(opacity, { value: String(state.selection.opacity) });
    update(percent, { value: opacity.value });
    signed.checked = state.selection.evidence === "signed";
    setText(meaning, SCOPES[state.selection.scope][1]);
    for (const radio of radios) radio.checked = radio.value === state.selection.scope;
  };
}
