// Every test picture with its label, and what each network says of it.

import { el, setText } from "../dom.js";
import { pictureTools } from "../picture_tools.js";
import { answerText, frameAt } from "./samples.js";

/** @typedef {import("./samples.js").Answers} Answers */
/** @typedef {{kind: "predictions", alt: string, frames: {step: number, networks: Answers[]}[]}} Frames */
/** @typedef {import("./samples.js").Samples & Frames} AnswersData `predictions` of live.py */

/** @param {HTMLElement} root */
export function answersView(root) {
  const heading = el("div", { className: "heading" });
  const scores = el("div", { className: "scores" });
  const list = el("ul", { className: "sheet" });
  const subject = () => ({ parts: [scores, list], caption: `${heading.textContent}.` });
  root.append(heading, scores, list, pictureTools(root, "predictions of the test pictures", subject));
  /** @type {HTMLElement[]} */
  let counts = [];
  /** @type {HTMLElement[][]} */
  let tiles = [];
  /** @type {AnswersData | null} */
  let shown = null;

  /** @param {AnswersData} data */
  function build({ alt, networks, pictures, names, labels }) {
    counts = networks.map(() => el("span"));
    scores.replaceChildren(
      ...networks.map(({ title, colour }, which) => el("span", {}, el("b", { style: `color:${colour}` }, title), counts[which])),
    );
    tiles = pictures.map(() => networks.map(({ title, colour }) => el("span", { style: `color:${colour}`, "data-network": title })));
    list.setAttribute("aria-label", alt);
    list.replaceChildren(
      ...pictures.map((src, index) => {
        const name = names[labels[index]];
        return el("li", {}, el("img", { src, alt: `Test picture ${index + 1}` }), el("b", { title: name }, name), ...tiles[index]);
      }),
    );
  }

  return (/** @type {AnswersData} */ data, until = Number.POSITIVE_INFINITY) => {
    if (shown !== data) build(data);
    shown = data;
    const { labels, names } = data;
    const { step, networks } = frameAt(data.frames, until);
    setText(heading, `The same test pictures again and again, now at step ${step.toLocaleString("en")}`);
    networks.forEach((answers, which) => {
      const right = answers[0].filter((found, index) => found === labels[index]).length;
      setText(counts[which], `: ${right} of ${labels.length} right`);
      tiles.forEach((lines, index) => {
        const text = answerText(data, answers, index);
        setText(lines[which], text);
        lines[which].title = `${data.networks[which].title}: ${text.slice(2)}, label ${names[labels[index]]}`;
      });
    });
  };
}
