// Draws the networks' maps under each other, aligned by relative depth; everything is computed in aligned.py.
const LABELS = 96; // pixels of the column of names
const NARROWEST = 36; // a thumbnail must still show a shape and take a click

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".aligned");
  const before = root.querySelector(".scroller");
  const scrolled = before ? before.scrollLeft : 0;
  const active = root.getRootNode().activeElement;
  const focused = active && active.dataset ? active.dataset.place : null;

  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const scroller = make("div", "scroller");
  const grid = make("div", `grid ${data.grid}`);
  grid.style.gridTemplateColumns = `${LABELS}px repeat(${data.depths.length}, minmax(${NARROWEST}px, 1fr))`;
  scroller.append(grid);
  grid.append(make("div", "corner", "relative depth, input to output →"));
  data.depths.forEach((depth, place) => {
    grid.append(make("div", place === data.chosen ? "depth chosen" : "depth", depth));
  });

  const rows = data.networks.map((network, row) => {
    const name = make("div", "name");
    const title = make("b", "", network.title);
    title.style.color = network.colour;
    const picture = make("img");
    picture.src = network.input;
    picture.alt = `the input of ${network.title}`;
    picture.title = network.seen;
    name.append(title, picture);
    grid.append(name);
    return network.cells.map((cell, place) => {
      const box = make("div");
      const button = make("button", cell.zero ? "zero" : "");
      button.style.backgroundImage = `url(${cell.image})`;
      button.title = cell.hover;
      button.dataset.place = `${row} ${place}`;
      button.tabIndex = place === data.chosen ? 0 : -1; // one stop of the Tab key a row
      button.setAttribute("aria-label", `${cell.layer}, ${network.title}, relative depth ${data.depths[place]}`);
      button.setAttribute("aria-pressed", String(place === data.chosen));
      button.onclick = () => setTriggerValue("column", place);
      const label = make("div", "layer");
      const [layer, size, largest] = cell.words;
      label.append(make("b", "", layer), make("span", "", size), make("div", "", largest));
      box.append(button, label);
      grid.append(box);
      return button;
    });
  });
  const steps = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
  grid.onkeydown = (event) => {
    const step = steps[event.key];
    const here = event.target.dataset.place;
    if (!step || !here) return;
    const [row, place] = here.split(" ").map(Number);
    const next = rows[row + step[0]] && rows[row + step[0]][place + step[1]];
    if (next) next.focus();
    event.preventDefault();
  };

  root.replaceChildren(scroller);
  scroller.scrollLeft = scrolled;
  if (focused) {
    const same = [...root.querySelectorAll("button")].find((button) => button.dataset.place === focused);
    if (same) same.focus({ preventScroll: true });
  }
}
