import { unitsOfDigits } from '../../values/parse.ts';
import { Decimal, type RegoNumber, type Value } from '../../values/values.ts';
import {
  type BuiltinContext,
  BuiltinError,
  type BuiltinTable,
  fromBigInt,
  integer,
  text,
} from '../builtin.ts';
import { fromInteger, multiply, parseFloat64, truncated } from './bigfloat.ts';
import { isInRange } from './literals.ts';
import { drawBelow } from './random.ts';

/** Fuel units of an element of a range (measured, 100 ns), and of a draw: up to 4 µs for the digest it is made of. */
const unitsPerElement = 400;
const unitsPerDraw = 4_000;
/** Fuel units of an amount with a unit, and per power of ten of its exponent: measured, 80 µs for `1e4000m`. */
const unitsPerAmount = 2_000;
const unitsPerPower = 25;
/** Ten to the millionth is legal there and of no use; OPA takes minutes for sums of them. */
const largestPower = 32_768;

/** Exact fractions: units must not round where OPA's do not. */
interface Ratio {
  readonly numerator: bigint;
  readonly denominator: bigint;
}

export const numberBuiltins: BuiltinTable = {
  'numbers.range': ([from, to], context) => range(integer(from), integer(to), 1n, context),
  'numbers.range_step': ([from, to, step], context) => {
    const [first, last, by] = [integer(from), integer(to), integer(step)];
    if (by <= 0n) throw new BuiltinError('step must be a positive integer');
    return range(first, last, by, context);
  },
  'rand.intn': ([key, limit], context) => {
    context.spend(unitsPerDraw);
    const bound = integer(limit);
    const size = bound < 0n ? -bound : bound;
    // It is written, and divided by.
    context.spend(unitsOfDigits(size.toString(16).length * 1.25));
    return size === 0n ? 0 : fromBigInt(drawBelow(size, context.seed, text(key)));
  },
  'units.parse': ([value], context) => parseUnits(paidFor(text(value), context)),
  'units.parse_bytes': ([value], context) => parseBytes(paidFor(text(value), context)),
};

function range(first: bigint, last: bigint, by: bigint, context: BuiltinContext): Value {
  const distance = last < first ? first - last : last - first;
  context.spend(Number(distance / by) * unitsPerElement);
  const elements: Value[] = [];
  for (let offset = 0n; offset <= distance; offset += by)
    elements.push(fromBigInt(last < first ? first - offset : first + offset));
  return elements;
}

/** Digits are read and written again, with as many more as the exponent says. */
function paidFor(value: string, context: BuiltinContext): string {
  const exponent = Math.min(Number(/[eE][+-]?(\d{1,7})/.exec(value)?.[1] ?? 0), largestPower);
  context.spend(unitsPerAmount + 2 * unitsOfDigits(value.length + exponent) + exponent * unitsPerPower);
  return value;
}

const powers = ['k', 'm', 'g', 't', 'p', 'e'];
const byteUnits = new Map<string, bigint>([['', 1n]]);
/** The letter's case matters for `m` only: milli, or mega. */
const siUnits = new Map<string, bigint>([['', 1n]]);
for (const [index, letter] of powers.entries()) {
  const [decimal, binary] = [1000n ** BigInt(index + 1), 1024n ** BigInt(index + 1)];
  for (const unit of [letter, `${letter}b`]) byteUnits.set(unit, decimal);
  for (const unit of [`${letter}i`, `${letter}ib`]) byteUnits.set(unit, binary);
  for (const first of [letter, letter.toUpperCase()]) siUnits.set(`${first}i`, binary).set(first, decimal);
}
/** Go multiplies by the float64 nearest to 0.001, exactly. */
const milli: Ratio = { numerator: 1_152_921_504_606_847n, denominator: 1n << 60n };

function parseBytes(raw: string): RegoNumber {
  const [amount, unit] = splitUnit(raw.toLowerCase().replaceAll('"', ''));
  const factor = byteUnits.get(unit);
  if (factor === undefined) throw new BuiltinError('byte unit not recognized');
  if (!isAmount(amount)) throw new BuiltinError('could not parse byte amount to a number');
  return fromBigInt(truncated(multiply(parseFloat64(amount), fromInteger(factor))));
}

function parseUnits(raw: string): RegoNumber {
  const [amount, written] = splitUnit(raw.replaceAll('"', ''));
  const unit = written.slice(0, 1) + written.slice(1).toLowerCase();
  const value = parseAmount(amount);
  const factor = siUnits.get(unit);
  if (unit === 'm')
    return fromRatio(value.numerator * milli.numerator, value.denominator * milli.denominator);
  if (factor === undefined) throw new BuiltinError('unit not recognized');
  return fromRatio(value.numerator * factor, value.denominator);
}

/** The number at the front, with an exponent of up to six digits, and what follows. */
function splitUnit(value: string): [amount: string, unit: string] {
  if (value.includes(' ')) throw new BuiltinError('spaces not allowed in resource strings');
  const amount = /^(?:[0-9.+-]|[eE][+-]?(?=[0-9+-]))*/.exec(value)?.[0] ?? '';
  if (amount === '') throw new BuiltinError('no amount provided');
  if (/[eE][+-]?\d{7}/.test(amount)) throw new BuiltinError('exponent too large');
  return [amount, value.slice(amount.length)];
}

function isAmount(amount: string): boolean {
  return /^[-+]?(?=\.?\d)\d*\.?\d*(?:[eE][-+]?\d+)?$/.test(amount) && isInRange(amount);
}

function parseAmount(amount: string): Ratio {
  const [, sign, whole = '', fraction = '', exponent = '0'] =
    /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/.exec(amount) ?? [];
  if (whole + fraction === '') throw new BuiltinError('could not parse amount to a number');
  const power = Number(exponent) - fraction.length;
  if (Math.abs(power) > largestPower) throw new BuiltinError('exponent too large');
  const digits = BigInt(whole + fraction) * (sign === '-' ? -1n : 1n);
  return power >= 0
    ? { numerator: digits * 10n ** BigInt(power), denominator: 1n }
    : { numerator: digits, denominator: 10n ** BigInt(-power) };
}

/** An integer, or ten places rounded half away from zero, as big.Rat's FloatString. */
function fromRatio(numerator: bigint, denominator: bigint): RegoNumber {
  if (numerator % denominator === 0n) return fromBigInt(numerator / denominator);
  const size = numerator < 0n ? -numerator : numerator;
  const scaled = (size * 20_000_000_000n + denominator) / (denominator * 2n);
  const digits = scaled.toString().padStart(11, '0');
  return new Decimal(`${numerator < 0n ? '-' : ''}${digits.slice(0, -10)}.${digits.slice(-10)}`);
}
