import { integerOf, partsOf } from '../values/decimals.ts';
import {
  isArray,
  isNumber,
  numberText,
  type RegoNumber,
  RegoObject,
  RegoSet,
  type Value,
} from '../values/values.ts';

export { fromBigInt } from '../values/numbers.ts';

/** What a built-in may know beside its arguments; a decision replayed with the same gives the same. */
export interface BuiltinContext {
  /** Milliseconds since the Unix epoch. */
  readonly nowMs: number;
  /** The decision's id, where all randomness comes from. */
  readonly seed: string;
  /**
   * Pays for work that is not in proportion to the bytes of the arguments, before it is done.
   * A unit stands for up to eight WebAssembly instructions: some three are a nanosecond. Does not return when the fuel is gone.
   */
  spend(units: number): void;
}

/** `undefined` makes the call undefined. */
export type Builtin = (args: readonly Value[], context: BuiltinContext) => Value | undefined;

export type BuiltinTable = Readonly<Record<string, Builtin>>;

/** An error of the arguments: the call is undefined (Rego's non-strict semantics). */
export class BuiltinError extends Error {}

export function text(value: Value | undefined): string {
  if (typeof value !== 'string') throw new BuiltinError('not a string');
  return value;
}

export function number(value: Value | undefined): RegoNumber {
  if (!isNumber(value)) throw new BuiltinError('not a number');
  return value;
}

/** Any integer, however large and however it is written: 1.0 and 1e3 are (OPA's BigIntOperand). */
export function integer(value: Value | undefined): bigint {
  const result = integerIn(number(value));
  if (result === undefined) throw new BuiltinError('not an integer');
  return result;
}

/** Undefined for a fraction. */
export function integerIn(value: RegoNumber): bigint | undefined {
  if (typeof value === 'bigint') return value;
  return typeof value === 'number' ? BigInt(value) : integerOf(partsOf(value.text));
}

const int64Digits = 19;
const int64 = 1n << 63n;

/**
 * The integer of 64 bits that a number is by its text, which may end in `.000` but has no exponent and at most 19
 * characters (OPA's Number.Int). Undefined for any other.
 */
export function int64In(value: RegoNumber): bigint | undefined {
  if (typeof value === 'number') return BigInt(value);
  const written = numberText(value);
  const found = written.length <= int64Digits + 1 ? /^([-+]?)(\d*)\.?0*$/.exec(written) : null;
  const [, sign = '', whole = ''] = found ?? [];
  if (!found || written.length - sign.length > int64Digits) return undefined;
  const result = BigInt(whole) * (sign === '-' ? -1n : 1n);
  return result >= -int64 && result < int64 ? result : undefined;
}

/** An integer of 64 bits (OPA's IntOperand), for counts and places: beyond 2^53 it is 2^53 - 1, which counts as many. */
export function count(value: Value | undefined): number {
  const result = int64In(number(value));
  if (result === undefined) throw new BuiltinError('not an integer of 64 bits');
  const limit = BigInt(Number.MAX_SAFE_INTEGER);
  if (result > limit) return Number.MAX_SAFE_INTEGER;
  return result < -limit ? -Number.MAX_SAFE_INTEGER : Number(result);
}

export function array(value: Value | undefined): readonly Value[] {
  if (!isArray(value)) throw new BuiltinError('not an array');
  return value;
}

export function set(value: Value | undefined): RegoSet {
  if (!(value instanceof RegoSet)) throw new BuiltinError('not a set');
  return value;
}

/** Any value: the module hands over no undefined argument. */
export function any(value: Value | undefined): Value {
  if (value === undefined) throw new BuiltinError('no value');
  return value;
}

export function object(value: Value | undefined): RegoObject {
  if (!(value instanceof RegoObject)) throw new BuiltinError('not an object');
  return value;
}

/** The elements of an array, or the members of a set in order. */
export function members(value: Value | undefined): readonly Value[] {
  return value instanceof RegoSet ? value.sorted() : array(value);
}
