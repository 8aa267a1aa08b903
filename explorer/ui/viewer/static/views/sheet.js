// The contact sheet: several pictures, and what each network predicts of them.

import { el, focusedIn, paintImage, save, setText, toggle, update } from "../dom.js";
import { rasterAt } from "../message.js";
import { rgbImage } from "./overlay.js";

const FORMULA = /^[=+\-@\t\r]/; // a spreadsheet takes a text that starts so for a formula

/** @type {[value: string, words: string][]} */
const ORDERS = [
  ["given", "As chosen"],
  ["name", "By name"],
  ["differ", "Differing first"],
  ["unsure", "Least sure first"],
];

/** @type {(share: number | null) => string} */
const percent = (share) => (share === null ? "nan" : `${(100 * share).toFixed(1)}%`);

/** Whether two networks predict different classes. @type {(entry: SheetEntry) => boolean} */
export const differs = ({ found }) => new Set(found?.answers.map(({ name }) => name)).size > 1;

/** The least probability of a prediction; files without one come last. @type {(entry: SheetEntry) => number} */
const sureness = ({ found }) => (found ? Math.min(...found.answers.map(({ probability }) => probability ?? 0)) : 2);

/** @type {(entries: SheetEntry[], order: string) => SheetEntry[]} */
export function ordered(entries, order) {
  if (order === "name") return entries.toSorted((a, b) => a.file.name.localeCompare(b.file.name, undefined, { numeric: true }));
  if (order === "differ") return entries.toSorted((a, b) => Number(differs(b)) - Number(differs(a)));
  return order === "unsure" ? entries.toSorted((a, b) => sureness(a) - sureness(b)) : entries;
}

