import { formatFloat } from '../numbers/floats.ts';
import { type Directive, pad } from './padding.ts';

/** The format and its usual precision; undefined is as many digits as it takes. */
const verbs: Readonly<Record<string, readonly [format: string, precision: number | undefined]>> = {
  v: ['g', undefined],
  g: ['g', undefined],
  G: ['G', undefined],
  e: ['e', 6],
  E: ['E', 6],
  f: ['f', 6],
  F: ['f', 6],
  b: ['b', undefined],
  x: ['x', undefined],
  X: ['X', undefined],
};

/** A float64 as Go's fmt has it; undefined for a verb that is none of its. */
export function formatNumber(verb: string, value: number, directive: Directive): string | undefined {
  const found = verbs[verb];
  if (!found) return undefined;
  const [format, usual] = found;
  const precision = directive.precision ?? usual;
  let digits = write(Math.abs(value), format, precision);
  if (directive.sharp && format !== 'b') digits = withPoint(digits, format, precision);
  const isNegative = value < 0 || Object.is(value, -0);
  const sign = isNegative ? '-' : directive.plus ? '+' : directive.space ? ' ' : '';
  // Zeros are behind the sign, but for a space alone, which is padded like the rest.
  if ((directive.plus || sign !== '') && directive.zero && !directive.minus && directive.width !== undefined)
    return sign + digits.padStart(directive.width - sign.length, '0');
  return pad(sign + digits, directive);
}

function write(magnitude: number, format: string, precision: number | undefined): string {
  if (format === 'b') return inBinary(magnitude);
  if (format === 'x') return inHexadecimal(magnitude, precision);
  if (format === 'X') return inHexadecimal(magnitude, precision).toUpperCase();
  const lower = format.toLowerCase() as 'e' | 'f' | 'g';
  const digits = formatFloat(magnitude, lower, precision);
  return lower === format ? digits : digits.toUpperCase();
}

/** What `#` asks for: a decimal point, and for some formats the zeros behind it. */
function withPoint(digits: string, format: string, precision: number | undefined): string {
  const isHexadecimal = format === 'x' || format === 'X';
  const tailAt = digits.search(isHexadecimal ? /[pP]/ : /[eEpP]/);
  const [front, tail] = tailAt < 0 ? [digits, ''] : [digits.slice(0, tailAt), digits.slice(tailAt)];
  let wanted = 'gGx'.includes(format) ? (precision ?? 6) : 0;
  let isSignificant = false;
  for (const digit of front.replace('.', '')) {
    if (digit !== '0') isSignificant = true;
    if (isSignificant) wanted -= 1;
  }
  if (front === '0') wanted -= 1;
  return `${front}${front.includes('.') ? '' : '.'}${'0'.repeat(Math.max(wanted, 0))}${tail}`;
}

function partsOf(magnitude: number): { mantissa: bigint; exponent: number } {
  const bits = new DataView(new ArrayBuffer(8));
  bits.setFloat64(0, magnitude);
  const word = bits.getBigUint64(0);
  const biased = Number(word >> 52n);
  const fraction = word & 0xfffffffffffffn;
  return {
    mantissa: biased === 0 ? fraction : fraction | (1n << 52n),
    exponent: Math.max(biased, 1) - 1023,
  };
}

/** `4503599627370496p-52` */
function inBinary(magnitude: number): string {
  const { mantissa, exponent } = partsOf(magnitude);
  const power = exponent - 52;
  return `${mantissa}p${power >= 0 ? '+' : ''}${power}`;
}

/** `0x1.8p+01` */
function inHexadecimal(magnitude: number, precision: number | undefined): string {
  const { mantissa, exponent } = partsOf(magnitude);
  const top = 1n << 60n;
  let [value, power] = [mantissa << 8n, mantissa === 0n ? 0 : exponent];
  while (value !== 0n && value < top) {
    value <<= 1n;
    power -= 1;
  }
  if (precision !== undefined && precision < 15) {
    const cut = BigInt(60 - precision * 4);
    const kept = value >> cut;
    const rest = value - (kept << cut);
    const half = 1n << (cut - 1n);
    value = (rest > half || (rest === half && kept % 2n === 1n) ? kept + 1n : kept) << cut;
    if (value >= top << 1n) {
      value >>= 1n;
      power += 1;
    }
  }
  const all = (value & (top - 1n)).toString(16).padStart(15, '0');
  const fraction =
    precision === undefined ? all.replace(/0+$/, '') : all.slice(0, precision).padEnd(precision, '0');
  const size = String(Math.abs(power)).padStart(2, '0');
  return `0x${value >> 60n}${fraction === '' ? '' : `.${fraction}`}p${power < 0 ? '-' : '+'}${size}`;
}
