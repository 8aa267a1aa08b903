// Every test picture with its label, and what each network says of it.

import { el, setText } from "../dom.js";
import { pictureTools } from "../picture_tools.js";
import { answerText, framesView, labelOf, nameOf, photo, stepHeading } from "./samples.js";

/** @type {(root: HTMLElement) => (data: AnswersData, until?: number) => void} */
export function answersView(root) {
  const heading = el("div", { className: "heading" });
  const scores = el("div", { className: "scores" });
  const list = el("ul", { className: "sheet" });
  let about = "";
  const subject = () => ({ parts: [scores, list], caption: `${heading.textContent}. ${about}` });
  root.append(heading, scores, list, pictureTools(root, "predictions of the test images", subject));
  /** @type {HTMLElement[]} */
  let counts = [];
  /** @type {HTMLElement[][]} */
  let tiles = [];

  return framesView(
    (/** @type {AnswersData} */ { alt, source, networks, pictures, names, labels }) => {
      about = source;
      counts = networks.map(() => el("span"));
      scores.replaceChildren(...networks.map((network, which) => el("span", {}, nameOf(network), counts[which])));
      tiles = pictures.map(() => networks.map(({ title, colour }) => el("span", { style: `color:${colour}`, "data-network": title })));
      list.ariaLabel = alt;
      const boxes = pictures.map((src, index) => el("li", {}, photo(src, index), labelOf(names[labels[index]]), ...tiles[index]));
      list.replaceChildren(...boxes);
    },
    (data, { step, networks }) => {
      const { labels, names } = data;
      setText(heading, stepHeading("The same test images again and again", step));
      networks.forEach((answers, which) => {
        const right = answers[0].filter((found, index) => found === labels[index]).length;
        setText(counts[which], `: ${right} of ${labels.length} right`);
        tiles.forEach((lines, index) => {
          const text = answerText(data, answers, index);
          setText(lines[which], text);
          lines[which].title = `${data.networks[which].title}: ${text.slice(2)}, label ${names[labels[index]]}`;
        });
      });
    },
  );
}
