// Places along an axis.

/** Round numbers from `low` to `high`, about `most` of them. @type {(low: number, high: number, most: number) => number[]} */
export function ticks(low, high, most) {
  const rough = (high - low) / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10) * power;
  const found = [];
  for (let count = Math.ceil(low / step - 1e-9); count * step <= high + step * 1e-9; count += 1) {
    found.push(Number((count * step).toPrecision(12)));
  }
  return found;
}

/** Where in `sorted` the number nearest to `value` stands. @type {(sorted: number[], value: number) => number} */
export function nearest(sorted, value) {
  let [low, high] = [0, sorted.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle;
    else high = middle;
  }
  return Math.abs(sorted[high] - value) < Math.abs(sorted[low] - value) ? high : low;
}

/** How many of the steps, which are in order, are not behind `until`. @type {(steps: number[], until: number) => number} */
export const reached = (steps, until) => steps.findLastIndex((step) => step <= until) + 1;
