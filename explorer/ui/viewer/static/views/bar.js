// The bar above every page: networks, picture, class to explain, and the set of layers. Its lists are the browser's own.

import { withoutTarget } from "../attack.js";
import { el, focusedIn, setText, toggle, update } from "../dom.js";
import { awaited, loading } from "../store.js";
import { cameraView } from "./camera.js";
import { galleryView } from "./gallery.js";
import { nextPhoto, photosView } from "./photos.js";
import { sheetView } from "./sheet.js";
import { uploadView } from "./upload.js";

const LONG = 60; // entries, from which on a list is searched by typing a part of a name
const NONE = "";
/** @type {[value: string, words: string][]} */
const LAYERS = [
  ["blocks", "Blocks"],
  ["main", "Convolutions too"],
  ["all", "Every operation"],
];

/** @type {(words: string, box: HTMLElement) => HTMLLabelElement} */
const labelled = (words, box) => el("label", {}, el("span", {}, words), box);

/** A list with that name; `fill` gives it groups of [value, text], and the chosen value. @type {(words: string, onchange: (value: string) => void) => {field: HTMLElement, fill: (groups: Record<string, [string, string][]>, value: string) => void}} */
function listOf(words, onchange) {
  const box = el("select", { onchange: () => onchange(box.value) });
  let filled = "";
  /** @type {(entries: [string, string][]) => HTMLElement[]} */
  const options = (entries) => entries.map(([value, text]) => el("option", { value }, text));
  return {
    field: labelled(words, box),
    fill: (groups, value) => {
      const now = JSON.stringify(groups);
      if (filled !== now) {
        filled = now;
        const made = Object.entries(groups).flatMap(([label, entries]) =>
          label ? [el("optgroup", { label }, ...options(entries))] : options(entries),
        );
        box.replaceChildren(...made);
      }
      update(box, { value });
    },
  };
}

/** A field that finds one of many names by any part of it. @type {(words: string, onchange: (index: string) => void) => {field: HTMLElement, fill: (entries: [string, string][], value: string) => void}} */
function searchOf(words, onchange) {
  const list = el("datalist", { id: "classes" });
  const box = el("input", { type: "search" });
  box.setAttribute("list", list.id);
  /** @type {[string, string][]} */
  let entries = [];
  let shown = "";
  const restore = () => update(box, { value: shown, placeholder: "" });
  box.onfocus = () => update(box, { value: "", placeholder: shown }); // else the list holds the chosen name alone
  box.onblur = restore;
  box.onkeydown = (event) => {
    if (event.key === "Escape") box.blur();
  };
  box.onchange = () => {
    const found = entries.find(([, text]) => text.toLowerCase() === box.value.trim().toLowerCase());
    if (!found) return;
    shown = found[1];
    box.blur();
    onchange(found[0]);
  };
  return {
    field: el("div", {}, labelled(words, box), list),
    fill: (now, value) => {
      if (JSON.stringify(entries) !== JSON.stringify(now)) {
        entries = now;
        list.replaceChildren(...now.map(([, text]) => el("option", { value: text })));
      }
      shown = entries.find(([index]) => index === value)?.[1] ?? "";
      if (focusedIn(box) !== box) restore();
    },
  };
}

/**
 * What follows from another first or second network. Twins stay twins; a second network without the classes of the first
 * goes where the page shows no `mixed` pair. So does a class that was chosen among others, to explain or for an attack.
 * @type {(data: Pick<BarData, "networks" | "twins" | "mixed">, before: View, first: string, second: string | undefined) => Partial<View>}
 */
export function chosenNetworks({ networks, twins, mixed }, before, first, second) {
  const known = (/** @type {string | undefined} */ name) => networks.find((network) => network.name === name)?.known;
  const [old, beside] = before.networks;
  const wereTwins = first !== old && beside !== undefined && twins[old] === beside;
  const fits = second !== undefined && second !== first && (mixed || known(second) === known(first));
  const chosen = second === undefined ? undefined : wereTwins || !fits ? (twins[first] ?? (fits ? second : undefined)) : second;
  const keepsClasses = known(first) === known(old);
  return {
    networks: chosen === undefined ? [first] : [first, chosen],
    target: keepsClasses ? before.target : null,
    attack: keepsClasses ? before.attack : withoutTarget(before.attack),
  };
}

/**
 * `choose` says what was chosen, `chooseFiles` which picture files.
 * @type {(root: HTMLElement, first: BarData, choose: Choose, chooseFiles: (files: File[]) => void, actions: SheetActions) =>
 *   (data: BarData, state: State, isViewer: boolean) => void}
 */
