// A whole training that was recorded, drawn up to one step: it plays by itself, or a person moves the step.

import { chartsView } from "../charts/charts.js";
import { markAt } from "../charts/dial_marks.js";
import { reached } from "../charts/ticks.js";
import { el } from "../dom.js";
import { formatReading } from "../format.js";
import { answersView } from "./answers.js";
import { camsView } from "./cams.js";
import { playerView } from "./player.js";
import { percentText } from "./samples.js";

const LASTS_MS = 20_000; // from the first step to the last

/** What the lines have come to at that step. @type {(curves: LineData, step: number) => string} */
export function stepText({ panels, last, marks = [] }, step) {
  const values = panels.flatMap(({ title, percent, lines }) =>
    lines
      .filter(({ points, x }) => !points && reached(x, step))
      .map(({ name, x, y }) => {
        const value = y[reached(x, step) - 1];
        return `${title.toLowerCase()} of ${name} ${percent && value !== null ? percentText(value) : formatReading(value)}`;
      }),
  );
  const mark = markAt(marks, step);
  if (mark) values.push(`${mark.text} from step ${mark.x} on`);
  return `step ${step} of ${last}${values.length ? `: ${values.join(", ")}` : ""}`;
}

/** @param {HTMLElement} root */
export function replayView(root) {
  const boxes = Array.from({ length: 4 }, () => el("div", { className: "live" }));
  const heading = el("div", { className: "heading" }, "Gradient map: how large the gradient of each layer's weights is");
  /** @type {ReplayData | null} */
  let data = null;
  const player = playerView("Training step", { first: 1, lastsMs: LASTS_MS, draw });
  root.append(el("div", { className: "controls" }, ...player.parts), boxes[0], boxes[1], heading, boxes[2], boxes[3]);
  const [curves, map] = [chartsView(boxes[0], "loss and accuracy"), chartsView(boxes[2], "gradient map")];
  const [cams, answers] = [camsView(boxes[1]), answersView(boxes[3])];

  /** @type {(step: number) => [string, string]} */
  function draw(step) {
    if (!data) return ["", ""];
    const until = `up to step ${step} of ${data.last}.`; // charts name the end of their lines, which is not drawn yet
    curves(data.curves, step, `${data.curves.about}, ${until}`);
    cams(data.cams, step);
    if (data.map) map(data.map, step, `${data.map.about}, ${until}`);
    answers(data.predictions, step);
    return [`Step ${step.toLocaleString("en")} of ${data.last.toLocaleString("en")}`, stepText(data.curves, step)];
  }

  return {
    stop: player.stop,
    /** @type {(next: ReplayData) => void} */
    update(next) {
      const begins = data === null;
      data = next;
      player.update(next.last);
      if (begins && !matchMedia("(prefers-reduced-motion: reduce)").matches) player.play();
    },
  };
}
