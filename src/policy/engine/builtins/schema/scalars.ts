import { partsOf } from '../../values/decimals.ts';
import { compareValues, numberText, type RegoNumber } from '../../values/values.ts';
import type { BuiltinContext } from '../builtin.ts';
import { matchesPattern } from '../regex/regex.ts';
import { printBig } from './messages.ts';
import type { SchemaNode } from './node.ts';
import type { Outcome, Place } from './outcome.ts';

/** 1.0 and 1e2 are. */
export function isInteger(value: RegoNumber): boolean {
  return typeof value !== 'object' || partsOf(value.text).exponent >= 0;
}

export function validateNumber(node: SchemaNode, value: RegoNumber, outcome: Outcome, place: Place): void {
  const { multipleOf, minimum, exclusiveMinimum, maximum, exclusiveMaximum } = node;
  if (multipleOf !== undefined && !outcome.pays(() => isMultiple(value, multipleOf), value, multipleOf))
    outcome.add('multiple_of', place, `Must be a multiple of ${printBig(multipleOf)}`);
  if (maximum !== undefined && compareValues(value, maximum) > 0)
    outcome.add('number_lte', place, `Must be less than or equal to ${printBig(maximum)}`);
  if (exclusiveMaximum !== undefined && compareValues(value, exclusiveMaximum) >= 0)
    outcome.add('number_lt', place, `Must be less than ${printBig(exclusiveMaximum)}`);
  if (minimum !== undefined && compareValues(value, minimum) < 0)
    outcome.add('number_gte', place, `Must be greater than or equal to ${printBig(minimum)}`);
  if (exclusiveMinimum !== undefined && compareValues(value, exclusiveMinimum) <= 0)
    outcome.add('number_gt', place, `Must be greater than ${printBig(exclusiveMinimum)}`);
  outcome.score += 1;
}

/** Exactly, and without writing out what has a large exponent. */
function isMultiple(value: RegoNumber, multiple: RegoNumber): boolean {
  const [a, b] = [partsOf(numberText(value)), partsOf(numberText(multiple))];
  if (a.digits === '') return true;
  const exponent = a.exponent - b.exponent;
  const divisor = BigInt(b.digits);
  if (exponent >= 0) return (BigInt(a.digits) * powerOfTen(exponent, divisor)) % divisor === 0n;
  // Its last digit is not zero, so that no power of ten divides it.
  return false;
}

function powerOfTen(exponent: number, modulus: bigint): bigint {
  let [result, base] = [1n % modulus, 10n % modulus];
  for (let rest = exponent; rest > 0; rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) result = (result * base) % modulus;
    base = (base * base) % modulus;
  }
  return result;
}

export function validateText(
  context: BuiltinContext,
  { minLength, maxLength, pattern }: SchemaNode,
  value: string,
  outcome: Outcome,
  place: Place,
): void {
  if (minLength !== undefined || maxLength !== undefined) {
    context.spend(value.length * 20);
    let length = 0n;
    for (const _ of value) length += 1n;
    if (minLength !== undefined && length < minLength)
      outcome.add('string_gte', place, `String length must be greater than or equal to ${minLength}`);
    if (maxLength !== undefined && length > maxLength)
      outcome.add('string_lte', place, `String length must be less than or equal to ${maxLength}`);
  }
  if (pattern !== undefined && !matchesPattern(pattern, value, context))
    outcome.add('pattern', place, `Does not match pattern '${pattern}'`);
  outcome.score += 1;
}
