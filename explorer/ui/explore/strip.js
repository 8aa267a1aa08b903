// The depth strip, drawn from the numbers of strip.py, which also says where the points of its charts stand.
const LABELS = 124; // pixels of the column that stays while the layers scroll
const NARROWEST = 24; // a thumbnail must still show a shape and take a click
const WIDEST = 46;
const TILE = 32; // pixels of a thumbnail in the row's canvas, at most; the browser scales it
const STRENGTH = 16; // pixels of the longest bar
const WIDEST_CANVAS = 16384; // pixels, which every browser can draw
const KINDS = { cam: "Grad-CAM", map: "strongest feature map" };

// Marks the chosen layer's column.
function select(root, selected) {
  if (root.selected === selected) return;
  root.selected = selected;
  const band = root.querySelector(".band");
  band.style.display = selected < 0 ? "none" : "";
  band.style.gridColumn = `${Math.max(selected, 0) + 2} / span 1`;
  // One stop of the Tab key a row: the chosen layer, or the one nearest to it that this network has.
  const stops = new Map();
  for (const button of root.querySelectorAll("button")) {
    const column = Number(button.dataset.column);
    const pressed = String(column === selected);
    if (button.ariaPressed !== pressed) button.ariaPressed = pressed;
    const nearest = stops.get(button.dataset.row);
    if (!nearest || Math.abs(column - selected) < Math.abs(Number(nearest.dataset.column) - selected)) {
      stops.set(button.dataset.row, button);
    }
  }
  for (const button of root.querySelectorAll("button[tabindex='0']")) button.tabIndex = -1;
  for (const button of stops.values()) button.tabIndex = 0;
}

// One canvas a row: hundreds of small ones take longer.
function paintRow(canvas, pack, which, kind, scope) {
  const context = canvas.getContext("2d");
  const tile = canvas.height;
  context.imageSmoothingQuality = "high";
  context.clearRect(0, 0, canvas.width, canvas.height);
  pack.networks[which].cells.forEach((cell, index) => {
    if (cell === null) return;
    const [start, height, width] = cell[kind];
    const own = (kind === "cam" ? cell.largest : cell.peak) ?? 0;
    const values = pack.body.subarray(start, start + height * width);
    const picture = stamp(painted(values, height, width, colours(kind, own, topOf(kind, which, index, scope))));
    context.imageSmoothingEnabled = Math.max(height, width) > tile; // smaller ones keep their hard edges
    context.drawImage(picture, index * tile, 0, tile, tile);
  });
}

// How large the largest Grad-CAM value of each layer is, beside the largest of all layers and networks: one canvas a row.
function paintStrengths(canvas, pack, which) {
  const context = canvas.getContext("2d");
  const [tile, height] = [canvas.width / pack.columns.length, canvas.height];
  context.clearRect(0, 0, canvas.width, height);
  context.fillStyle = pack.networks[which].colour;
  const top = strongest(pack);
  pack.networks[which].cells.forEach((cell, index) => {
    const share = cell?.largest > 0 && top > 0 ? cell.largest / top : 0;
    const tall = share && Math.max(1, Math.round(share * height)); // what is more than nothing can be seen
    context.fillRect(index * tile + 1, height - tall, tile - 2, tall);
  });
}

const strongest = (pack) => Math.max(...pack.networks.flatMap(({ cells }) => cells.map((cell) => cell?.largest ?? 0)));

function words(cell, name, kind, top) {
  if (cell.peak === null) return `${name}\nits values are no finite numbers: the network has diverged\n${cell.sizes}`;
  if (kind === "cam") {
    const peak = `largest value ${short(cell.largest)}, scale to ${short(top)}`;
    return `${name}\nGrad-CAM: ${cell.zero ?? peak}\n${cell.sizes}`;
  }
  if (cell.peak === 0) {
    return `${name}\nall ${cell.channels} channels are zero for this picture: nothing passes this layer, scale to ±${short(top)}\n${cell.sizes}`;
  }
  return `${name}\nchannel ${cell.strongest}, the strongest of ${cell.channels}, scale to ±${short(top)}\n${cell.sizes}`;
}

// What is read on hover, when somebody hovers: hundreds of texts are not written ahead.
function explain(event) {
  const place = event.target.dataset?.place;
  if (!place) return;
  const [which, kind, index] = place.split("/");
  const cell = depth.drawing.networks[which].cells[index];
  event.target.title = words(cell, depth.drawing.columns[index].name, kind, topOf(kind, which, index, depth.view.scope));
}

