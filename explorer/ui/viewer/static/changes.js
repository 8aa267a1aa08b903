// Interventions: the text that a link has of them, as `interventions.py` reads and writes it, and what a choice makes of it.

const TEXT = /^([\w.-]{1,80})(?:@(branch|shortcut|output))?(?:~(\d{1,6}))?:(?:(off|mean)|swap~([\w.-]{1,80})|(-?\d{1,2}(?:\.\d{1,6})?))$/;
const LARGEST = 10; // factor
export const MOST = 100; // of one pass

/** @type {Omit<Change, "place">} */
const OFF = { part: "output", channel: null, action: "scale", factor: 0, other: "" };

/** Those of a text, null where it cannot be read. @type {(text: string) => Change[] | null} */
export function parseChanges(text) {
  const found = [];
  for (const each of text.split(",")) {
    if (!each) continue;
    const match = each.match(TEXT);
    if (!match) return null;
    const [, place, part, channel, word, other, factor] = match;
    const change = { ...OFF, place, part: /** @type {Part} */ (part ?? "output"), channel: channel === undefined ? null : Number(channel) };
    if (Math.abs(Number(factor ?? 0)) > LARGEST) return null;
    if (other !== undefined) found.push({ ...change, action: /** @type {const} */ ("swap"), other });
    else if (word === "mean") found.push({ ...change, action: /** @type {const} */ ("mean") });
    else found.push({ ...change, factor: Number(factor ?? 0) || 0 }); // never -0
  }
  return found.length > MOST ? null : found;
}

/** @type {(change: Change) => string} */
function formatChange({ place, part, channel, action, factor, other }) {
  const scale = factor === 0 ? "off" : String(Number(factor.toFixed(6)));
  const does = { scale, mean: "mean", swap: `swap~${other}` }[action];
  return `${place}${part === "output" ? "" : `@${part}`}${channel === null ? "" : `~${channel}`}:${does}`;
}

/** @type {(changes: Change[]) => string} */
export const formatChanges = (changes) => changes.map(formatChange).join(",");

/** Whether one of two takes the place of the other. @type {(one: Change, other: Change) => boolean} */
function replaces(one, other) {
  if (one.action === "swap" || other.action === "swap") {
    return one.action === other.action && [one.place, one.other].some((place) => place === other.place || place === other.other);
  }
  return one.place === other.place && one.part === other.part && one.channel === other.channel;
}

/** With one more, which takes the place of what was made of the same part before; a factor of 1 takes it back. @type {(changes: Change[], change: Partial<Change> & {place: string}) => Change[]} */
export function withChange(changes, given) {
  const change = { ...OFF, ...given };
  const rest = changes.filter((each) => !replaces(each, change));
  if (change.action === "scale" && change.factor === 1) return rest;
  return rest.length < MOST ? [...rest, change] : changes;
}

/** What was made of that part, if anything. @type {(changes: Change[], place: string, part: Part, channel: number | null) => Change | undefined} */
export const changeOf = (changes, place, part, channel) => changes.find((each) => replaces(each, { ...OFF, place, part, channel }));

/** What was done, in a few words. @type {(change: Change) => string} */
export function changeText({ place, part, channel, action, factor, other }) {
  if (action === "swap") return `${place} and ${other} swapped`;
  const what = [part === "output" ? "" : part, channel === null ? "" : `channel ${channel}`].filter(Boolean).join(", ");
  const done = action === "mean" ? "mean" : factor === 0 ? "off" : `× ${formatFactor(factor)}`;
  return `${place}: ${what ? `${what} ` : ""}${done}`;
}

/** With a minus as it is printed. @type {(factor: number) => string} */
export const formatFactor = (factor) => String(factor).replace("-", "−");

/** What was changed of a layer or inside of it. @type {(changes: Change[], layer: string) => Change[]} */
export const changesIn = (changes, layer) =>
  changes.filter(({ place, other }) => [place, other].some((each) => each === layer || each.startsWith(`${layer}.`)));
