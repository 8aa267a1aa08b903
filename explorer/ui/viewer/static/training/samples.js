// Test pictures that a training looks at again and again.

import { reached } from "../charts/ticks.js";

/** @typedef {[classes: number[], shares: (number | null)[]]} Answers of a network: null is no finite number */

/**
 * @typedef {object} Samples
 * @property {string[]} pictures
 * @property {number[]} labels
 * @property {string[]} names of all classes
 * @property {{title: string, colour: string}[]} networks
 */

/**
 * The last frame that is not behind the step `until`; the first where all are.
 * @template {{step: number}} Frame
 * @param {Frame[]} frames in the order of their steps
 * @param {number} until
 */
export function frameAt(frames, until) {
  const steps = frames.map(({ step }) => step);
  return frames[Math.max(0, reached(steps, until) - 1)];
}

/** @param {number | null} share */
export const percentText = (share) => (share === null ? "not a number" : `${Math.round(100 * share)} %`);

/**
 * What a network says of one sample, and whether it is right.
 * @param {Samples} samples
 * @param {Answers} answers
 * @param {number} index
 */
export function answerText({ labels, names }, [classes, shares], index) {
  const found = classes[index];
  return `${found === labels[index] ? "✓" : "✗"} ${names[found]} ${percentText(shares[index])}`;
}
