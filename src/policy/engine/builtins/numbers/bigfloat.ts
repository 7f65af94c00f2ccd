/**
 * Binary floating point as Go's big.Float has it, which OPA calculates with: a mantissa of so many bits, 64 unless a
 * value came from elsewhere, rounded to nearest, ties to even.
 */
export interface BigFloat {
  readonly negative: boolean;
  /** 0n is zero. */
  readonly mantissa: bigint;
  /** The value is mantissa × 2^exponent. */
  readonly exponent: number;
  /** The bits that results are rounded to. */
  readonly precision: number;
}

export const usualPrecision = 64;

export function bitLength(value: bigint): number {
  const hexadecimal = value.toString(16);
  return value === 0n
    ? 0
    : hexadecimal.length * 4 - Math.clz32(Number.parseInt(hexadecimal[0] ?? '0', 16)) + 28;
}

/** @param sticky whether more than zero was cut off below the mantissa */
function rounded(
  negative: boolean,
  mantissa: bigint,
  exponent: number,
  precision: number,
  sticky = false,
): BigFloat {
  const excess = bitLength(mantissa) - precision;
  if (excess <= 0) return { negative, mantissa, exponent, precision };
  const shift = BigInt(excess);
  const kept = mantissa >> shift;
  const rest = mantissa - (kept << shift);
  const half = 1n << (shift - 1n);
  const isUp = rest > half || (rest === half && (sticky || kept % 2n === 1n));
  return { negative, mantissa: isUp ? kept + 1n : kept, exponent: exponent + excess, precision };
}

/** At its own precision, or at 64 bits if it fits (Go's SetInt). */
export function fromInteger(value: bigint): BigFloat {
  const mantissa = value < 0n ? -value : value;
  return {
    negative: value < 0n,
    mantissa,
    exponent: 0,
    precision: Math.max(bitLength(mantissa), usualPrecision),
  };
}

/** Of a decimal text: the digits are multiplied by a power of five of 128 bits, and then rounded. */
export function parseFloat64(text: string): BigFloat {
  const [, sign = '', whole = '', fraction = '', power = '0'] =
    /^([-+]?)(\d*)\.?(\d*)(?:[eE]([-+]?\d+))?$/.exec(text) ?? [];
  const negative = sign === '-';
  const mantissa = BigInt(whole + fraction);
  const exponent = Number(power) - fraction.length;
  const precision = usualPrecision;
  if (mantissa === 0n) return { negative, mantissa, exponent: 0, precision };
  if (exponent === 0) return rounded(negative, mantissa, 0, precision);
  const five = powerOfFive(Math.abs(exponent), precision + 64);
  return exponent > 0
    ? rounded(negative, mantissa * five.mantissa, exponent + five.exponent, precision)
    : divided(negative, { mantissa, exponent, negative, precision }, five, precision);
}

/** Go's pow5: exact to the 27th, then by squaring with rounding on the way. */
function powerOfFive(power: number, precision: number): BigFloat {
  const exact = 27;
  let result = { ...fromInteger(5n ** BigInt(Math.min(power, exact))), precision };
  let factor: BigFloat = { ...fromInteger(5n), precision: precision + 64 };
  for (let left = Math.max(power - exact, 0); left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) result = multiply(result, factor);
    factor = multiply(factor, factor);
  }
  return result;
}

export function multiply(a: BigFloat, b: BigFloat): BigFloat {
  return rounded(a.negative !== b.negative, a.mantissa * b.mantissa, a.exponent + b.exponent, a.precision);
}

export function divide(a: BigFloat, b: BigFloat): BigFloat {
  const precision = Math.max(a.precision, b.precision);
  if (a.mantissa === 0n) return { ...a, negative: a.negative !== b.negative, precision };
  return divided(a.negative !== b.negative, a, b, precision);
}

function divided(negative: boolean, a: BigFloat, b: BigFloat, precision: number): BigFloat {
  const shift = Math.max(precision + 2 + bitLength(b.mantissa) - bitLength(a.mantissa), 0);
  const scaled = a.mantissa << BigInt(shift);
  const quotient = scaled / b.mantissa;
  // A bit that says that there is more stands for all below it.
  const sticky = quotient * b.mantissa !== scaled;
  const mantissa = (quotient << 1n) | (sticky ? 1n : 0n);
  return rounded(negative, mantissa, a.exponent - b.exponent - shift - 1, precision);
}

export function add(a: BigFloat, b: BigFloat): BigFloat {
  const precision = Math.max(a.precision, b.precision);
  const exponent = Math.min(
    a.mantissa === 0n ? b.exponent : a.exponent,
    b.mantissa === 0n ? a.exponent : b.exponent,
  );
  const sum = signedAt(a, exponent) + signedAt(b, exponent);
  const negative = sum < 0n || (sum === 0n && a.mantissa === 0n && a.negative && b.negative);
  return rounded(negative, sum < 0n ? -sum : sum, exponent, precision);
}

export function negated(value: BigFloat): BigFloat {
  return { ...value, negative: !value.negative };
}

function signedAt({ negative, mantissa, exponent }: BigFloat, common: number): bigint {
  const size = mantissa === 0n ? 0n : mantissa << BigInt(exponent - common);
  return negative ? -size : size;
}

/** Towards zero. */
export function truncated({ negative, mantissa, exponent }: BigFloat): bigint {
  const size = exponent >= 0 ? mantissa << BigInt(exponent) : mantissa >> BigInt(-exponent);
  return negative ? -size : size;
}

export function isInteger({ mantissa, exponent }: BigFloat): boolean {
  if (exponent >= 0 || mantissa === 0n) return true;
  return (mantissa & ((1n << BigInt(-exponent)) - 1n)) === 0n;
}
