// Parts of the networks switched off, scaled, averaged or swapped: the networks as a row of blocks, the control of the
// chosen layer, and what came of it.

import { changeOf, changesIn, changeText, formatChanges, formatFactor, parseChanges, withChange } from "../changes.js";
import { coded, el, focusedIn, moveWithKeys, numberIn, setTabStop, setText, toggle, update } from "../dom.js";
import { keyOf, shownLayer } from "../store.js";

/** @type {Record<Part, string>} */
const PARTS = { branch: "branch", shortcut: "shortcut", output: "whole output" };
const HINT =
  "Choose a block here, or a layer above, and switch it off or scale it. Both networks get the same change. Look for how far the probabilities fall: does the network need this part?";

/**
 * Sends the newest of many choices once the one before is drawn: so every answer is seen while a hand moves, and the last.
 * @param {(changes: Partial<View>) => void} choose
 */
export function paced(choose) {
  /** @type {string | null} */
  let waiting = null;
  return {
    /** What is wanted, drawn or not. @type {(state: State) => string} */
    wanted: (state) => waiting ?? state.view?.change ?? "",
    /** @type {(state: State, change: string) => void} */
    ask(state, change) {
      waiting = change;
      this.follow(state);
    },
    /** To be called at each change of the state. @type {(state: State) => void} */
    follow({ view, key, error }) {
      if (waiting === null || !view || (key !== keyOf(view) && !error)) return;
      const change = waiting;
      waiting = null;
      if (change !== view.change) queueMicrotask(() => choose({ change }));
    },
  };
}

/**
 * One network as a row of its blocks; an arc is a shortcut.
 * @param {string} title
 * @param {(layer: string) => void} pick
 */
function architecture(title, pick) {
  const name = el("b", {}, title);
  const boxes = el("div", { className: "boxes", role: "group", ariaLabel: `Blocks of ${title}` });
  const box = el("div", { className: "architecture" }, name, boxes);
  /** @type {HTMLButtonElement[]} */
  let buttons = [];
  let built = "";
  return {
    box,
    /** @type {(network: Message["networks"][0], layer: string | null) => void} */
    draw(network, layer) {
      const { blocks, colour } = network;
      toggle(box, blocks.length > 0);
      if (built !== JSON.stringify([colour, blocks])) {
        built = JSON.stringify([colour, blocks]);
        name.style.color = colour;
        boxes.style.setProperty("--own", colour);
        buttons = blocks.map((block, index) => {
          const parts = block.name.split(".");
          const own = parts[parts.length - 1];
          const arc = block.residual ? [el("span", { className: "arc" })] : [];
          const isFirst = index === 0 || blocks[index - 1].name.slice(0, -own.length) !== block.name.slice(0, -own.length);
          const button = el("button", { type: "button", className: isFirst ? "box first" : "box", onclick: () => pick(block.name) });
          button.append(...arc, el("i", {}, el("span", {}, own.slice(0, 3))));
          return button;
        });
        boxes.replaceChildren(...buttons);
        moveWithKeys(buttons);
      }
      const changes = parseChanges(network.change) ?? [];
      blocks.forEach((block, index) => {
        const button = buttons[index];
        const [inside, own] = [changesIn(changes, block.name), block.name.split(".").pop()?.slice(0, 3) ?? ""];
        const shortcut = inside.find((each) => each.part === "shortcut");
        const others = inside.filter((each) => each !== shortcut);
        const off = others.some(
          (each) => each.place === block.name && each.action === "scale" && each.factor === 0 && each.channel === null,
        );
        const arc = button.querySelector(".arc");
        if (arc) update(arc, { className: `arc${block.keeps ? "" : " shape"}${shortcut?.factor === 0 ? " off" : ""}` });
        const mark = /** @type {HTMLElement} */ (button.querySelector("i"));
        update(mark, { className: others.length || (shortcut && shortcut.factor !== 0) ? "touched" : "" });
        setText(/** @type {Element} */ (mark.firstElementChild), off ? "✕" : own);
        const words = inside.length ? `, changed: ${inside.map(changeText).join("; ")}` : "";
        const label = `${block.name} of ${title}, ${block.residual ? "with a shortcut" : "without a shortcut"}${words}`;
        const isChosen = layer === block.name || Boolean(layer?.startsWith(`${block.name}.`));
        update(button, { ariaLabel: label, title: label, ariaPressed: String(isChosen) });
      });
      const stop = buttons.find(({ ariaPressed }) => ariaPressed === "true") ?? buttons[0];
      if (stop && !(focusedIn(boxes) && buttons.includes(/** @type {HTMLButtonElement} */ (focusedIn(boxes))))) setTabStop(buttons, stop);
    },
  };
}

