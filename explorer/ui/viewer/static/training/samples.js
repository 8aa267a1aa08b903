// Test pictures that a training looks at again and again.

import { reached } from "../charts/ticks.js";
import { el } from "../dom.js";

/**
 * The last frame that is not behind the step `until`; the first where all are.
 * @template {{step: number}} Shown
 * @param {Shown[]} frames in the order of their steps
 * @param {number} until
 */
export function frameAt(frames, until) {
  const steps = frames.map(({ step }) => step);
  return frames[Math.max(0, reached(steps, until) - 1)];
}

/** @type {(share: number | null) => string} */
export const percentText = (share) => (share === null ? "not a number" : `${Math.round(100 * share)}%`);

/** What a network says of one sample, and whether it is right. @type {(samples: Samples, answers: Answers, index: number) => string} */
export function answerText({ labels, names }, [classes, shares], index) {
  const found = classes[index];
  return `${found === labels[index] ? "✓" : "✗"} ${names[found]} ${percentText(shares[index])}`;
}

/** @type {(src: string, index: number) => HTMLElement} */
export const photo = (src, index) => el("img", { src, alt: `Test image ${index + 1}` });

/** @type {(network: {title: string, colour: string}) => HTMLElement} */
export const nameOf = ({ title, colour }) => el("b", { style: `color:${colour}` }, title);

/** The name of a class, which may be cut off. @type {(name: string) => HTMLElement} */
export const labelOf = (name) => el("b", { title: name }, name);

/** @type {(text: string, step: number) => string} */
export const stepHeading = (text, step) => `${text}, now at step ${step.toLocaleString("en")}`;

/**
 * A view of frames: `build` makes the elements for other data, `draw` shows another frame in them.
 * @template {{step: number}} Shown
 * @template {{frames: Shown[]}} Data
 * @param {(data: Data) => void} build
 * @param {(data: Data, frame: Data["frames"][0]) => void} draw
 */
export function framesView(build, draw) {
  /** @type {Data | null} */
  let built = null;
  /** @type {Shown | null} */
  let drawn = null;
  return (/** @type {Data} */ data, until = Number.POSITIVE_INFINITY) => {
    const frame = frameAt(data.frames, until);
    if (built !== data) build(data);
    if (built !== data || drawn !== frame) draw(data, frame);
    [built, drawn] = [data, frame];
  };
}
