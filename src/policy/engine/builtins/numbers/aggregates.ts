import { unitsOfDigits } from '../../values/parse.ts';
import { compareValues, identity, isNumber, type RegoNumber, type Value } from '../../values/values.ts';
import {
  type BuiltinContext,
  BuiltinError,
  type BuiltinTable,
  fromBigInt,
  integerIn,
  members,
} from '../builtin.ts';
import { floatOf, payFor } from './arithmetic.ts';
import { add, type BigFloat, fromInteger, multiply, parseFloat64 } from './bigfloat.ts';
import { toNumber } from './shortest.ts';

/** Fuel units of an element that is counted, and of one that is compared. */
const unitsPerElement = 60;
const unitsPerComparison = 300;
/** Fuel units per character of what is compared: two texts may be alike for most of their length. */
const unitsPerCompared = 4;

export const aggregateBuiltins: BuiltinTable = {
  sum: ([collection], context) =>
    accumulate(numbers(collection, context), 0n, (a, b) => a + b, parseFloat64('0'), add, context),
  // OPA begins with a float64, whose 53 bits the product keeps.
  product: ([collection], context) =>
    accumulate(
      numbers(collection, context),
      1n,
      (a, b) => a * b,
      { ...fromInteger(1n), precision: 53 },
      multiply,
      context,
    ),
  max: ([collection], context) => last(members(collection), context, (a, b) => a <= b),
  min: ([collection], context) => last(members(collection), context, (a, b) => a >= b),
  sort: ([collection], context) => {
    const elements = members(collection);
    const rounds = Math.ceil(Math.log2(elements.length + 1));
    context.spend(
      (elements.length * unitsPerComparison + sizeOf(elements, context) * unitsPerCompared) * rounds,
    );
    return elements.toSorted(compareValues);
  },
  all: ([collection], context) => paid(members(collection), context).every((element) => element === true),
  any: ([collection], context) => paid(members(collection), context).some((element) => element === true),
};

/** Characters of all of them, as they are written to be told from others. */
function sizeOf(elements: readonly Value[], context: BuiltinContext): number {
  let size = 0;
  for (const element of elements) {
    const length = typeof element === 'string' ? element.length : identity(element).length;
    context.spend(length);
    size += length;
  }
  return size;
}

function paid(elements: readonly Value[], context: BuiltinContext): readonly Value[] {
  context.spend(elements.length * unitsPerElement);
  return elements;
}

function numbers(collection: Value | undefined, context: BuiltinContext): readonly RegoNumber[] {
  return paid(members(collection), context).map((element) => {
    if (!isNumber(element)) throw new BuiltinError('an element is not a number');
    payFor(element, context);
    return element;
  });
}

/** Exact if all are integers; or else all are taken as floats from the start. */
function accumulate(
  elements: readonly RegoNumber[],
  initial: bigint,
  exact: (a: bigint, b: bigint) => bigint,
  initialFloat: BigFloat,
  float: (a: BigFloat, b: BigFloat) => BigFloat,
  context: BuiltinContext,
): RegoNumber {
  let total: bigint | undefined = initial;
  for (const element of elements) {
    const operand = integerIn(element);
    if (operand === undefined) {
      total = undefined;
      break;
    }
    if (operand !== 0n && operand !== 1n) context.spend(unitsOfDigits(digitsOf(total) + digitsOf(operand)));
    total = exact(total, operand);
  }
  if (total !== undefined) return fromBigInt(total);
  let result = initialFloat;
  for (const element of elements) {
    context.spend(unitsPerComparison);
    result = float(result, floatOf(element));
  }
  return toNumber(result);
}

const safe = BigInt(Number.MAX_SAFE_INTEGER);

/** About how many; those of hexadecimal are counted in no time. */
function digitsOf(value: bigint): number {
  return value <= safe && value >= -safe ? 16 : value.toString(16).length * 1.25;
}

/** Of equal elements the last, which may be written differently. */
function last(
  elements: readonly Value[],
  context: BuiltinContext,
  isBetter: (comparison: number, zero: number) => boolean,
): Value | undefined {
  context.spend(elements.length * unitsPerComparison + sizeOf(elements, context) * unitsPerCompared);
  let best = elements[0];
  for (const element of elements)
    if (best !== undefined && isBetter(compareValues(best, element), 0)) best = element;
  return best;
}
