import { unitsOfDigits } from '../../values/parse.ts';
import { Decimal, numberText, type RegoNumber, RegoSet } from '../../values/values.ts';
import {
  type Builtin,
  type BuiltinContext,
  BuiltinError,
  type BuiltinTable,
  fromBigInt,
  int64In,
  integerIn,
  number,
  set,
} from '../builtin.ts';
import { difference } from '../collections/sets.ts';
import {
  add,
  type BigFloat,
  divide,
  fromInteger,
  multiply,
  negated,
  parseFloat64,
  truncated,
} from './bigfloat.ts';
import { toNumber } from './shortest.ts';

/**
 * OPA's arithmetic (topdown/arithmetic.go): exact on integers however they are written, and elsewhere on big.Float,
 * so that 0.1 + 0.2 is 0.3.
 */
interface Operation {
  readonly exact?: (a: bigint, b: bigint) => bigint;
  readonly float?: (a: BigFloat, b: BigFloat) => BigFloat;
}

/** Fuel units of a calculation that is not one of small integers: measured, 2 µs to read, calculate and write. */
const unitsPerFloat = 6_000;

const plus: Operation = { exact: (a, b) => a + b, float: add };
const minus: Operation = { exact: (a, b) => a - b, float: (a, b) => add(a, negated(b)) };
const times: Operation = { exact: (a, b) => a * b, float: multiply };
const quotient: Operation = {
  float: (a, b) => {
    if (b.mantissa === 0n) throw new BuiltinError('divide by zero');
    return divide(a, b);
  },
};
const remainder: Operation = {
  exact: (a, b) => {
    if (b === 0n) throw new BuiltinError('modulo by zero');
    return a % b;
  },
};

/** Both within 32 bits: no float of JavaScript rounds then, but for a product. */
function areSmall(a: RegoNumber, b: RegoNumber): boolean {
  return typeof a === 'number' && typeof b === 'number' && isSmall(a) && isSmall(b);
}

function isSmall(value: number): boolean {
  return value >= -0x80000000 && value <= 0x7fffffff;
}

function calculate(operation: Operation, a: RegoNumber, b: RegoNumber, context: BuiltinContext): RegoNumber {
  payFor(a, context);
  payFor(b, context);
  if (operation.exact) {
    const [x, y] = [integerIn(a), integerIn(b)];
    if (x !== undefined && y !== undefined) return fromBigInt(operation.exact(x, y));
  }
  if (!operation.float) throw new BuiltinError('modulo on floating-point number');
  return toNumber(operation.float(floatOf(a), floatOf(b)));
}

export function floatOf(value: RegoNumber): BigFloat {
  return parseFloat64(numberText(value));
}

/** As many digits as are written, and as its exponent stands for. */
export function payFor(value: RegoNumber, context: BuiltinContext): void {
  if (typeof value === 'number') return;
  const text = numberText(value);
  const power = value instanceof Decimal ? Math.abs(Number(/[eE](.*)$/.exec(text)?.[1] ?? 0)) : 0;
  context.spend(unitsPerFloat + 3 * unitsOfDigits(text.length + power));
}

function binary(operation: Operation): Builtin {
  return ([first, second], context) => calculate(operation, number(first), number(second), context);
}

function divideNumbers(a: RegoNumber, b: RegoNumber, context: BuiltinContext): RegoNumber {
  const [x, y] = [int64In(a), int64In(b)];
  if (x !== undefined && y !== undefined && isSmall(Number(x)) && isSmall(Number(y))) {
    if (y === 0n) throw new BuiltinError('divide by zero');
    // A zero dividend may be negative zero.
    if (x !== 0n && x % y === 0n) return Number(x / y);
  }
  return calculate(quotient, a, b, context);
}

function unary(small: (value: number) => number, float: (value: BigFloat) => BigFloat): Builtin {
  return ([operand], context) => {
    const value = number(operand);
    const whole = int64In(value);
    if (whole !== undefined && isSmall(Number(whole))) return small(Number(whole));
    payFor(value, context);
    context.spend(unitsPerFloat);
    return toNumber(float(floatOf(value)));
  };
}

const same = (value: number) => value;
const half: BigFloat = { negative: false, mantissa: 1n, exponent: -1, precision: 53 };
const one: BigFloat = { ...fromInteger(1n), precision: 53 };

/** Half away from zero. */
function round(value: BigFloat): BigFloat {
  return fromInteger(truncated(add(value, value.negative ? negated(half) : half)));
}

function ceil(value: BigFloat): BigFloat {
  const whole = fromInteger(truncated(value));
  // As in OPA, whose zero has no sign here: -0.5 becomes 1.
  return whole.negative || isEqual(value, whole) ? whole : add(whole, one);
}

function floor(value: BigFloat): BigFloat {
  const whole = fromInteger(truncated(value));
  return !whole.negative || isEqual(value, whole) ? whole : add(whole, negated(one));
}

function isEqual(a: BigFloat, b: BigFloat): boolean {
  return add({ ...a, precision: a.precision + b.precision + 64 }, negated(b)).mantissa === 0n;
}

export const arithmeticBuiltins: BuiltinTable = {
  plus: ([a, b], context) =>
    typeof a === 'number' && typeof b === 'number' && areSmall(a, b)
      ? a + b
      : calculate(plus, number(a), number(b), context),
  minus: ([a, b], context) => {
    if (a instanceof RegoSet || b instanceof RegoSet) return difference(set(a), set(b), context);
    if (typeof a === 'number' && typeof b === 'number' && areSmall(a, b)) return a - b;
    return calculate(minus, number(a), number(b), context);
  },
  mul: binary(times),
  div: ([a, b], context) => divideNumbers(number(a), number(b), context),
  rem: binary(remainder),
  abs: unary(Math.abs, (value) => ({ ...value, negative: false })),
  round: unary(same, round),
  ceil: unary(same, ceil),
  floor: unary(same, floor),
};
