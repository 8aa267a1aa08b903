// What the viewer keeps in the fragment of the address: the selection that needs no run of the page.

/**
 * @typedef {object} Selection
 * @property {string | null} layer null: the default layer of the networks
 * @property {number | null} channel
 * @property {import("./colors.js").Scope} scope
 * @property {number} opacity per cent, 0..100
 */

/** @type {Readonly<Selection>} */
export const DEFAULTS = Object.freeze({ layer: null, channel: null, scope: "layer", opacity: 70 });
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$/;

/**
 * @param {string | null} text
 * @param {number} highest
 */
function wholeNumber(text, highest) {
  return text !== null && /^[0-9]{1,6}$/.test(text) && Number(text) <= highest ? Number(text) : null;
}

/**
 * The selection that a fragment means; what cannot be read takes its default, so any old link shows something.
 * @param {string} fragment with or without "#"
 * @returns {Selection}
 */
export function parseFragment(fragment) {
  const given = new URLSearchParams(fragment.replace(/^#/, ""));
  const layer = given.get("layer");
  const scope = given.get("scope");
  return {
    layer: layer !== null && NAME.test(layer) ? layer : DEFAULTS.layer,
    channel: wholeNumber(given.get("channel"), 100_000),
    scope: scope === "network" || scope === "both" ? scope : DEFAULTS.scope,
    opacity: wholeNumber(given.get("opacity"), 100) ?? DEFAULTS.opacity,
  };
}

/**
 * @param {Selection} selection
 * @returns {string} "" where everything is as by default
 */
export function formatFragment(selection) {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(selection)) {
    if (value !== DEFAULTS[/** @type {keyof Selection} */ (name)] && value !== null) given.set(name, String(value));
  }
  const text = given.toString();
  return text && `#${text}`;
}
