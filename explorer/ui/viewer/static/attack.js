// The attack on an image: its values as text of a link, as `AimedAttack` of explorer/experiments/attacks.py writes it.

export const HIGHEST = 16; // ε in levels of 255
export const LEVEL_STEP = 0.25;
export const PGD_STEPS = 10;

/** @type {Readonly<Attack>} */
export const NO_ATTACK = Object.freeze({ epsilon: 0, steps: 0, seed: 0, second: false, least: false, target: null });

/** What differs from the defaults, as `epsilon4_steps10_second_target3`. @type {(attack: Attack) => string} */
export function attackText({ epsilon, steps, seed, second, least, target }) {
  const numbers = Object.entries({ epsilon: Math.round(epsilon * 1000) / 1000, steps, seed }).filter(([, value]) => value);
  const words = [...(second ? ["second"] : []), ...(least ? ["least"] : []), ...(target === null ? [] : [`target${target}`])];
  return [...numbers.map(([name, value]) => `${name}${value}`), ...words].join("_");
}

/** All values; what cannot be read is as by default. @type {(text: string) => Attack} */
export function attackOf(text) {
  /** @type {Attack} */
  const found = { ...NO_ATTACK };
  for (const part of text.split("_")) {
    if (part === "second" || part === "least") found[part] = true;
    const match = part.match(/^(?:(epsilon)([0-9]+(?:\.[0-9]+)?)|(steps|seed|target)([0-9]+))$/);
    if (match?.[1]) found.epsilon = Math.min(Number(match[2]), HIGHEST);
    else if (match) found[/** @type {"steps" | "seed" | "target"} */ (match[3])] = Number(match[4]);
  }
  return found.least ? { ...found, target: null } : found;
}

/** The aim as the value of an option. @type {(attack: Attack) => string} */
export const aimOf = ({ least, target }) => (least ? "least" : target === null ? "any" : String(target));

/** @type {(attack: Attack, aim: string) => Attack} */
export const withAim = (attack, aim) => ({ ...attack, least: aim === "least", target: /^[0-9]+$/.test(aim) ? Number(aim) : null });

/** The text of an attack for any other class, where the chosen one is not known. @type {(text: string) => string} */
export const withoutTarget = (text) => attackText({ ...attackOf(text), target: null });
