// The places of Gradients: the three results, a chart, the recorded steps of a training, and one step in slow motion.

import { chartsView } from "./charts/charts.js";
import { once } from "./dom.js";
import { cardsView } from "./gradients/cards.js";
import { slowView } from "./gradients/slow.js";
import { stepsView } from "./gradients/steps.js";

/** @type {(component: Component<CardsData>) => void} */
export function cards({ data, parentElement, setTriggerValue }) {
  once(parentElement, ".results", cardsView)(data, (query) => setTriggerValue("open", query));
}

/** @type {(component: Component<ProfileData>) => void} */
export function profile({ data, parentElement }) {
  once(parentElement, ".live", (root) => chartsView(root, "gradient size"))(data);
}

/** @type {(component: Component<StepsData>) => () => void} */
export function steps({ data, parentElement, setTriggerValue }) {
  const { update, stop } = once(parentElement, ".steps", stepsView);
  update(data, (step) => setTriggerValue("step", step));
  return stop;
}

/** @type {(component: Component<SlowData>) => () => void} */
export function slow({ data, parentElement, setTriggerValue }) {
  const { update, stop } = once(parentElement, ".slow", slowView);
  update(data, (at) => setTriggerValue("at", at));
  return stop;
}