// All colours and the words about them.
function paint(root, pack, scope) {
  if (root.scope === scope) return;
  root.scope = scope;
  for (const button of root.querySelectorAll("button[title]")) button.removeAttribute("title"); // of other numbers
  for (const canvas of root.querySelectorAll("canvas.row")) {
    paintRow(canvas, pack, Number(canvas.dataset.network), canvas.dataset.kind, scope);
  }
  for (const kind of ["cam", "map"]) root.scales[kind].say(scaleWords(kind, scope));
}

function chart(pack, found, [name, box], choose) {
  const columns = pack.columns.length;
  const ticks = make("div", { className: "ticks" });
  for (const tick of found.ticks) {
    const label = make("span", {}, tick.label);
    label.style.bottom = `${tick.at * 100}%`;
    ticks.append(label);
  }
  name.replaceChildren(make("div", {}, found.title), ticks);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${columns} 100`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", found.alt);
  const draw = (d, className, style) => {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", d);
    if (className) path.setAttribute("class", className);
    Object.assign(path.style, style);
    svg.append(path);
  };
  for (const tick of found.ticks) draw(`M0 ${100 - tick.at * 100}H${columns}`, "rule", {});
  for (const series of found.series) {
    const points = series.points.map((y, index) => (y === null ? null : [index + 0.5, 100 - y * 100])).filter(Boolean);
    draw(points.map(([x, y], index) => `${index ? "L" : "M"}${x} ${y}`).join(""), "", { stroke: series.colour, strokeWidth: 1.5, strokeDasharray: series.dash });
    draw(points.map(([x, y]) => `M${x} ${y}h0`).join(""), "", { stroke: series.colour, strokeWidth: 6 });
  }
  const column = (event) => {
    const share = event.offsetX / event.currentTarget.clientWidth;
    return Math.min(Math.max(Math.floor(share * columns), 0), columns - 1);
  };
  const hits = make("div", {
    className: "hits",
    onclick: (event) => choose(column(event)),
    onpointermove: (event) => {
      event.currentTarget.title = found.hover[column(event)];
    },
  });
  box.replaceChildren(svg, hits);
}

// A short line as the network's in the charts: dashed where another one has its colour.
function lineOf({ colour, dashed }) {
  const line = make("i", { className: "line", ariaHidden: "true" });
  line.style.borderTop = `3px ${dashed ? "dashed" : "solid"} ${colour}`;
  return line;
}

// Everything but the colours and the choice, which `paint` and `select` add.
function build(root, pack) {
  const columns = pack.columns.length;
  const grid = make("div", { className: "grid" });
  grid.style.gridTemplateColumns = `${LABELS}px repeat(${columns}, minmax(${NARROWEST}px, ${WIDEST}px))`;
  grid.style.minWidth = `${LABELS + columns * NARROWEST}px`;
  const put = (element, row, column, span = 1) => {
    element.style.gridRow = String(row);
    element.style.gridColumn = `${column + 2} / span ${span}`;
    grid.append(element);
    return element;
  };
  const tile = Math.max(1, Math.min(TILE, Math.floor(WIDEST_CANVAS / columns)));
  const choose = (index) => change({ layer: depth.drawing.columns[index].name, channel: null });

  put(make("div", { className: "corner" }), 1, -1);
  let start = 0;
  for (const group of pack.groups) {
    put(make("div", { className: "group", title: group.title }, group.label), 1, start, group.span);
    start += group.span;
  }
  put(make("div", { className: "corner" }, make("span", {}, "layers, input to output →")), 2, -1);
  pack.columns.forEach((column, index) => {
    put(make("div", { className: `layer ${column.kind}`, title: column.name }, column.label), 2, index);
  });

  let row = 3;
  pack.networks.forEach((network, which) => {
    for (const kind of ["cam", "map"]) {
      const name = put(make("div", { className: "name" }), row, -1);
      if (kind === "cam") {
        name.append(make("b", {}, network.title));
        name.firstChild.style.color = network.colour;
        if (pack.networks.some(({ dashed }) => dashed)) name.append(lineOf(network)); // its lines in the charts below
      }
      name.append(make("span", {}, kind === "cam" ? "Grad-CAM" : "strongest map"));
      const below = kind === "cam" ? row + 1 : row; // the bars
      const canvas = put(make("canvas", { className: "row", width: columns * tile, height: tile }), row, 0, columns);
      canvas.ariaHidden = "true"; // the buttons over it say what it shows
      Object.assign(canvas.dataset, { network: which, kind });
      const buttons = [];
      network.cells.forEach((cell, index) => {
        if (cell === null) {
          put(make("div", { className: "absent", title: `${network.title} has no such layer` }, "–"), row, index);
          return;
        }
        const button = make("button", {
          type: "button",
          ariaLabel: `${pack.columns[index].name}, ${network.title}, ${KINDS[kind]}`,
          tabIndex: -1,
          onclick: () => choose(index),
          onkeydown: (event) => {
            const here = buttons.indexOf(button);
            const to = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: buttons.length - 1 }[event.key];
            if (to === undefined) return;
            event.preventDefault();
            const next = buttons[Math.min(Math.max(to, 0), buttons.length - 1)];
            button.tabIndex = -1;
            next.tabIndex = 0;
            next.focus();
          },
        });
        Object.assign(button.dataset, { place: `${which}/${kind}/${index}`, row: `${which}/${kind}`, column: index });
        buttons.push(put(button, row, index));
      });
      row = below + 1;
      if (kind === "map") continue;
      put(make("div", { className: "name" }, make("span", { className: "small" }, "its largest value")), below, -1);
      const bars = put(make("canvas", { className: "strengths", width: columns * tile, height: STRENGTH }), below, 0, columns);
      bars.ariaHidden = "true"; // the words of the buttons say it
      bars.dataset.network = which;
    }
  });
  root.charts = pack.charts.map(() => {
    const places = [put(make("div", { className: "chartname" }), row, -1), put(make("div", { className: "chart" }), row, 0, columns)];
    row += 1;
    return places;
  });
  root.choose = choose;
  put(make("div", { className: "band" }), `1 / ${row}`, 0);
  root.scales = { cam: colourBar("cam"), map: colourBar("map") };
  const scales = make("div", { className: "scales" }, root.scales.cam.box, root.scales.map.box);
  const scroller = make("div", { className: "scroller", onpointerover: explain }, grid);
  scroller.addEventListener("focusin", explain);
  root.replaceChildren(scroller, scales);
  root.selected = undefined;
}

// Shows another drawing; what has the same layers of the same networks keeps its elements, and with them the focus.
function fill(root, pack) {
  const shape = JSON.stringify([
    pack.columns,
    pack.groups,
    pack.charts.length,
    pack.networks.map(({ title, colour, dashed, cells }) => [title, colour, dashed, cells.map((cell) => cell !== null)]),
  ]);
  if (root.shape !== shape) {
    const before = root.querySelector(".scroller");
    const focused = root.getRootNode().activeElement?.dataset?.place;
    root.scrolled = before?.scrollLeft;
    build(root, pack);
    root.shape = shape;
    root.moved = true;
    if (focused) root.querySelector(`button[data-place="${focused}"]`)?.focus();
  }
  root.key = pack.key;
  root.scope = undefined;
  for (const canvas of root.querySelectorAll("canvas.strengths")) paintStrengths(canvas, pack, Number(canvas.dataset.network));
  pack.charts.forEach((found, index) => chart(pack, found, root.charts[index], root.choose));
  for (const button of root.querySelectorAll("button")) {
    const [which, kind, index] = button.dataset.place.split("/");
    const cell = pack.networks[which].cells[index];
    const name = (kind === "cam" ? cell.zero !== null : cell.peak === 0) ? "zero" : "";
    if (button.className !== name) button.className = name;
  }
}

// The strip in the place of the overview; `part` shows the view in it.
function stripPart(root) {
  return () => {
    const pack = depth.drawing;
    if (pack.key !== root.key) return;
    const selected = pack.columns.findIndex((column) => column.name === depth.view.layer);
    paint(root, pack, depth.view.scope);
    select(root, selected);
    if (!root.moved) return;
    // Later drawings stay where the person scrolled to; the first shows the chosen layer of a network that is too deep.
    const scroller = root.querySelector(".scroller");
    if (root.scrolled !== undefined) scroller.scrollLeft = root.scrolled;
    else if (selected >= 0) scroller.scrollLeft = root.querySelector(".band").offsetLeft - scroller.clientWidth / 2;
    root.moved = false;
  };
}
