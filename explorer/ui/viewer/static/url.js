// What the viewer keeps in the fragment of the address: the selection that needs no run of the page.

/** @type {Readonly<LayerSelection>} */
export const DEFAULTS = Object.freeze({
  layer: null,
  channel: null,
  scope: "layer",
  opacity: 70,
  evidence: "positive",
  at: null,
  field: "theoretical",
  rows: null,
});
const AT = /^(probabilities|([A-Za-z0-9][A-Za-z0-9_.-]{0,79}:)?[0-9]{1,6}(,[0-9]{1,6}){0,3})$/;
const ROWS = /^[a-z]{1,20}(,[a-z]{1,20}){0,11}$/;
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$/;

/** @type {(text: string | null, highest: number) => number | null} */
function wholeNumber(text, highest) {
  return text !== null && /^[0-9]{1,6}$/.test(text) && Number(text) <= highest ? Number(text) : null;
}

/**
 * The selection that a fragment means; what cannot be read takes its default, so any old link shows something.
 * @type {(fragment: string) => LayerSelection}
 */
export function parseFragment(fragment) {
  const given = new URLSearchParams(fragment.replace(/^#/, ""));
  const layer = given.get("layer");
  const scope = given.get("scope");
  const at = given.get("at");
  const rows = given.get("rows");
  return {
    layer: layer !== null && NAME.test(layer) ? layer : DEFAULTS.layer,
    channel: wholeNumber(given.get("channel"), 100_000),
    scope: scope === "network" || scope === "both" ? scope : DEFAULTS.scope,
    opacity: wholeNumber(given.get("opacity"), 100) ?? DEFAULTS.opacity,
    evidence: given.get("evidence") === "signed" ? "signed" : DEFAULTS.evidence,
    at: at !== null && AT.test(at) ? at : DEFAULTS.at,
    field: given.get("field") === "effective" ? "effective" : DEFAULTS.field,
    rows: rows !== null && ROWS.test(rows) ? rows : DEFAULTS.rows,
  };
}

/** Whether the fragment shows the contact sheet. @type {(fragment: string) => boolean} */
export const showsSheet = (fragment) => new URLSearchParams(fragment.replace(/^#/, "")).get("sheet") === "open";

/** "" where everything is as by default. @type {(selection: LayerSelection, sheet?: boolean) => string} */
export function formatFragment(selection, sheet = false) {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(selection)) {
    if (value !== DEFAULTS[/** @type {keyof LayerSelection} */ (name)] && value !== null) given.set(name, String(value));
  }
  if (sheet) given.set("sheet", "open");
  const text = given.toString().replaceAll("%2C", ",").replaceAll("%3A", ":"); // a place that can be read
  return text && `#${text}`;
}

/**
 * The address of the page of one channel of the network at place `which`, with the pair and the picture of the view, and
 * what is changed of both, which Explore gets back from there.
 * @type {(view: View, layer: string, channel: number, which: number) => string}
 */
export function unitAddress({ networks, picture, frame, paper, target, dials, change, attack }, layer, channel, which) {
  const given = { first: networks[0], second: networks[1] ?? "none", picture, frame, paper, target, dials, change, attack };
  const unit = { question: "unit", layer, channel, network: which ? "second" : "first" };
  const fields = Object.entries({ ...given, ...unit }).filter(([, value]) => value !== null && value !== "");
  return `experiments?${new URLSearchParams(fields.map(([name, value]) => [name, String(value)]))}`;
}
