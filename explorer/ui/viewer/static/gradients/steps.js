// The recorded steps of a training: the gradient along the depth at one of them, and the accuracy up to there.

import { chartsView } from "../charts/charts.js";
import { reached } from "../charts/ticks.js";
import { el, setText, toggle } from "../dom.js";
import { playerView } from "../training/player.js";

const LASTS_MS = 12_000; // from the first step to the last
const REST_MS = 500; // after which the address follows the slider

/** The chart of one step. @type {(data: StepsData, at: number) => ProfileData} */
export function chartAt({ chart, sizes }, at) {
  const [panel] = chart.panels;
  const lines = panel.lines.map((line, index) => {
    const found = sizes[at][index];
    const counts = (/** @type {(size: number | null) => boolean} */ holds) => found.map((size) => Number(holds(size)));
    const [zeros, lost] = [counts((size) => size === 0), counts((size) => size === null)];
    return { ...line, median: found, low: found, high: found, zeros, lost };
  });
  return { ...chart, panels: [{ ...panel, lines }] };
}

/** The accuracies that were recorded last up to a step. @type {(curves: LineData | null, step: number) => string} */
export function accuracyText(curves, step) {
  const lines = curves?.panels.flatMap((panel) => panel.lines) ?? [];
  const values = lines.flatMap(({ name, x, y }) => {
    const value = y[reached(x, step) - 1];
    return value === undefined || value === null ? [] : [`${name} ${(100 * value).toFixed(1)}%`];
  });
  return values.length ? `Accuracy: ${values.join(", ")}.` : "No accuracy is recorded up to this step.";
}

/** @param {HTMLElement} root */
export function stepsView(root) {
  const sentence = el("p", { className: "finding" });
  const accuracy = el("p");
  const boxes = [el("div", { className: "live" }), el("div", { className: "live" })];
  const player = playerView("Training step", { first: 0, lastsMs: LASTS_MS, draw, rest });
  const controls = el("div", { className: "controls" }, ...player.parts);
  root.append(controls, sentence, accuracy, el("div", { className: "beside" }, ...boxes));
  const [profile, curves] = [chartsView(boxes[0], "gradient size"), chartsView(boxes[1], "accuracy")];
  /** @type {StepsData | null} */
  let data = null;
  /** @type {(step: number) => void} */
  let tell = () => {};
  let [told, timer] = [-1, 0]; // the step of the address, and what waits to change it
  /** @type {Map<number, ProfileData>} */
  const charts = new Map(); // a chart keeps its view as long as its data is the same object

  /** @type {(at: number) => [string, string]} */
  function draw(at) {
    if (!data) return ["", ""];
    const step = data.steps[at];
    const chart = charts.get(at) ?? chartAt(data, at);
    charts.set(at, chart);
    const found = `${data.sentences[at]} ${accuracyText(data.curves, step)}`;
    profile(chart, Number.POSITIVE_INFINITY, `${data.chart.alt} At step ${step}: ${found}`);
    toggle(boxes[1], data.curves !== null);
    if (data.curves) curves(data.curves, step, `${data.curves.about}, up to step ${step}.`);
    setText(sentence, data.sentences[at]);
    setText(accuracy, accuracyText(data.curves, step));
    return [`Step ${step.toLocaleString("en")}`, `step ${step}: ${found}`];
  }
  function rest(/** @type {number} */ at) {
    clearTimeout(timer);
    timer = window.setTimeout(() => {
      const step = data?.steps[at];
      if (step === undefined || step === told) return;
      told = step;
      tell(step);
    }, REST_MS);
  }

  return {
    stop() {
      player.stop();
      clearTimeout(timer);
    },
    /** @type {(next: StepsData, change: (step: number) => void) => void} */
    update(next, change) {
      const isMoved = next.networks !== data?.networks || next.step !== told; // else the browser shows a later place already
      if (JSON.stringify(next.chart) !== JSON.stringify(data?.chart)) charts.clear();
      data = next;
      tell = change;
      told = next.step;
      player.update(next.steps.length - 1, isMoved ? next.steps.indexOf(next.step) : undefined);
    },
  };
}
