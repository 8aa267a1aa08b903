// A whole training that was recorded, drawn up to one step: it plays by itself, or a person moves the step.

import { chartsView } from "../charts/charts.js";
import { reached } from "../charts/ticks.js";
import { el, setText } from "../dom.js";
import { formatReading } from "../format.js";
import { answersView } from "./answers.js";
import { camsView } from "./cams.js";
import { percentText } from "./samples.js";

const LASTS_MS = 20_000; // from the first step to the last
const LONGEST_MS = 100; // that count between two drawings: a page in the background stands still

/** What the lines have come to at that step. @type {(curves: LineData, step: number) => string} */
export function stepText({ panels, last }, step) {
  const values = panels.flatMap(({ title, percent, lines }) =>
    lines
      .filter(({ points, x }) => !points && reached(x, step))
      .map(({ name, x, y }) => {
        const value = y[reached(x, step) - 1];
        return `${title.toLowerCase()} of ${name} ${percent && value !== null ? percentText(value) : formatReading(value)}`;
      }),
  );
  return `step ${step} of ${last}${values.length ? `: ${values.join(", ")}` : ""}`;
}

/** @param {HTMLElement} root */
export function replayView(root) {
  const button = el("button", { type: "button", className: "play" });
  const slider = el("input", { type: "range", min: "1", step: "1", ariaLabel: "Training step" });
  const place = el("span", { className: "place" });
  const boxes = Array.from({ length: 4 }, () => el("div", { className: "live" }));
  const controls = el("div", { className: "controls" }, button, slider, place);
  const heading = el("div", { className: "heading" }, "Gradient map: how large the gradient of each layer's weights is");
  root.append(controls, boxes[0], boxes[1], heading, boxes[2], boxes[3]);
  const [curves, map] = [chartsView(boxes[0], "loss and accuracy"), chartsView(boxes[2], "gradient map")];
  const [cams, answers] = [camsView(boxes[1]), answersView(boxes[3])];
  /** @type {ReplayData | null} */
  let data = null;
  let [at, drawnAt, before, running] = [1, 0, 0, 0]; // `running`: the frame that is asked for; 0 stands still

  const last = () => data?.last ?? 1;
  const step = () => Math.min(Math.floor(at), last());

  /** @type {(now: number) => void} */
  function tick(now) {
    at += (Math.min(now - before, LONGEST_MS) / LASTS_MS) * (last() - 1);
    before = now;
    if (at >= last()) return pause();
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
  function draw() {
    if (!data) return;
    const here = step();
    drawnAt = here;
    const rest = here >= last() ? "Play again" : "Play";
    setText(button, running ? "Pause" : rest);
    slider.max = String(last());
    slider.value = String(here);
    slider.setAttribute("aria-valuetext", stepText(data.curves, here));
    setText(place, `Step ${here.toLocaleString("en")} of ${last().toLocaleString("en")}`);
    const until = `up to step ${here} of ${last()}.`; // charts name the end of their lines, which is not drawn yet
    curves(data.curves, here, `${data.curves.about}, ${until}`);
    cams(data.cams, here);
    if (data.map) map(data.map, here, `${data.map.about}, ${until}`);
    answers(data.predictions, here);
  }
  button.onclick = () => (running ? pause() : play());
  slider.oninput = () => {
    at = Number(slider.value);
    if (running) pause();
    else draw();
  };

  return {
    stop: () => cancelAnimationFrame(running),
    /** @type {(next: ReplayData) => void} */
    update(next) {
      const begins = data === null;
      data = next;
      if (begins && !matchMedia("(prefers-reduced-motion: reduce)").matches) play();
      else draw();
    },
  };
}
