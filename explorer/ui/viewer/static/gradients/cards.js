// Results that are measured, a card for each: its chart, its sentence and its numbers. A card is a link to its view.

import { layPanels } from "../charts/frame.js";
import { profilePanels } from "../charts/profile_panel.js";
import { el, save, svgEl, toggle, update } from "../dom.js";
import { pictureTools } from "../picture_tools.js";

const HEIGHT = 150; // pixels of a chart

/** @typedef {CardsData["cards"][number]} Card */

/** Draws a chart that does not move. @type {(svg: SVGSVGElement, data: ProfileData, width: number, id: string) => void} */
function draw(svg, data, width, id) {
  const panels = profilePanels(data);
  const { boxes, height } = layPanels(1, width, { ...panels.layout(width), height: HEIGHT });
  const frame = { ...boxes[0], x: panels.full.x, y: panels.spanY(0, null) };
  const area = { x: frame.left, y: frame.top, width: frame.width, height: frame.height };
  const inside = svgEl("g", { "clip-path": `url(#${id})` });
  const middle = { x: frame.left + frame.width / 2, y: frame.top + frame.height + 31, "text-anchor": "middle", class: "tick" };
  update(svg, { ariaLabel: data.alt });
  svg.setAttribute("width", String(width));
  svg.setAttribute("height", String(height));
  svg.replaceChildren(
    svgEl("clipPath", { id }, svgEl("rect", area)),
    svgEl("text", { x: 0, y: 12, class: "tick" }, data.size),
    inside,
    svgEl("rect", { ...area, class: "frame" }),
    svgEl("text", middle, "first layer to last"),
  );
  panels.draw({ index: 0, frame, svg, inside, until: Number.POSITIVE_INFINITY, id });
}

/** @param {HTMLElement} root @param {string} id that no other card has */
function cardView(root, id) {
  const link = el("a");
  const setting = el("p", { className: "setting" });
  const svg = svgEl("svg", { role: "img" });
  const stage = el("div", { className: "chart" }, svg);
  const sentence = el("p", { className: "finding" });
  const table = el("table");
  const about = el("p");
  const file = el("button", { type: "button" }, "CSV");
  /** @type {Card | null} */
  let card = null;
  let width = 0;
  const subject = () => ({ parts: [svg], caption: `${card?.setting}. ${card?.sentence} ${card?.numbers?.about}` });
  const tools = el("div", { className: "tools" }, file, pictureTools(stage, "this chart", subject));
  const fold = el("details", {}, el("summary", {}, "Table and CSV"), el("div", { className: "table" }, table), about, tools);
  root.append(el("h3", {}, link), setting, stage, sentence, fold);
  file.onclick = () => {
    if (card?.numbers) save(new Blob([card.numbers.csv], { type: "text/csv" }), card.numbers.file);
  };

  const redraw = () => {
    width = stage.clientWidth;
    if (card?.numbers && width) draw(svg, card.numbers.chart, width, id);
  };
  new ResizeObserver(() => {
    if (stage.clientWidth !== width) redraw();
  }).observe(stage);

  /** @type {(next: Card, open: (query: string) => void) => void} */
  return (next, open) => {
    card = next;
    update(link, { textContent: next.title, href: `?${next.query}` });
    root.classList.toggle("shown", next.shown);
    if (next.shown) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
    link.onclick = (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // another tab or window
      event.preventDefault();
      open(next.query);
      const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
      document.querySelector(".st-key-gradients_below")?.scrollIntoView({ behavior });
    };
    update(setting, { textContent: next.setting });
    update(sentence, { textContent: next.sentence });
    file.ariaLabel = `CSV: ${next.setting}`;
    const cells = (/** @type {"th" | "td"} */ tag, /** @type {string[]} */ row) => el("tr", {}, ...row.map((text) => el(tag, {}, text)));
    toggle(stage, next.numbers !== null);
    toggle(fold, next.numbers !== null);
    if (!next.numbers) return;
    const { head, rows, about: told } = next.numbers;
    update(about, { textContent: told });
    table.replaceChildren(cells("th", head), ...rows.map((row) => cells("td", row)));
    redraw();
  };
}

/** @type {(root: HTMLElement) => (data: CardsData, open: (query: string) => void) => void} */
export function cardsView(root) {
  /** @type {ReturnType<typeof cardView>[]} */
  let views = [];
  return ({ cards }, open) => {
    if (views.length !== cards.length) {
      const boxes = cards.map(() => el("article"));
      root.replaceChildren(...boxes);
      views = boxes.map((box, index) => cardView(box, `card-${index}`));
    }
    cards.forEach((card, index) => {
      views[index](card, open);
    });
  };
}
