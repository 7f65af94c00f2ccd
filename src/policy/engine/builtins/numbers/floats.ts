/**
 * Floating point numbers as Go's strconv.FormatFloat prints them: correctly rounded, ties to even.
 * JavaScript's own toFixed and toExponential round ties up and change their notation at 1e21.
 */

/** 0.d₁d₂d₃… × 10^point, without trailing zeros; no digits are zero. */
export interface DecimalDigits {
  readonly digits: string;
  readonly point: number;
}

/** How Go prints a float by a verb of fmt; precision undefined is the shortest text that reads back the same. */
export function formatFloat(value: number, verb: 'e' | 'f' | 'g', precision: number | undefined): string {
  if (Number.isNaN(value)) return 'NaN';
  const sign = value < 0 || Object.is(value, -0) ? '-' : '';
  const magnitude = Math.abs(value);
  if (magnitude === Number.POSITIVE_INFINITY) return `${sign || '+'}Inf`;
  return sign + formats[verb](precision === undefined ? shortest(magnitude) : exact(magnitude), precision);
}

export const formats = {
  f: (decimal: DecimalDigits, precision: number | undefined): string => {
    const places = precision ?? Math.max(decimal.digits.length - decimal.point, 0);
    return fixed(precision === undefined ? decimal : roundDigits(decimal, decimal.point + places), places);
  },
  e: (decimal: DecimalDigits, precision: number | undefined): string => {
    const places = precision ?? Math.max(decimal.digits.length - 1, 0);
    return exponential(precision === undefined ? decimal : roundDigits(decimal, places + 1), places);
  },
  g: (decimal: DecimalDigits, precision: number | undefined): string => {
    const wanted = precision === 0 ? 1 : precision;
    const rounded = wanted === undefined ? decimal : roundDigits(decimal, wanted);
    const { digits, point } = rounded;
    let limit = wanted ?? 6;
    if (wanted !== undefined && wanted > digits.length && digits.length >= point) limit = digits.length;
    const exponent = point - 1;
    if (exponent < -4 || exponent >= limit) return exponential(rounded, Math.max(digits.length - 1, 0));
    return fixed(rounded, Math.max(digits.length - point, 0));
  },
} as const;

function fixed({ digits, point }: DecimalDigits, places: number): string {
  const whole = point > 0 ? digits.slice(0, point).padEnd(point, '0') : '0';
  if (places === 0) return whole;
  const fraction = point >= 0 ? digits.slice(point) : '0'.repeat(Math.min(-point, places)) + digits;
  return `${whole}.${fraction.slice(0, places).padEnd(places, '0')}`;
}

function exponential({ digits, point }: DecimalDigits, places: number): string {
  const exponent = digits === '' ? 0 : point - 1;
  const fraction = places > 0 ? `.${digits.slice(1, places + 1).padEnd(places, '0')}` : '';
  const size = String(Math.abs(exponent)).padStart(2, '0');
  return `${digits[0] ?? '0'}${fraction}e${exponent < 0 ? '-' : '+'}${size}`;
}

function shortest(magnitude: number): DecimalDigits {
  const [mantissa = '', exponent = '0'] = magnitude.toExponential().split('e');
  return trimDigits(mantissa.replace('.', ''), Number(exponent) + 1);
}

/** Every double is m × 2^e, and m × 2^-e is m × 5^e / 10^e: its decimal digits end. */
function exact(magnitude: number): DecimalDigits {
  const bits = new DataView(new ArrayBuffer(8));
  bits.setFloat64(0, magnitude);
  const word = bits.getBigUint64(0);
  const biased = Number(word >> 52n);
  const fraction = word & 0xfffffffffffffn;
  const mantissa = biased === 0 ? fraction : fraction | (1n << 52n);
  const exponent = Math.max(biased, 1) - 1075;
  const whole = exponent >= 0 ? mantissa << BigInt(exponent) : mantissa * 5n ** BigInt(-exponent);
  const digits = whole.toString();
  return trimDigits(digits, digits.length + Math.min(exponent, 0));
}

export function trimDigits(digits: string, point: number): DecimalDigits {
  const trimmed = digits.replace(/0+$/, '');
  return trimmed === '' ? { digits: '', point: 0 } : { digits: trimmed, point };
}

/** To `count` digits, ties to the even digit. */
export function roundDigits(decimal: DecimalDigits, count: number): DecimalDigits {
  const { digits, point } = decimal;
  if (count >= digits.length) return decimal;
  if (count < 0) return { digits: '', point: 0 };
  const next = digits.charCodeAt(count) - 0x30;
  const isTie = next === 5 && count + 1 === digits.length;
  const isOdd = count > 0 && digits.charCodeAt(count - 1) % 2 === 1;
  const kept = digits.slice(0, count);
  if (next < 5 || (isTie && !isOdd)) return trimDigits(kept, point);
  const raised = (BigInt(kept || '0') + 1n).toString();
  return trimDigits(raised, raised.length > count ? point + 1 : point);
}
