// Small helpers for elements.

/**
 * An element with these attributes or properties, and these children. Strings become text, never markup.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, unknown>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in element) Object.assign(element, { [name]: value });
    else element.setAttribute(name, String(value));
  }
  element.append(...children);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element of a drawing.
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number>} [attributes]
 * @param {...(Node | string)} children
 * @returns {SVGElementTagNameMap[Tag]}
 */
export function svgEl(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/**
 * Sets the properties that differ: each write makes the browser look at the page again.
 * @template {object} Target
 * @param {Target} element
 * @param {Partial<Target>} values
 */
export function update(element, values) {
  for (const [name, value] of Object.entries(values)) {
    if (element[/** @type {keyof Target} */ (name)] !== value) Object.assign(element, { [name]: value });
  }
}

/** @type {(element: Element, text: string) => void} */
export const setText = (element, text) => update(element, { textContent: text });

/** @type {(element: HTMLElement, visible: boolean) => void} */
export const toggle = (element, visible) => update(element, { hidden: !visible });

/** Makes one of the buttons their only stop of the Tab key. @type {(buttons: HTMLElement[], stop: HTMLElement) => void} */
export function setTabStop(buttons, stop) {
  for (const button of buttons) update(button, { tabIndex: button === stop ? 0 : -1 });
}

/**
 * Arrow keys, Home and End move the focus among the buttons, which lie in rows of `columns`, or in one row.
 * @type {(buttons: HTMLElement[], columns?: number) => void}
 */
export function moveWithKeys(buttons, columns) {
  buttons.forEach((button, index) => {
    button.onkeydown = (event) => {
      const beside = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: buttons.length - 1 };
      const places = columns ? { ...beside, ArrowUp: index - columns, ArrowDown: index + columns } : beside;
      const place = /** @type {Record<string, number>} */ (places)[event.key];
      if (place === undefined) return;
      event.preventDefault();
      if (!buttons[place]) return;
      setTabStop(buttons, buttons[place]);
      buttons[place].focus();
    };
  });
}

/** The whole number in a field, at most its `max`; null where it is empty. @type {(field: HTMLInputElement) => number | null} */
export const numberIn = ({ value, max }) => (value === "" ? null : Math.min(Math.max(Math.round(Number(value)), 0), Number(max)));

/** Text, with what stands between backticks as code. @type {(text: string) => (string | HTMLElement)[]} */
export const coded = (text) => text.split("`").map((part, index) => (index % 2 ? el("code", {}, part) : part));

/** A sentence that is read out when it appears; "" hides it. */
export function alertBox() {
  const box = el("p", { className: "alert", role: "alert", hidden: true });
  let shown = "";
  const show = (/** @type {string} */ text) => {
    toggle(box, text !== "");
    if (shown !== text) box.replaceChildren(...coded(text));
    shown = text;
  };
  return { box, show };
}

/** What has the focus in the tree of an element. @type {(root: HTMLElement) => Element | null} */
export const focusedIn = (root) => /** @type {ShadowRoot | Document} */ (root.getRootNode()).activeElement;

/** The first element that matches; throws where there is none. @type {(root: ParentNode, selector: string) => HTMLElement} */
export function find(root, selector) {
  const found = root.querySelector(selector);
  if (!(found instanceof HTMLElement)) throw new Error(`no element matches ${selector}`);
  return found;
}

/** @type {(canvas: HTMLCanvasElement) => CanvasRenderingContext2D} */
export function context2d(canvas) {
  const context = canvas.getContext("2d");
  if (!context) throw new Error("this browser draws no canvas");
  return context;
}

/** Paints an image on a canvas of its size. @type {(canvas: HTMLCanvasElement, image: ImageData) => void} */
export function paintImage(canvas, image) {
  update(canvas, { width: image.width, height: image.height });
  context2d(canvas).putImageData(image, 0, 0);
}

/**
 * The view that `make` makes in the element of a place, once: Streamlit calls a component again after each run.
 * @template Made
 * @param {Component["parentElement"]} place
 * @param {string} selector
 * @param {(root: HTMLElement) => Made} make
 */
export function once(place, selector, make) {
  place.viewer ??= make(find(place, selector));
  return /** @type {Made} */ (place.viewer);
}

/** Hands a file to the browser's downloads. @type {(content: Blob, name: string) => void} */
export function save(content, name) {
  const link = el("a", { href: URL.createObjectURL(content), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
