import { Decimal, numberOf, type RegoNumber } from '../../values/numbers.ts';
import { type BigFloat, bitLength, isInteger } from './bigfloat.ts';
import { type DecimalDigits, formats, roundDigits, trimDigits } from './floats.ts';

/** The number that OPA makes of a big.Float: the fewest digits that read back the same at its precision. */
export function toNumber(value: BigFloat): RegoNumber {
  const sign = value.negative ? '-' : '';
  const verb = isInteger(value) ? 'f' : 'g';
  const text = sign + formats[verb](shortestOf(value), undefined);
  return verb === 'f' ? numberOf(text) : new Decimal(text);
}

/** Go's roundShortest: digits are given up as soon as neither neighbour, half a unit away, has the same. */
function shortestOf({ mantissa, exponent, precision }: BigFloat): DecimalDigits {
  if (mantissa === 0n) return { digits: '', point: 0 };
  const decimal = exactDigits(mantissa, exponent);
  const shift = precision + 1 - bitLength(mantissa);
  const scaled = mantissa << BigInt(shift);
  const lower = exactDigits(scaled - 1n, exponent - shift).digits;
  const upper = exactDigits(scaled + 1n, exponent - shift).digits;
  const inclusive = (scaled & 2n) === 0n;
  const at = (digits: string, index: number) => digits.charCodeAt(index) || 0x30;
  for (let index = 0; index < decimal.digits.length; index += 1) {
    const [low, mid, high] = [at(lower, index), at(decimal.digits, index), at(upper, index)];
    const isDown = low !== mid || (inclusive && index + 1 === lower.length);
    const isUp = mid !== high && (inclusive || mid + 1 < high || index + 1 < upper.length);
    if (isDown && isUp) return roundDigits(decimal, index + 1);
    if (isDown) return cut(decimal, index + 1);
    if (isUp) return raise(decimal, index + 1);
  }
  return decimal;
}

function exactDigits(mantissa: bigint, exponent: number): DecimalDigits {
  const whole = exponent >= 0 ? mantissa << BigInt(exponent) : mantissa * 5n ** BigInt(-exponent);
  const digits = whole.toString();
  return trimDigits(digits, digits.length + Math.min(exponent, 0));
}

function cut({ digits, point }: DecimalDigits, count: number): DecimalDigits {
  return trimDigits(digits.slice(0, count), point);
}

function raise({ digits, point }: DecimalDigits, count: number): DecimalDigits {
  if (count >= digits.length) return { digits, point };
  const raised = (BigInt(digits.slice(0, count)) + 1n).toString();
  return trimDigits(raised, raised.length > count ? point + 1 : point);
}
