// Numbers as text.

/** As Python writes it with ".3g"; null stands for a number that JSON cannot hold. @type {(value: number | null) => string} */
export function formatNumber(value) {
  if (value === null || Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (value === 0) return "0";
  const [digits, power] = value.toExponential(2).split("e");
  const exponent = Number(power);
  if (exponent >= -4 && exponent < 3) return String(Number(value.toPrecision(3)));
  const sign = exponent < 0 ? "-" : "+";
  return `${Number(digits)}e${sign}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

/**
 * A measured number as the charts show it: 1000 and 0.001 stay plain numbers; null where nothing was measured.
 * @type {(value: number | null) => string}
 */
export function formatReading(value) {
  if (value === null) return "not measured";
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size < 1e-3 || size >= 1e4 ? value.toExponential(2) : String(Number(value.toPrecision(3)));
}
