// Two charts beside each other that share one view. The view lives here and not in Python, so numbers that arrive while
// a person looks closer do not move it. `update` draws from plain data; all colours and scales come from live.py. What
// lies behind the step `until` is not shown yet, as in a replay.
const TOP = 24, BOTTOM = 38, RIGHT = 10;
const NARROW = 560; // pixels within which two charts do not fit beside each other

function ticks(low, high, most) {
  const rough = (high - low) / Math.max(1, most), power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough);
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n++) found.push(Number((n * step).toPrecision(12)));
  return found;
}

function nearest(sorted, value) {
  let low = 0, high = sorted.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle; else high = middle;
  }
  return Math.abs(sorted[high] - value) < Math.abs(sorted[low] - value) ? high : low;
}

let drawn = 0; // charts: what a drawing names for itself has a name of its own in each

function charts(root) {
  const own = (drawn += 1);
  const legend = make(root, "div", { class: "legend" });
  const tools = make(root, "div", { class: "tools" });
  const stage = make(root, "div", { class: "stage", tabindex: 0, role: "group" });
  const svg = make(stage, "svg", { role: "img" });
  const tip = make(stage, "div", { class: "tip", hidden: "" });
  const bar = make(root, "div", { class: "bar" });
  const says = make(root, "div", { class: "says", "aria-live": "polite" });
  const button = (text, title, act) => {
    const element = make(tools, "button", { type: "button", title, "aria-label": title }, text);
    element.onclick = act;
    return element;
  };
  button("−", "Zoom out", () => zoom(2));
  button("+", "Zoom in", () => zoom(0.5));
  const reset = button("Show all", "Show all", () => look(null));
  make(tools, "span", {}, "Drag to zoom, Shift and drag to move. Keys: arrows read values, + and − zoom, 0 shows all.");
  // `view` null shows everything and follows what arrives; `cursor` is in data: step or cell, and row.
  let data = null, view = null, cursor = null, drag = null, over = null, frames = [], width = 0, until = Infinity, shown = {};

  const isMap = () => data.kind === "map";
  const full = () => ({ x: [0, isMap() ? data.columns.length : data.last], y: [0, isMap() ? data.rows.length : 1] });
  const seen = () => view ?? full();
  const toX = (frame, x) => frame.left + ((x - seen().x[0]) / (seen().x[1] - seen().x[0])) * frame.width;
  const toY = (frame, y) => frame.top + ((y - frame.y[0]) / (frame.y[1] - frame.y[0])) * frame.height;

  function look(next) {
    const all = full();
    if (next) {
      for (const axis of ["x", "y"]) {
        const most = all[axis][1], span = Math.min(Math.max(next[axis][1] - next[axis][0], Math.min(most, isMap() ? 2 : 1)), most);
        const from = axis === "y" && !isMap() ? 0 : Math.min(Math.max(next[axis][0], 0), most - span);
        next[axis] = [from, from + span];
      }
      if (next.x[1] - next.x[0] >= all.x[1] && next.y[1] - next.y[0] >= all.y[1]) next = null;
    }
    view = next;
    draw();
  }
  function zoom(factor) {
    const next = {};
    for (const axis of ["x", "y"]) {
      const [from, to] = seen()[axis], middle = cursor && !isNaN(cursor[axis]) ? cursor[axis] : (from + to) / 2;
      next[axis] = axis === "y" && !isMap() ? [0, 1] : [middle - (middle - from) * factor, middle + (to - middle) * factor];
    }
    look(next);
  }

  function draw() {
    width = stage.clientWidth;
    if (!data || width < 100) return;
    reset.disabled = view === null;
    const left = isMap() ? Math.min(150, 14 + 5.8 * Math.max(...data.rows.map((name) => name.length))) : 46;
    const stacked = !isMap() && width < NARROW, gap = isMap() ? 18 : left + 24, count = data.panels.length;
    const each = stacked ? width - left - RIGHT : (width - left - RIGHT - gap * (count - 1)) / count;
    const height = isMap() ? Math.min(460, Math.max(200, data.rows.length * 15)) : stacked ? 170 : 250;
    const below = stacked ? TOP + height + BOTTOM : 0, beside = stacked ? 0 : each + gap;
    svg.replaceChildren();
    svg.setAttribute("width", width);
    svg.setAttribute("height", TOP + height + BOTTOM + below * (count - 1));
    frames = data.panels.map((panel, index) => ({ left: left + index * beside, width: each, top: TOP + index * below, height, y: isMap() ? seen().y : range(panel) }));
    data.panels.forEach((panel, index) => {
      const frame = frames[index], clip = `clip-${own}-${index}`;
      make(make(svg, "clipPath", { id: clip }), "rect", { x: frame.left, y: frame.top, width: frame.width, height });
      make(svg, "text", { x: frame.left, y: frame.top - 10, class: "title", style: panel.colour ? `fill:${panel.colour}` : "" }, panel.title);
      const inside = make(svg, "g", { "clip-path": `url(#${clip})` });
      (isMap() ? drawMap : drawLines)(panel, frame, inside, index);
      make(svg, "rect", { x: frame.left, y: frame.top, width: frame.width, height, class: "frame" });
      make(svg, "text", { x: frame.left + frame.width / 2, y: frame.top + height + 33, "text-anchor": "middle" }, "training step");
    });
    over = make(svg, "g");
    point();
  }
  function label(x, y, text, anchor) {
    make(svg, "text", { x, y, "text-anchor": anchor, class: "tick" }, text);
  }
  function range(panel) {
    const [from, to] = seen().x, values = [];
    for (const line of panel.lines) line.x.forEach((x, i) => { if (x >= from && x <= to && line.y[i] !== null) values.push(line.y[i]); });
    if (view === null && panel.percent) return [1, 0];
    if (!values.length) return [1, 0];
    const low = view === null ? 0 : values.reduce((a, b) => Math.min(a, b)), high = values.reduce((a, b) => Math.max(a, b));
    const air = (high - low || Math.abs(high) || 1) * 0.05;
    return [high + air, view === null ? 0 : low - air];
  }
  function drawLines(panel, frame, inside) {
    for (const tick of ticks(frame.y[1], frame.y[0], 5)) {
      const y = toY(frame, tick);
      make(inside, "line", { x1: frame.left, x2: frame.left + frame.width, y1: y, y2: y, class: "rule" });
      label(frame.left - 6, y + 3, panel.percent ? `${Number((100 * tick).toFixed(3))} %` : String(tick), "end");
    }
    for (const tick of ticks(...seen().x, frame.width / 70)) label(toX(frame, tick), frame.top + frame.height + 15, String(tick), "middle");
    for (const line of panel.lines) {
      let path = "", pen = "M";
      const there = line.x.slice(0, reached(line.x, until));
      there.forEach((x, i) => {
        if (line.y[i] === null) pen = "M";
        else { path += `${pen}${toX(frame, x).toFixed(1)} ${toY(frame, line.y[i]).toFixed(1)}`; pen = "L"; }
      });
      make(inside, "path", { d: path, stroke: line.colour, class: line.points ? "line" : "line running", "stroke-dasharray": line.dashed ? "6 4" : "" });
      if (line.points) there.forEach((x, i) => { if (line.y[i] !== null) make(inside, "circle", { cx: toX(frame, x), cy: toY(frame, line.y[i]), r: 3.2, fill: line.colour }); });
    }
  }
  function drawMap(panel, frame, inside, index) {
    const hatch = make(inside, "pattern", { id: `hatch-${own}-${index}`, width: 6, height: 6, patternUnits: "userSpaceOnUse" });
    make(hatch, "path", { d: "M0 6L6 0M-1 1L1 -1M5 7L7 5", class: "hatch" });
    make(inside, "rect", { x: frame.left, y: frame.top, width: frame.width, height: frame.height, fill: `url(#hatch-${own}-${index})` });
    const { x, y } = seen(), row = frame.height / (y[1] - y[0]), column = frame.width / (x[1] - x[0]);
    const there = make(inside, "clipPath", { id: `there-${own}-${index}` });
    make(there, "rect", { x: toX(frame, 0), y: toY(frame, 0), width: column * reached(data.columns, until), height: row * data.rows.length });
    make(inside, "image", { href: panel.image, x: toX(frame, 0), y: toY(frame, 0), width: column * data.columns.length, height: row * data.rows.length, preserveAspectRatio: "none", "clip-path": `url(#there-${own}-${index})` });
    const each = Math.ceil(34 / column);
    for (let i = Math.ceil(x[0] - 0.5); i < x[1] - 0.4; i++) if (i >= 0 && i % each === 0) label(toX(frame, i + 0.5), frame.top + frame.height + 15, String(data.columns[i]), "middle");
    for (const group of data.groups) if (group.start > y[0] && group.start < y[1]) make(inside, "line", { x1: frame.left, x2: frame.left + frame.width, y1: toY(frame, group.start), y2: toY(frame, group.start), class: "cut" });
    if (index) return;
    label(frame.left - 6, 14, "input ↓ output", "end");
    const near = row >= 11 ? data.rows.map((text, i) => [text, i + 0.5]) : data.groups.map((group) => [group.label, (Math.max(group.start, y[0]) + Math.min(group.end, y[1])) / 2, group]);
    for (const [text, at] of near) if (at > y[0] && at < y[1]) label(frame.left - 6, toY(frame, at) + 3, text, "end");
  }

  function reading() {
    if (isMap()) {
      const column = Math.min(Math.max(Math.floor(cursor.x), 0), data.columns.length - 1), row = Math.min(Math.max(Math.floor(cursor.y), 0), data.rows.length - 1);
      const size = (panel) => (data.columns[column] > until ? "not reached yet" : short(panel.sizes[row][column]));
      return [`${data.rows[row]}, step ${data.columns[column]}`, data.panels.map((panel) => [panel.colour, panel.title, size(panel)])];
    }
    const value = (panel, i) => (i !== null && panel.percent ? `${(100 * i).toFixed(1)} %` : short(i));
    const rows = data.legend.map(({ name, colour, points }) => {
      const found = data.panels.map((panel) => [panel, panel.lines.find((line) => line.name === name)]).filter(([, line]) => line && reached(line.x, until));
      const at = (line) => nearest(line.x.slice(0, reached(line.x, until)), cursor.x);
      const read = found.map(([panel, line]) => `${panel.title.toLowerCase()} ${value(panel, line.y[at(line)])}`);
      const line = found[0]?.[1];
      return [colour, name, read.length ? read.join(", ") + (points ? ` (step ${line.x[at(line)]})` : "") : "nothing yet"];
    });
    return [`step ${Math.round(cursor.x)}`, rows];
  }
  function point() {
    over.replaceChildren();
    tip.hidden = !cursor || Boolean(drag);
    if (drag && drag.now && !drag.moves) make(over, "rect", { ...box(drag), class: "drag" });
    if (!cursor || drag) return;
    for (const frame of frames) {
      const cell = isMap(), x = toX(frame, cell ? Math.floor(cursor.x) : cursor.x);
      if (x < frame.left - 1 || x > frame.left + frame.width) continue;
      if (cell) make(over, "rect", { x, y: toY(frame, Math.floor(cursor.y)), width: frame.width / (seen().x[1] - seen().x[0]), height: frame.height / (seen().y[1] - seen().y[0]), class: "cell" });
      else make(over, "line", { x1: x, x2: x, y1: frame.top, y2: frame.top + frame.height, class: "cross" });
    }
    const [heading, rows] = reading();
    tip.replaceChildren();
    make(tip, "b", {}, heading);
    for (const [colour, name, value] of rows) make(make(tip, "div"), "span", { style: `color:${colour}` }, name).after(` ${value}`);
    const frame = frames[cursor.panel ?? 0], x = toX(frame, cursor.x);
    tip.style.left = `${Math.max(0, Math.min(x + 14 + tip.offsetWidth > width ? x - tip.offsetWidth - 14 : x + 14, width - tip.offsetWidth))}px`;
    tip.style.top = `${isMap() ? Math.min(toY(frame, cursor.y) + 14, frame.top + frame.height - tip.offsetHeight) : frame.top + 6}px`;
  }
  function box({ from, now, frame }) {
    const [a, b] = [from.px, Math.min(Math.max(now.px, frame.left), frame.left + frame.width)].sort((a, b) => a - b);
    const [c, d] = isMap() ? [from.py, Math.min(Math.max(now.py, frame.top), frame.top + frame.height)].sort((a, b) => a - b) : [frame.top, frame.top + frame.height];
    return { x: a, y: c, width: b - a, height: d - c };
  }
  function place(event, kept) {
    const bounds = svg.getBoundingClientRect(), px = event.clientX - bounds.left, py = event.clientY - bounds.top;
    const frame = kept ?? frames.find((f) => px >= f.left && px <= f.left + f.width && py >= f.top && py <= f.top + f.height);
    if (!frame) return null;
    const { x, y } = seen();
    return { px, py, frame, panel: frames.indexOf(frame), x: x[0] + ((px - frame.left) / frame.width) * (x[1] - x[0]), y: y[0] + ((py - frame.top) / frame.height) * (y[1] - y[0]) };
  }
  svg.onpointerdown = (event) => {
    const from = place(event);
    if (!from || event.button) return;
    drag = { from, frame: from.frame, moves: event.shiftKey, view: seen() };
    svg.setPointerCapture(event.pointerId);
  };
  svg.onpointermove = (event) => {
    if (!data) return;
    cursor = place(event, drag?.frame);
    if (drag) drag.now = cursor;
    if (drag?.moves && view) {
      const by = (axis, from, size) => ((from - drag.now[`p${axis}`]) / size) * (view[axis][1] - view[axis][0]);
      const [dx, dy] = [by("x", drag.from.px, drag.frame.width), by("y", drag.from.py, drag.frame.height)];
      look({ x: drag.view.x.map((v) => v + dx), y: drag.view.y.map((v) => v + dy) });
    } else point();
  };
  svg.onpointerup = (event) => {
    const done = drag, now = done && place(event, done.frame);
    drag = null;
    if (!done || done.moves || Math.abs(now.px - done.from.px) < 5) return done && point();
    const cut = box({ ...done, now }), turn = (axis, at, size, start) => [at - start, at - start + cut[size]].map((p) => done.view[axis][0] + (p / done.frame[size]) * (done.view[axis][1] - done.view[axis][0]));
    look({ x: turn("x", cut.x, "width", done.frame.left), y: isMap() ? turn("y", cut.y, "height", done.frame.top) : [0, 1] });
  };
  svg.onpointerleave = () => { if (!drag) { cursor = null; point(); } };
  svg.ondblclick = () => look(null);
  stage.onkeydown = (event) => {
    const { x, y } = seen(), by = isMap() ? 1 : (x[1] - x[0]) / 50;
    const move = { ArrowLeft: [-by, 0], ArrowRight: [by, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const act = { "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: () => look(null), Escape: () => { cursor = null; point(); } }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey || (!move && !act)) return;
    event.preventDefault();
    if (act) return act();
    cursor ??= { x: (x[0] + x[1]) / 2, y: (y[0] + y[1]) / 2 };
    const inside = (value, [low, high]) => Math.min(Math.max(value, low), high - (isMap() ? 0.5 : 0));
    cursor = { x: inside(cursor.x + move[0], full().x), y: inside(cursor.y + move[1], full().y) };
    const shift = (axis) => Math.min(0, cursor[axis] - seen()[axis][0]) + Math.max(0, cursor[axis] - seen()[axis][1] + (isMap() ? 0.5 : 0));
    if (view) look({ x: view.x.map((v) => v + shift("x")), y: view.y.map((v) => v + shift("y")) }); else point();
    const [heading, rows] = reading();
    says.textContent = `${heading}: ${rows.map(([, name, value]) => `${name} ${value}`).join("; ")}`;
  };
  stage.onblur = () => { cursor = null; if (over) point(); };
  new ResizeObserver(() => { if (stage.clientWidth !== width) draw(); }).observe(stage);

  return (next, end = Infinity) => {
    [data, until] = [next, end];
    svg.setAttribute("aria-label", data.alt);
    stage.setAttribute("aria-label", `${data.alt} Arrow keys read values, plus and minus zoom, 0 shows all.`);
    if (shown.legend !== data.legend) {
      legend.replaceChildren();
      for (const { name, colour, dashed, points } of data.legend ?? []) {
        const key = make(make(legend, "span"), "svg", { width: 26, height: 10 });
        make(key, "path", { d: "M0 5H26", stroke: colour, class: points ? "line" : "line running", "stroke-dasharray": dashed ? "6 4" : "" });
        if (points) make(key, "circle", { cx: 13, cy: 5, r: 3.2, fill: colour });
        key.after(name);
      }
    }
    if (data.bar && shown.bar !== data.bar) {
      bar.replaceChildren();
      colourBar(bar, data.bar)(data.bar.ticks);
      make(make(bar, "span"), "i", { style: `background:${data.bar.zero}` }).after("exactly zero");
      make(make(bar, "span"), "i", { class: "none" }).after("not measured");
    }
    shown = { legend: data.legend, bar: data.bar };
    if (view) look(view); else draw();
  };
}
