// The places of Build: one part of a training that is watched, and a recorded training.

import { chartsView } from "./charts/charts.js";
import { once } from "./dom.js";
import { answersView } from "./training/answers.js";
import { camsView } from "./training/cams.js";
import { replayView } from "./training/replay.js";

/** @type {Record<string, (root: HTMLElement) => (data: any) => void>} */
const VIEWS = {
  curves: (root) => chartsView(root, "loss and accuracy"),
  map: (root) => chartsView(root, "gradient map"),
  predictions: answersView,
  cams: camsView,
};

/** Its data come anew with each report. @type {(component: Component<{kind: string}>) => void} */
export function live_charts({ data, parentElement }) {
  once(parentElement, ".live", VIEWS[data.kind])(data);
}

/** @type {(component: Component<ReplayData>) => () => void} */
export function replay({ data, parentElement }) {
  const { update, stop } = once(parentElement, ".replay", replayView);
  update(data);
  return stop;
}
