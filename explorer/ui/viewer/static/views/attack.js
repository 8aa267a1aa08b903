// An attack on the image: a small change that misleads one network. Does the other one fall for it too?

import { aimOf, attackOf, attackText, HIGHEST, LEVEL_STEP, PGD_STEPS, withAim } from "../attack.js";
import { coded, el, paintImage, setText, toggle, update } from "../dom.js";
import { rasterAt } from "../message.js";
import { rgbImage } from "./overlay.js";

const HINT =
  "Each pixel changes by up to ε, along the gradient of one network, so that it errs. Both networks see the same image. The strip shows at which layer the clean and the attacked pass part.";

/** @type {(words: string, ...controls: (Node | string)[]) => HTMLElement} */
const field = (words, ...controls) => el("label", {}, el("span", {}, words), ...controls);

/** `classes` are those that the networks know. @type {(root: HTMLElement, choose: Choose, classes: () => string[]) => Draw} */
export function attackView(root, choose, classes) {
  let attack = attackOf("");
  /** @type {(changes: Partial<Attack>, dragged?: boolean) => void} */
  const ask = (changes, dragged = false) => choose({ attack: attackText({ ...attack, ...changes }) }, dragged);
  const level = el("input", { type: "range", min: "0", max: String(HIGHEST), step: String(LEVEL_STEP) });
  const output = el("span", { className: "value", ariaHidden: "true" });
  level.oninput = () => ask({ epsilon: Number(level.value) }, true);
  const method = el("select", {}, el("option", { value: "fgsm" }, "FGSM, one step"), el("option", { value: "pgd" }));
  method.onchange = () => ask({ steps: method.value === "pgd" ? PGD_STEPS : 0 });
  const against = el("select");
  against.onchange = () => ask({ second: against.value === "1" });
  const againstField = field("Made against", against);
  const aim = el("select");
  aim.onchange = () => choose({ attack: attackText(withAim(attack, aim.value)) });
  const reset = el("button", { type: "button", onclick: () => choose({ attack: "" }) }, "No attack");
  const canvas = el("canvas", { role: "img", ariaLabel: "The change of the image, ten times as large, on mid-grey" });
  const picture = el("figure", { hidden: true }, canvas, el("figcaption", {}, "The change × 10, on mid-grey"));
  const says = el("div", { className: "says", role: "status" });
  const said = el("span", { className: "changes" });
  const controls = el("div", { className: "sliders" });
  controls.append(
    el("label", {}, el("span", {}, "ε, the largest change"), output, level),
    field("Method", method),
    againstField,
    field("Class to reach", aim),
  );
  const panel = el("details", {}, el("summary", {}, "Attack the image", said), el("p", {}, HINT), controls);
  panel.append(el("div", { className: "attacked" }, picture, says), el("p", {}, reset));
  root.replaceChildren(panel);
  let [listed, networks, told] = ["", "", ""];
  /** @type {unknown} */
  let shown = null;

  /** @type {(names: string[]) => void} */
  function listClasses(names) {
    if (listed === names.join("\n")) return;
    listed = names.join("\n");
    const options = names.map((name, index) => el("option", { value: String(index) }, name));
    aim.replaceChildren(el("option", { value: "any" }, "any other"), el("option", { value: "least" }, "the least likely"), ...options);
  }

  /** @type {(message: Message) => void} */
  function drawAnswer({ attack: found, networks: all, body }) {
    if (networks !== all.map(({ title }) => title).join("\n")) {
      networks = all.map(({ title }) => title).join("\n");
      against.replaceChildren(...all.map(({ title }, index) => el("option", { value: String(index) }, title)));
    }
    toggle(againstField, all.length > 1);
    toggle(picture, Boolean(found?.change));
    if (found?.change) paintImage(canvas, rgbImage(rasterAt(body, found.change, 3)));
    const sentences = found?.sentences ?? [];
    if (told === sentences.join("\n")) return; // else it would be read out again
    told = sentences.join("\n");
    says.replaceChildren(...sentences.map((text) => el("p", {}, ...coded(text))));
  }

  return ({ view, message }) => {
    if (!view) return;
    attack = attackOf(view.attack);
    listClasses(classes());
    if (message && shown !== message.predictions) {
      shown = message.predictions;
      drawAnswer(message);
    }
    const words = `${attack.epsilon}/255`;
    if (Number(level.value) !== attack.epsilon) level.value = String(attack.epsilon);
    update(level, { ariaValueText: words });
    setText(output, words);
    setText(method.options[1], `PGD, ${attack.steps || PGD_STEPS} steps`);
    update(method, { value: attack.steps ? "pgd" : "fgsm" });
    update(against, { value: attack.second && against.options.length > 1 ? "1" : "0" });
    update(aim, { value: attack.target !== null && attack.target >= aim.options.length - 2 ? "any" : aimOf(attack) });
    setText(said, `${attack.steps ? "PGD" : "FGSM"} within ${words}`);
    toggle(said, attack.epsilon > 0);
    update(reset, { disabled: view.attack === "" });
  };
}