export function barView(root, made, choose, chooseFiles, actions) {
  let data = made;
  let { view } = made;
  const status = el("p", { className: "loading", role: "status" });
  const first = listOf("First network", (name) => choose(chosenNetworks(data, view, name, view.networks[1])));
  const second = listOf("Second network", (name) => choose({ networks: name === NONE ? [view.networks[0]] : [view.networks[0], name] }));
  const explain = (/** @type {string} */ index) => choose({ target: index === NONE ? null : Number(index) });
  const [few, many] = [listOf("Class to explain", explain), searchOf("Class to explain", explain)];
  const layers = listOf("Layers", (value) => choose({ layers: value }));
  layers.field.title = "Every operation: also BatchNorm, activations, sums and pooling.";
  const copy = copyButton();

  const words = el("span", { className: "words" });
  const panel = el("div", { className: "pictures", id: "pictures", hidden: true });
  const picture = el("button", { type: "button", className: "picture", ariaExpanded: "false" }, words);
  picture.setAttribute("aria-controls", panel.id);
  const [shapes, photos, file, cameraBox] = ["gallery", "gallery photos", "upload", "upload camera"].map((className) =>
    el("div", { className }),
  );
  const gallery = galleryView(shapes, made);
  const pressPhoto = photosView(photos, made.photos, (name) => choose({ picture: name }));
  const another = () => {
    const photo = nextPhoto(data.photos, view.picture);
    if (photo) choose({ picture: photo });
    else gallery.next();
  };
  const next = el("button", { type: "button", className: "next", onclick: another }, "Next");
  const upload = uploadView(file, chooseFiles);
  /** @type {ReturnType<typeof cameraView> | null} */
  let camera = null;
  const useCamera = el("button", { type: "button" }, "Use the camera");
  const closeCamera = () => {
    camera?.end();
    camera = null;
    cameraBox.replaceChildren(useCamera);
  };
  useCamera.onclick = () => {
    camera = cameraView(cameraBox, (photo) => chooseFiles([photo]));
    cameraBox.append(el("button", { type: "button", onclick: closeCamera }, "Switch the camera off"));
  };
  closeCamera();
  const sheet = sheetView(actions);
  panel.append(shapes, photos, file, cameraBox);
  /** @type {(open: boolean) => void} */
  const openPanel = (open) => {
    toggle(panel, open);
    update(picture, { ariaExpanded: String(open) });
    if (!open) closeCamera();
  };
  picture.onclick = () => openPanel(Boolean(panel.hidden));
  let [problem, hadSheet] = ["", false];
  root.replaceChildren(
    el(
      "div",
      { className: "row" },
      el("div", { className: "wide" }, el("span", {}, "Image"), el("div", { className: "beside" }, picture, next)),
      first.field,
      second.field,
      few.field,
      many.field,
      layers.field,
      copy,
    ),
    status,
    panel,
    ...sheet.parts,
  );

  /** @type {(networks: BarData["networks"]) => Record<string, [string, string][]>} */
  const grouped = (networks) => {
    /** @type {Record<string, [string, string][]>} */
    const groups = {};
    for (const { name, label, group } of networks) {
      groups[group] ??= [];
      groups[group].push([name, label]);
    }
    return groups;
  };
  return (now, state, isViewer) => {
    data = now;
    view = (isViewer && state.view) || now.view;
    const { networks, classes } = data;
    const chosen = networks.find(({ name }) => name === view.networks[0]);
    const alike = networks.filter(
      ({ name, known }) => name !== chosen?.name && (data.mixed || known === chosen?.known || name === view.networks[1]),
    );
    first.fill(grouped(networks), view.networks[0]);
    second.fill({ "": data.alone ? [[NONE, "None"]] : [], ...grouped(alike) }, view.networks[1] ?? NONE);
    update(second.field, { title: data.mixed ? "" : "Only networks that know the same classes can be compared." });
    const names = chosen?.known === data.known ? classes : []; // those of other classes are about to come
    /** @type {[string, string][]} */
    const entries = [
      [NONE, "what each one predicts"],
      ...names.map((name, index) => /** @type {[string, string]} */ ([String(index), name])),
    ];
    const target = view.target !== null && view.target < names.length ? String(view.target) : NONE;
    toggle(few.field, entries.length <= LONG);
    toggle(many.field, entries.length > LONG);
    if (entries.length > LONG) many.fill(entries, target);
    else few.fill({ "": entries }, target);
    toggle(layers.field, isViewer);
    layers.fill({ "": LAYERS }, view.layers);
    setText(words, pictureWords(view.picture, data, isViewer ? state.message : null));
    update(picture, { ariaLabel: `Image: ${words.textContent}` });
    const isPhoto = data.photos.some(({ name }) => name === view.picture);
    update(next, { title: isPhoto ? "The next photo" : "The same shape on another background" });
    gallery.show(now, state, (name) => choose({ picture: name }), isViewer);
    pressPhoto(view.picture);
    const labels = networks.filter(({ name }) => isViewer && awaited(state).includes(name)).map(({ label }) => label);
    setText(status, loading(labels));
    upload(state, now);
    camera?.draw(state);
    sheet.draw(isViewer ? state : null, networks);
    const hasSheet = isViewer && Boolean(state.sheet?.open);
    if (hasSheet && !hadSheet) openPanel(false); // the sheet takes its place
    if (state.uploadError && state.uploadError !== problem) openPanel(true); // where it is said
    [problem, hadSheet] = [state.uploadError, hasSheet];
  };
}

/** The picture in a few words: a drawn scene, or a file. @type {(picture: string, data: BarData, message: Message | null) => string} */
function pictureWords(picture, { names, photos, title, view }, message) {
  const scene = picture.match(/^sample-(\d)-(\d+)$/);
  if (scene) return `${names[Number(scene[1])]}, background ${scene[2]}`;
  const photo = photos.find(({ name }) => name === picture);
  if (photo) return photo.title;
  if (message?.picture === picture) return message.predictions.pictures[0].alt;
  return picture === view.picture && title ? title : "your image";
}

/** Puts the address of the view into the clipboard. */
function copyButton() {
  const button = el("button", { type: "button", className: "copy" }, "Copy link");
  button.onclick = async () => {
    let words = "Copied";
    try {
      await navigator.clipboard.writeText(location.href);
    } catch {
      words = "Copy it from the address bar"; // a browser gives its clipboard to no page over plain http
    }
    setText(button, words);
    setTimeout(() => setText(button, "Copy link"), 2000);
  };
  return button;
}
