// The switches of further rows of the depth strip, and what these say in words.

import { el, save, setText, toggle, update } from "../dom.js";
import { needsRows, parseRows, ROWS, shownRows, withRow } from "../rows.js";
import { shownLayer } from "../store.js";

/**
 * `offer`: whether the switches are to be seen; `start`: a row whose long measurement is wanted.
 * @type {(root: HTMLElement, select: Select, offer: (open: boolean) => void, start: (name: string) => void) => Draw}
 */
export function rowsView(root, select, offer, start) {
  /** @type {State} */
  let state;
  const switches = Object.entries(ROWS).map(([name, label]) => {
    const box = el("input", { type: "checkbox", name });
    const cost = el("span", { className: "cost" });
    box.onchange = () => {
      const { checked } = box; // what is drawn in between sets it to the row of now
      if (checked) start(name); // the switch says what it costs; a link says so before it begins
      select({ rows: withRow(state.selection.rows, name, checked) });
    };
    return { name, box, cost, field: el("label", {}, box, el("span", {}, label), cost) };
  });
  const set = el(
    "fieldset",
    {},
    el("legend", {}, "What does each layer know, and how far does it see? Each row is measured on many images, without the changes below."),
    ...switches.map(({ field }) => field),
  );
  const details = el("details", {}, el("summary", {}, "More rows along the depth"), set);
  details.ontoggle = () => offer(details.open);
  const progress = el("p", { className: "progress", role: "status" });
  const values = el("div", { className: "values", ariaLive: "polite" });
  const words = el("div", { className: "words" });
  const csv = el("button", { type: "button", onclick: () => saveValues() }, "Values (CSV)");
  root.replaceChildren(details, progress, values, csv, words);
  const saveValues = () => {
    const { rows, message } = state;
    if (!rows || !message) return;
    const titles = message.networks.map(({ title }) => title).join("-");
    save(new Blob([rows.answer.csv], { type: "text/csv" }), `${titles}-layers.csv`);
  };

  /** @type {(row: LayerRow) => HTMLElement} */
  const said = ({ name, title, words, start: question }) => {
    const heading = el("b", {}, `${title[0].toUpperCase()}${title.slice(1)}`);
    const begin = question ? [el("button", { type: "button", onclick: () => start(name) }, question)] : [];
    return el("section", {}, el("p", {}, heading), ...words.map((text) => el("p", {}, text)), ...begin);
  };

  let [saying, valued] = ["", ""];
  return (now) => {
    state = now;
    const { selection, rows, message } = now;
    toggle(root, message !== null);
    const wanted = parseRows(selection.rows);
    if (wanted.length && valued === "" && !details.open) details.open = true; // a link that names rows shows their switches
    for (const { name, box, cost } of switches) {
      update(box, { checked: wanted.includes(name) });
      setText(cost, rows?.answer.costs[name] ?? "");
    }
    const measuring = wanted.length > 0 && needsRows(now);
    setText(progress, measuring ? rows?.answer.progress || "Measuring …" : "");
    const shown = shownRows(now);
    toggle(
      csv,
      shown.some(({ chart }) => chart !== null),
    );
    const layer = shownLayer(now) ?? "";
    const place = rows?.answer.layers.indexOf(layer) ?? -1;
    const lines = shown.flatMap(({ chart }) => (chart && place >= 0 ? [chart.hover[place].split("\n")] : []));
    const text = JSON.stringify([layer, lines, wanted.length]);
    if (text !== valued) {
      valued = text;
      values.replaceChildren(...lines.map(([heading, ...each]) => el("p", {}, el("b", {}, heading), `: ${each.join("; ")}`)));
    }
    const spoken = JSON.stringify(shown.map(({ words, start: question, title }) => [title, words, question]));
    if (spoken === saying) return;
    saying = spoken;
    words.replaceChildren(...shown.filter(({ words, start: question }) => words.length || question).map(said));
  };
}
