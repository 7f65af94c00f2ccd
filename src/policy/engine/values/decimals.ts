/**
 * Numbers as decimal digits, so that two of them are compared exactly, whatever their size and however each is written
 * (OPA's NumberCompare): 1, 1.0 and 10e-1 are one number.
 */
export interface DecimalParts {
  readonly negative: boolean;
  /** Without zeros at either end; empty for zero. */
  readonly digits: string;
  /** The value is digits × 10^exponent. */
  readonly exponent: number;
}

const zero: DecimalParts = { negative: false, digits: '', exponent: 0 };
const form = /^([-+]?)(\d*)\.?(\d*)(?:[eE]([-+]?\d+))?$/;

/** @param text an integer, or digits with a fraction and an exponent */
export function partsOf(text: string): DecimalParts {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = form.exec(text) ?? [];
  const all = whole + fraction;
  let [start, end] = [0, all.length];
  while (all.charCodeAt(start) === 0x30) start += 1;
  if (start === end) return zero;
  while (all.charCodeAt(end - 1) === 0x30) end -= 1;
  return {
    negative: sign === '-',
    digits: all.slice(start, end),
    exponent: Number(exponent) - fraction.length + (all.length - end),
  };
}

/** Integers of more digits are written as digits and exponent: 1e30000 must not become 30,000 characters. */
const longestPlain = 21;

/** Equal for equal numbers. Integers of up to 21 digits are as ever. */
export function canonicalText(text: string): string {
  const { negative, digits, exponent } = partsOf(text);
  if (digits === '') return '0';
  const sign = negative ? '-' : '';
  if (exponent >= 0 && digits.length + exponent <= longestPlain)
    return sign + digits.padEnd(digits.length + exponent, '0');
  return `${sign}${digits}e${exponent}`;
}

export function compareParts(a: DecimalParts, b: DecimalParts): number {
  if (a.digits === '' || b.digits === '') return signOf(a) - signOf(b);
  if (a.negative !== b.negative) return a.negative ? -1 : 1;
  const magnitudes = compareMagnitudes(a, b);
  return a.negative ? -magnitudes : magnitudes;
}

function signOf({ negative, digits }: DecimalParts): number {
  if (digits === '') return 0;
  return negative ? -1 : 1;
}

/** By the place of the first digit, then digit by digit. */
function compareMagnitudes(a: DecimalParts, b: DecimalParts): number {
  const places = a.digits.length + a.exponent - (b.digits.length + b.exponent);
  if (places !== 0) return Math.sign(places);
  if (a.digits === b.digits) return 0;
  return a.digits < b.digits ? -1 : 1;
}

/** The integer of that value; undefined if it has a fraction. */
export function integerOf({ negative, digits, exponent }: DecimalParts): bigint | undefined {
  if (digits === '') return 0n;
  if (exponent < 0) return undefined;
  const size = BigInt(digits) * 10n ** BigInt(exponent);
  return negative ? -size : size;
}
