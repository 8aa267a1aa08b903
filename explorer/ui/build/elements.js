// What draws in the components of this folder: elements, numbers, and which of the things along the steps counts.

function make(parent, tag, attributes = {}, text) {
  const drawn = ["svg", "g", "path", "text", "rect", "line", "circle", "image", "clipPath", "pattern"].includes(tag);
  const element = drawn ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
}

// Text, where it changes.
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const short = (value) => (value === null || value === undefined ? "not measured" : value === 0 ? "0" : Math.abs(value) < 1e-3 || Math.abs(value) >= 1e4 ? value.toExponential(2) : String(Number(value.toPrecision(3))));

// How many of the steps, which are in order, are not behind `until`.
const reached = (steps, until) => steps.findLastIndex((step) => step <= until) + 1;

// The colours of a map on the page and what they stand for: `bar` is {image, title, ticks: [{label, at}]}.
function colourBar(parent, bar) {
  const scale = make(parent, "div", { class: "scale" });
  make(scale, "img", { src: bar.image, alt: `Colour scale. ${bar.title}` });
  const ticks = make(scale, "div", { class: "marks" });
  make(parent, "span", {}, bar.title);
  return (marks) => {
    ticks.replaceChildren();
    for (const { label, at } of marks) make(ticks, "span", { style: `left:${100 * at}%` }, label);
  };
}