/** @type {(root: HTMLElement, select: Select, choose: (changes: Partial<View>) => void) => Draw} */
export function changesView(root, select, choose) {
  const pace = paced(choose);
  /** @type {State} */
  let state;
  /** @type {Part} */
  let part = "branch"; // of a block
  const drawings = el("div");
  const heading = el("h4", {});
  const picker = el("select", { id: "part" });
  const partField = el("label", {}, "Part", picker);
  const channel = el("input", { type: "number", id: "changed-channel", min: "0", placeholder: "all" });
  const off = el("button", { type: "button" }, "Switch off");
  const mean = el("button", { type: "button", title: "In the place of each value comes the mean of its channel, for this image." }, "Mean");
  const swap = el("button", { type: "button" });
  const dial = el("input", { type: "range", id: "factor", min: "-1", max: "2", step: "0.1" });
  const factor = el("output");
  factor.htmlFor.add("factor");
  const dials = el(
    "div",
    { className: "dials", role: "group", ariaLabel: "Change the chosen layer" },
    heading,
    partField,
    el("label", {}, "Channel to change", channel),
    off,
    mean,
    swap,
    el("label", {}, "Multiply by", el("span", { className: "slider" }, dial, factor)),
  );
  const all = el("button", { type: "button" }, "Put all back");
  const chips = el("ul", { className: "active", ariaLabel: "Changes of both networks" });
  const effects = el("div", { className: "effects", role: "status" });
  root.replaceChildren(
    el("h3", {}, "What if a part were not there?"),
    el("p", { className: "hint" }, HINT),
    drawings,
    dials,
    chips,
    effects,
  );

  const changes = () => parseChanges(pace.wanted(state)) ?? [];
  const layer = () => shownLayer(state) ?? "";
  const blocks = () => state.message?.networks.flatMap((network) => network.blocks.filter(({ name }) => name === layer())) ?? [];
  const ofPart = () => (blocks().length ? part : "output");
  const ask = (/** @type {Change[]} */ wanted) => pace.ask(state, formatChanges(wanted));
  const change = (/** @type {Partial<Change>} */ given) =>
    ask(withChange(changes(), { place: layer(), part: ofPart(), channel: state.selection.channel, ...given }));
  const now = () => changeOf(changes(), layer(), ofPart(), state.selection.channel);

  picker.onchange = () => {
    part = /** @type {Part} */ (picker.value);
    drawControls();
  };
  channel.onchange = () => select({ channel: numberIn(channel) });
  off.onclick = () => change({ factor: off.ariaPressed === "true" ? 1 : 0 });
  mean.onclick = () => change(mean.ariaPressed === "true" ? { factor: 1 } : { action: "mean" });
  dial.oninput = () => change({ factor: Number(dial.value) });
  swap.onclick = () => {
    const other = blocks().find(({ next }) => next)?.next ?? "";
    const swapped = changes().find((each) => each.action === "swap" && each.place === layer() && each.other === other);
    if (swapped) ask(changes().filter((each) => each !== swapped));
    else change({ action: "swap", other, part: "output", channel: null });
  };
  all.onclick = () => {
    pace.ask(state, "");
    drawings.querySelector("button")?.focus({ preventScroll: true }); // the button goes
  };

  function drawControls() {
    const { message, selection } = state;
    const [own, name] = [blocks(), layer()];
    const isResidual = own.some(({ residual }) => residual);
    const parts = /** @type {Part[]} */ (isResidual ? ["branch", "shortcut", "output"] : ["branch", "output"]);
    if (!parts.includes(part)) part = "branch";
    toggle(partField, own.length > 0);
    if (picker.options.length !== parts.length) {
      picker.replaceChildren(...parts.map((value) => el("option", { value }, PARTS[value])));
    }
    update(picker, { value: part });
    const column = message?.columns.findIndex((each) => each.name === name) ?? -1;
    const channels = Math.max(0, ...(message?.networks ?? []).map(({ cells }) => cells[column]?.channels ?? 0));
    update(channel, { max: String(channels - 1) });
    if (focusedIn(root) !== channel) update(channel, { value: String(selection.channel ?? "") });
    const which = selection.channel === null ? "" : `, channel ${selection.channel}`;
    setText(heading, `Change ${name}${which}`);
    const made = now();
    const value = made?.action === "scale" ? made.factor : 1;
    update(off, { ariaPressed: String(made?.action === "scale" && value === 0) });
    update(mean, { ariaPressed: String(made?.action === "mean") });
    const other = own.find(({ next }) => next)?.next;
    toggle(swap, own.length > 0);
    setText(swap, other ? `Swap with ${other}` : "Swap");
    update(swap, { disabled: !other, title: other ? "" : "The next block has other shapes, or there is none." });
    update(swap, { ariaPressed: String(changes().some((each) => each.action === "swap" && each.place === name && each.other === other)) });
    update(dial, { value: String(value) });
    const words = value === 1 ? (made ? "mean" : "1, untouched") : value === 0 ? "0, off" : formatFactor(value);
    update(factor, { value: words });
    update(dial, { ariaValueText: words });
  }

  function drawChips() {
    const wanted = pace.wanted(state);
    const list = changes();
    toggle(chips, wanted !== "");
    if (chips.dataset.of === wanted) return;
    chips.dataset.of = wanted;
    const active = focusedIn(chips);
    const place = /** @type {(Element | null)[]} */ ([...chips.querySelectorAll("button")]).indexOf(active);
    const items = list.map((each) => {
      const text = changeText(each);
      const ariaLabel = `Put back ${text}`;
      return el(
        "button",
        { type: "button", className: "chip", ariaLabel, onclick: () => ask(changes().filter((other) => changeText(other) !== text)) },
        `${text} ✕`,
      );
    });
    chips.replaceChildren(...[...items, all].map((button) => el("li", {}, button)));
    if (place >= 0) [...items, all][Math.min(place, items.length)].focus({ preventScroll: true });
  }

  /** @type {ReturnType<typeof architecture>[]} */
  let drawn = [];
  let [titles, told] = ["", ""];
  return (next) => {
    state = next;
    const { message } = state;
    if (!message) return;
    pace.follow(state);
    if (titles !== message.networks.map(({ title }) => title).join("\n")) {
      titles = message.networks.map(({ title }) => title).join("\n");
      drawn = message.networks.map(({ title }) => architecture(title, (name) => select({ layer: name, channel: null })));
      drawings.replaceChildren(...drawn.map(({ box }) => box));
    }
    message.networks.forEach((network, which) => {
      drawn[which].draw(network, shownLayer(state));
    });
    drawControls();
    drawChips();
    const said = message.networks.map(({ effect }) => effect).filter(Boolean);
    if (told === said.join()) return;
    told = said.join();
    effects.replaceChildren(...said.map((text) => el("p", {}, ...coded(text))));
  };
}
