import { partsOf } from '../../values/decimals.ts';
import { Decimal, isNumber, numberOf, type RegoNumber } from '../../values/numbers.ts';
import { unitsOfDigits } from '../../values/parse.ts';
import type { Value } from '../../values/values.ts';
import { BuiltinError, type BuiltinTable, fromBigInt } from '../builtin.ts';
import { bitLength, parseFloat64 } from './bigfloat.ts';

/** OPA refuses numbers whose binary exponent is beyond ±100,000, if they are written with an exponent. */
const largestBinaryExponent = 100_000;
const largestDecimalExponent = 30_103;

export function isInRange(text: string): boolean {
  if (!/[eE]/.test(text)) return true;
  const { digits, exponent } = partsOf(text);
  if (digits === '') return true;
  const place = digits.length + exponent;
  if (Math.abs(place) < largestDecimalExponent - 2) return true;
  if (Math.abs(place) > largestDecimalExponent + 2) return false;
  const { mantissa, exponent: power } = parseFloat64(`${digits}e${exponent}`);
  return Math.abs(bitLength(mantissa) + power) <= largestBinaryExponent;
}

/** What Go's strconv.ParseFloat reads; the groups are the whole, the fraction and the power. */
const decimal = /^[-+]?(?=\.?\d)(?:\d+(?:_\d+)*)?\.?(?:\d+(?:_\d+)*)?(?:[eE][-+]?\d+(?:_\d+)*)?$/;
const hexadecimal =
  /^([-+]?)0[xX]((?:_?[0-9a-fA-F]+)*)\.?((?:[0-9a-fA-F]+(?:_[0-9a-fA-F]+)*)?)[pP]([-+]?\d+(?:_\d+)*)$/;

/** Whether Go's strconv.ParseFloat reads it, hexadecimal ones aside. */
export function isFloatText(text: string): boolean {
  return decimal.test(text);
}

/** Fuel units of a text that is read as a number. */
const unitsPerText = 1_000;

export const literalBuiltins: BuiltinTable = {
  to_number: ([value], context) => {
    if (value === null || typeof value === 'boolean') return Number(value);
    if (typeof value !== 'string') {
      if (isNumber(value)) return value;
      throw new BuiltinError('no number can be made of it');
    }
    context.spend(unitsPerText + unitsOfDigits(value.length) + value.length);
    return read(value);
  },
};

/** OPA keeps the text, even where it is none of JSON's numbers (`007`, `+1`, `0x1p4`); here it is the number that it stands for. */
function read(value: string): Value {
  const number = decimal.test(value) ? fromDecimal(value.replaceAll('_', '')) : fromHexadecimal(value);
  if (number === undefined || !Number.isFinite(floatOf(number))) throw new BuiltinError('not a number');
  return number;
}

function floatOf(number: RegoNumber): number {
  return number instanceof Decimal ? number.float : Number(number);
}

function fromDecimal(value: string): RegoNumber | undefined {
  const [, sign = '', whole = '', rest = ''] = /^([-+]?)0*(\d*)(.*)$/.exec(value) ?? [];
  const text = `${sign === '-' ? '-' : ''}${whole || '0'}${rest.replace(/^\.(?=$|[eE])/, '')}`;
  return isInRange(text) ? numberOf(text) : undefined;
}

function fromHexadecimal(value: string): RegoNumber | undefined {
  const [, sign, whole = '', fraction = '', power = '0'] = hexadecimal.exec(value) ?? [];
  const digits = (whole + fraction).replaceAll('_', '');
  const exponent = Number(power.replaceAll('_', '')) - fraction.replaceAll('_', '').length * 4;
  // A float64 ends at 2^1024.
  if (sign === undefined || digits === '' || Math.abs(exponent) > 2_000 + digits.length * 4) return undefined;
  const size = BigInt(`0x${digits}`) * (sign === '-' ? -1n : 1n);
  if (exponent >= 0) return fromBigInt(size << BigInt(exponent));
  const scaled = size * 5n ** BigInt(-exponent);
  return scaled === 0n
    ? 0
    : scaled % 10n ** BigInt(-exponent) === 0n
      ? fromBigInt(scaled / 10n ** BigInt(-exponent))
      : new Decimal(`${scaled}e${exponent}`);
}