/** @type {(text: string) => string} */
function cell(text) {
  const safe = FORMULA.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** A line for each file, and for those that are left out the reason; a mark tells UTF-8. @type {(sheet: Sheet, titles: string[]) => string} */
export function sheetCsv({ entries, excess }, titles) {
  const head = ["picture", ...titles.flatMap((title) => [`${title}: class`, `${title}: probability`]), "differ", "left out"];
  const lines = entries.map((entry) => {
    const answers = titles.flatMap((_, which) => {
      const answer = entry.found?.answers[which];
      return answer ? [answer.name, String(answer.probability ?? "nan")] : ["", ""];
    });
    return [entry.file.name, ...answers, entry.found ? (differs(entry) ? "yes" : "no") : "", entry.error];
  });
  const more = excess.map((name) => [name, ...titles.flatMap(() => ["", ""]), "", "more than fit"]);
  return `\ufeff${[head, ...lines, ...more].map((line) => `${line.map(cell).join(",")}\r\n`).join("")}`;
}

/** A name that cannot reverse the text around it. @type {(name: string) => string} */
const plain = (name) => name.replace(/[\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "");

/** @type {(names: string[]) => string} */
function listed(names) {
  const [shown, rest] = [names.slice(0, 3).map(plain), names.length - 3];
  return `${shown.join(", ")}${rest > 0 ? ` and ${rest} more` : ""}`;
}

/** The names in labels as "ResNet-20 · Shapes", where these tell them apart. @type {(labels: string[]) => string[]} */
function shortened(labels) {
  const names = labels.map((label) => label.split(" · ")[0]);
  return new Set(names).size === labels.length ? names : labels;
}

/** What the sheet shows. @type {(read: number, names: string[]) => string} */
export function sheetTitle(read, names) {
  const predict = `as ${names.join(" and ")} predict${names.length > 1 ? "" : "s"}`;
  return read === 1 ? `1 image, ${predict} it. Click it to explore it.` : `${read} images, ${predict} them. Click one to explore it.`;
}

/** What is left out, in one sentence; "" for nothing. @type {(sheet: Sheet) => string} */
export function leftOut({ entries, excess }) {
  const unread = entries.filter(({ error }) => error).map(({ file }) => file.name);
  const said = unread.length ? [`${listed(unread)} could not be read`] : [];
  if (excess.length) said.push(`${listed(excess)} ${excess.length > 1 ? "are" : "is"} more than the ${entries.length} that fit`);
  return said.length ? `Left out: ${said.join("; ")}.` : "";
}

/**
 * The sheet, and the button that shows it again once a picture is opened.
 * @type {(actions: SheetActions) => {parts: Node[], draw: (state: State | null, networks: BarData["networks"]) => void}}
 */
export function sheetView({ pick, show }) {
  const again = el("button", { type: "button", className: "again", onclick: () => show(true) });
  const title = el("p", { className: "sheet-title" });
  const [status, progress] = [el("p", { className: "status", role: "status" }), el("progress", { ariaLabel: "Images classified" })];
  const only = el("input", { type: "checkbox" });
  const onlyWords = el("span");
  const onlyLabel = el("label", { className: "only" }, only, onlyWords);
  const order = el("select", {}, ...ORDERS.map(([value, words]) => el("option", { value }, words)));
  const csv = el("button", { type: "button" }, "Save the sheet as CSV");
  const close = el("button", { type: "button", onclick: () => show(false) }, "Close the sheet");
  const missing = el("details", {}, el("summary"), el("ul"));
  const list = el("ul", { className: "tiles" });
  const controls = el(
    "div",
    { className: "sheet-row" },
    el("label", { className: "order" }, el("span", {}, "Order"), order),
    onlyLabel,
    csv,
    close,
  );
  const box = el("section", { className: "sheet", ariaLabel: "Contact sheet" }, title, controls, progress, status, missing, list);
  /** @type {Map<File, {tile: HTMLElement, button: HTMLButtonElement, entry: SheetEntry | null}>} */
  let tiles = new Map();
  /** @type {Sheet | null} */
  let sheet = null;
  /** The labels of the networks, and their names alone. @type {string[]} */
  let titles = [];
  /** @type {string[]} */
  let short = [];
  let [shown, wasOpen] = ["", false];
  /** @type {File | null} */
  let opened = null;

  csv.onclick = () => sheet && save(new Blob([sheetCsv(sheet, titles)], { type: "text/csv" }), "contact-sheet.csv");
  only.onchange = order.onchange = () => arrange();

  /** @type {(file: File) => {tile: HTMLElement, button: HTMLButtonElement, entry: SheetEntry | null}} */
  function made(file) {
    const button = el("button", { type: "button" });
    button.onclick = () => {
      opened = file;
      pick(file);
    };
    return { tile: el("li", {}, button), button, entry: null };
  }

  /** @type {(button: HTMLButtonElement, entry: SheetEntry) => void} */
  function fill(button, entry) {
    const { file, found } = entry;
    const canvas = el("canvas", { ariaHidden: "true" });
    if (found) paintImage(canvas, rgbImage(rasterAt(found.body, found.picture, 3)));
    const answers = (found?.answers ?? []).map(({ name, probability }, which) =>
      el("span", { className: "answer" }, el("span", { className: "who" }, short[which]), el("b", {}, name), ` ${percent(probability)}`),
    );
    const said = (found?.answers ?? []).map(({ name, probability }, which) => `${short[which]} predicts ${name}, ${percent(probability)}`);
    button.ariaLabel = [plain(file.name), ...said, ...(differs(entry) ? ["they differ"] : [])].join("; ");
    const mark = differs(entry) ? [el("span", { className: "differ" }, "≠ they differ")] : [];
    button.disabled = !found;
    button.title = found ? `${file.name}, ${found.size}` : file.name;
    button.classList.toggle("differing", differs(entry));
    button.replaceChildren(canvas, el("span", { className: "file" }, plain(file.name)), ...answers, ...mark);
  }

  /** Puts the tiles that are to be seen into their order. */
  function arrange() {
    if (!sheet) return;
    const wanted = ordered(sheet.entries, order.value).filter((entry) => !entry.error && (!only.checked || differs(entry)));
    const places = wanted.map(({ file }) => /** @type {{tile: HTMLElement}} */ (tiles.get(file)).tile);
    if (places.length === list.children.length && places.every((tile, index) => tile === list.children[index])) return;
    const active = focusedIn(box);
    list.replaceChildren(...places);
    if (active instanceof HTMLElement && list.contains(active)) active.focus({ preventScroll: true });
  }

  /** @type {(now: Sheet, networks: string[]) => void} */
  function drawSheet(now, networks) {
    const isNew = sheet?.entries[0]?.file !== now.entries[0].file || String(titles) !== String(networks);
    if (isNew) tiles = new Map();
    [sheet, titles, short] = [now, networks, shortened(networks)];
    for (const entry of now.entries) {
      const tile = tiles.get(entry.file) ?? made(entry.file);
      tiles.set(entry.file, tile);
      if (tile.entry !== entry) fill(tile.button, entry);
      tile.entry = entry;
    }
    const done = now.entries.filter(({ found, error }) => found || error).length;
    const differing = now.entries.filter(differs).length;
    const total = now.entries.length;
    const read = now.entries.filter(({ error }) => !error).length;
    setText(title, sheetTitle(read, short));
    setText(status, done < total ? `${done} of ${total} images classified` : "");
    update(progress, { max: total, value: done });
    toggle(progress, done < total);
    toggle(onlyLabel, networks.length > 1);
    setText(onlyWords, `Only where the two differ (${differing})`);
    const out = leftOut(now);
    toggle(missing, out !== "");
    if (shown !== out) {
      shown = out;
      setText(missing.children[0], out);
      const reasons = now.entries.filter(({ error }) => error).map(({ error }) => el("li", {}, error));
      missing.children[1].replaceChildren(...reasons, ...now.excess.map((name) => el("li", {}, `${plain(name)}: more than fit.`)));
    }
    arrange();
  }

  return {
    parts: [again, box],
    /** `state`: null on a page without the viewer. */
    draw(state, networks) {
      const now = state?.sheet ?? null;
      const isOpen = now?.open ?? false;
      toggle(box, isOpen);
      toggle(again, now !== null && !isOpen);
      if (now) setText(again, `Contact sheet (${now.entries.length})`);
      if (now && isOpen)
        drawSheet(
          now,
          now.networks.map((name) => networks.find((each) => each.name === name)?.label ?? name),
        );
      if (isOpen !== wasOpen && opened) (isOpen ? tiles.get(opened)?.button : again)?.focus({ preventScroll: !isOpen });
      wasOpen = isOpen;
    },
  };
}
