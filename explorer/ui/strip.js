// Draws the depth strip from plain data; all numbers and places are computed in strip.py.
const LABELS = 124; // pixels of the column that stays while the layers scroll
const NARROWEST = 24; // a thumbnail must still show a shape and take a click
const WIDEST = 46;

// Marks the column of that index as the chosen layer, or none where it is -1.
function select(root, selected) {
  const band = root.querySelector(".band");
  band.style.display = selected < 0 ? "none" : "";
  band.style.gridColumn = `${Math.max(selected, 0) + 2} / span 1`;
  // One stop of the Tab key a row: the chosen layer, or the one nearest to it that this network has.
  const stops = new Map();
  for (const button of root.querySelectorAll("button")) {
    const column = Number(button.dataset.column);
    button.setAttribute("aria-pressed", String(column === selected));
    button.tabIndex = -1;
    const nearest = stops.get(button.dataset.row);
    const distance = Math.abs(column - selected);
    if (!nearest || distance < Math.abs(Number(nearest.dataset.column) - selected)) stops.set(button.dataset.row, button);
  }
  for (const button of stops.values()) button.tabIndex = 0;
}

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const root = parentElement.querySelector(".strip");
  const before = root.querySelector(".scroller");
  root.send = setTriggerValue; // it belongs to this run of the script, and what was drawn before must use it too
  if (root.dataset.drawing === data.drawing) {
    select(root, data.selected);
    return;
  }
  const scrolled = before ? before.scrollLeft : 0;
  const active = root.getRootNode().activeElement;
  const focused = active && active.dataset ? active.dataset.place : null;
  const columns = data.columns.length;

  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const put = (element, row, column, span = 1) => {
    element.style.gridRow = String(row);
    element.style.gridColumn = `${column + 2} / span ${span}`;
    grid.append(element);
    return element;
  };
  const choose = (index) => {
    select(root, index); // at once; the answer with the detail says the same
    root.send("layer", data.columns[index].name);
  };

  const scroller = make("div", "scroller");
  const grid = make("div", "grid");
  grid.style.gridTemplateColumns = `${LABELS}px repeat(${columns}, minmax(${NARROWEST}px, ${WIDEST}px))`;
  grid.style.minWidth = `${LABELS + columns * NARROWEST}px`;
  scroller.append(grid);

  put(make("div", "corner", ""), 1, -1);
  let start = 0;
  for (const group of data.groups) {
    const header = put(make("div", "group", group.label), 1, start, group.span);
    header.title = group.title;
    start += group.span;
  }
  const corner = put(make("div", "corner"), 2, -1);
  corner.append(make("span", "", "layers, input to output →"));
  data.columns.forEach((column, index) => {
    put(make("div", `layer ${column.kind}`, column.label), 2, index).title = column.name;
  });

  let row = 3;
  data.networks.forEach((network, which) => {
    for (const kind of ["cam", "map"]) {
      const name = put(make("div", "name"), row, -1);
      if (kind === "cam") {
        const title = make("b", "", network.title);
        title.style.color = network.colour;
        name.append(title);
      }
      name.append(make("span", "", kind === "cam" ? "Grad-CAM" : "strongest map"));
      network.cells.forEach((cell, index) => {
        if (cell === null) {
          put(make("div", "absent", "–"), row, index).title = network.absent;
          return;
        }
        const button = make("button", cell.zero[kind] ? "zero" : "");
        button.type = "button";
        button.title = cell[kind];
        button.setAttribute("aria-label", `${data.columns[index].name}, ${network.title}, ${kind === "cam" ? "Grad-CAM" : "strongest feature map"}`);
        button.dataset.place = `${which}/${kind}/${index}`;
        button.dataset.row = `${which}/${kind}`;
        button.dataset.column = String(index);
        button.style.backgroundImage = `url("${network[kind]}")`;
        button.style.backgroundSize = `${network.count * 100}% 100%`;
        button.style.backgroundPosition = `${network.count > 1 ? (cell.tile / (network.count - 1)) * 100 : 0}% 0`;
        button.onclick = () => choose(index);
        button.onkeydown = (event) => {
          const row = [...grid.querySelectorAll(`button[data-place^="${which}/${kind}/"]`)];
          const here = row.indexOf(button);
          const to = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: row.length - 1 }[event.key];
          if (to === undefined) return;
          event.preventDefault();
          const next = row[Math.min(Math.max(to, 0), row.length - 1)];
          button.tabIndex = -1;
          next.tabIndex = 0;
          next.focus();
        };
        put(button, row, index);
      });
      row += 1;
    }
  });

  for (const chart of data.charts) {
    const name = put(make("div", "chartname"), row, -1);
    name.append(make("div", "", chart.title));
    const ticks = make("div", "ticks");
    for (const tick of chart.ticks) {
      const label = make("span", "", tick.label);
      label.style.bottom = `${tick.at * 100}%`;
      ticks.append(label);
    }
    name.append(ticks);
    const box = put(make("div", "chart"), row, 0, columns);
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", `0 0 ${columns} 100`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", chart.alt);
    const draw = (d, className, style) => {
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("d", d);
      if (className) path.setAttribute("class", className);
      Object.assign(path.style, style);
      svg.append(path);
    };
    for (const tick of chart.ticks) draw(`M0 ${100 - tick.at * 100}H${columns}`, "rule", {});
    for (const series of chart.series) {
      const points = series.points.map((y, index) => (y === null ? null : [index + 0.5, 100 - y * 100])).filter(Boolean);
      draw(points.map(([x, y], index) => `${index ? "L" : "M"}${x} ${y}`).join(""), "", { stroke: series.colour, strokeWidth: 1.5, strokeDasharray: series.dash });
      draw(points.map(([x, y]) => `M${x} ${y}h0`).join(""), "", { stroke: series.colour, strokeWidth: 6 });
    }
    box.append(svg);
    const hits = make("div", "hits");
    hits.style.gridTemplateColumns = `repeat(${columns}, 1fr)`;
    data.columns.forEach((column, index) => {
      const hit = make("div");
      hit.title = chart.hover[index];
      hit.onclick = () => choose(index);
      hits.append(hit);
    });
    box.append(hits);
    row += 1;
  }

  const band = put(make("div", "band"), `1 / ${row}`, 0);
  root.replaceChildren(scroller);
  root.dataset.drawing = data.drawing;
  select(root, data.selected);
  // Later drawings stay where the person scrolled to; the first shows the chosen layer of a network that is too deep.
  if (before || data.selected < 0) scroller.scrollLeft = scrolled;
  else scroller.scrollLeft = band.offsetLeft - scroller.clientWidth / 2;
  if (focused) {
    const again = root.querySelector(`button[data-place="${focused}"]`);
    if (again) again.focus();
  }
}
