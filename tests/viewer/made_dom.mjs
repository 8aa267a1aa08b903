// As much of a browser's elements as a view needs that is tested without one.

export class MadeElement {
  constructor(localName) {
    Object.assign(this, { localName, children: [], dataset: {}, style: {}, attributes: {} });
    const given = { className: "", id: "", type: "", title: "", src: "", alt: "", ariaLabel: "", ariaPressed: "", textContent: "" };
    Object.assign(this, given, { tabIndex: 0, hidden: false, disabled: false, onclick: null, onkeydown: null, scrollLeft: 0 });
  }
  setAttribute(name, value) {
    if (name.startsWith("data-")) this.dataset[name.slice(5)] = value;
    else this.attributes[name] = value;
  }
  append(...children) {
    this.children.push(...children);
    for (const child of children) if (child instanceof MadeElement) child.parent = this;
  }
  replaceChildren(...children) {
    this.children = [];
    this.append(...children);
  }
  addEventListener() {}
  querySelector() {
    return this;
  }
  getRootNode() {
    return document;
  }
  focus() {
    document.activeElement = this;
  }
  /** All elements below that `wanted` is true of. */
  all(wanted) {
    const inner = this.children.filter((child) => child instanceof MadeElement);
    return inner.flatMap((child) => [...(wanted(child) ? [child] : []), ...child.all(wanted)]);
  }
}

/** A document whose listeners `fire` calls, for as long as their signal lets it. */
export function madeDocument() {
  const listeners = [];
  return {
    hidden: false,
    activeElement: null,
    createElement: (name) => new MadeElement(name),
    addEventListener: (type, listener, { signal } = {}) => listeners.push({ type, listener, signal }),
    listening: (type) => listeners.filter((each) => each.type === type && !each.signal?.aborted).length,
  };
}
