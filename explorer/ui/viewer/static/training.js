// The places of Build: one part of a training that is watched, and a recorded training.

import { chartsView } from "./charts/charts.js";
import { find, once } from "./dom.js";
import { answersView } from "./training/answers.js";
import { camsView } from "./training/cams.js";
import { replayView } from "./training/replay.js";

const VIEWS = { curves: chartsView, map: chartsView, predictions: answersView, cams: camsView };

/** @typedef {import("./dom.js").Component} Component */

/**
 * Its data come anew with each report.
 * @param {Component} component
 */
export function live_charts({ data, parentElement }) {
  const view = VIEWS[/** @type {keyof typeof VIEWS} */ (data.kind)];
  once(parentElement, () => view(find(parentElement, ".live")))(data);
}

/** @param {Component} component */
export function replay({ data, parentElement }) {
  const { update, stop } = once(parentElement, () => replayView(find(parentElement, ".replay")));
  update(data);
  return stop;
}
