// A whole training that was recorded, drawn up to one step: it plays by itself, or a person moves the step.
const LASTS = 20_000; // milliseconds from the first step to the last
const LONGEST = 100; // milliseconds that count between two drawings: a page in the background stands still

export default function (component) {
  const root = component.parentElement.querySelector(".replay");
  root.replay ??= replay(root);
  root.replay.update(component.data);
  return () => root.replay.pause();
}

function replay(root) {
  const controls = make(root, "div", { class: "controls" });
  const button = make(controls, "button", { type: "button", class: "play" });
  const slider = make(controls, "input", { type: "range", min: "1", step: "1", "aria-label": "Training step" });
  const place = make(controls, "span", { class: "place" });
  const box = () => make(root, "div", { class: "live" });
  const parts = [[charts(box()), "curves"], [cams(box()), "cams"]];
  make(root, "div", { class: "heading" }, "Gradient map: how large the gradient of each layer's weights is");
  parts.push([charts(box()), "map"], [predictions(box()), "predictions"]);
  let data = null, at = 1, drawnAt = 0, before = 0, running = 0;

  const last = () => data.last;
  const step = () => Math.min(Math.floor(at), last());

  function tick(now) {
    at += (Math.min(now - before, LONGEST) / LASTS) * (last() - 1);
    before = now;
    if (at >= last()) return pause(); // at the end
    if (step() !== drawnAt) draw();
    running = requestAnimationFrame(tick);
  }
  function play() {
    if (step() >= last()) at = 1;
    before = performance.now();
    running = requestAnimationFrame(tick);
    draw();
  }
  function pause() {
    cancelAnimationFrame(running);
    running = 0;
    at = Math.min(at, last());
    draw();
  }
  function words() {
    const said = data.curves.panels.flatMap((panel) => panel.lines.filter(({ points, x }) => !points && reached(x, step())).map((line) => {
      const value = line.y[reached(line.x, step()) - 1];
      return `${panel.title.toLowerCase()} of ${line.name} ${panel.percent && value !== null ? percent(value) : short(value)}`;
    }));
    return `step ${step()} of ${last()}${said.length ? `: ${said.join(", ")}` : ""}`;
  }
  function draw() {
    drawnAt = step();
    const name = running ? "Pause" : step() >= last() ? "Play again" : "Play";
    say(button, name);
    slider.max = last();
    slider.value = step();
    slider.setAttribute("aria-valuetext", words());
    say(place, `Step ${step().toLocaleString("en")} of ${last().toLocaleString("en")}`);
    for (const [update, name] of parts) {
      if (!data[name]) continue;
      // Charts say in their text what stands at the end of their lines, which is not drawn yet.
      const alt = name === "curves" || name === "map" ? { alt: `${data[name].about}, up to step ${step()} of ${last()}.` } : null;
      update(alt ? { ...data[name], ...alt } : data[name], step());
    }
  }
  button.onclick = () => (running ? pause() : play());
  slider.oninput = () => {
    at = Number(slider.value);
    if (running) pause();
    else draw();
  };

  return {
    pause: () => cancelAnimationFrame(running),
    update(next) {
      const begins = data === null;
      data = next;
      if (begins && !matchMedia("(prefers-reduced-motion: reduce)").matches) play();
      else draw();
    },
  };
}
