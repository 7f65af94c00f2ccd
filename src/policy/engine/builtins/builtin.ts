import type { RegoObject, Value } from '../values/values.ts';
import {
  Decimal,
  isArray,
  isNumber,
  type RegoNumber,
  RegoObject as RegoObjectClass,
  RegoSet,
} from '../values/values.ts';

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

/** Any integer, however large; 1.0 is one. */
export function integer(value: Value | undefined): bigint {
  const operand = number(value);
  if (typeof operand === 'bigint') return operand;
  const float = operand instanceof Decimal ? operand.float : operand;
  if (!Number.isInteger(float)) throw new BuiltinError('not an integer');
  return BigInt(float);
}

/** An integer that JavaScript counts exactly. */
export function smallInteger(value: Value | undefined): number {
  const result = Number(integer(value));
  if (!Number.isSafeInteger(result)) throw new BuiltinError('the integer is too large');
  return result;
}

export function array(value: Value | undefined): readonly Value[] {
  if (!isArray(value)) throw new BuiltinError('not an array');
  return value;
}

export function object(value: Value | undefined): RegoObject {
  if (!(value instanceof RegoObjectClass)) throw new BuiltinError('not an object');
  return value;
}

/** The elements of an array, or the members of a set in order. */
export function members(value: Value | undefined): readonly Value[] {
  return value instanceof RegoSet ? value.sorted() : array(value);
}

/** The smallest exact form of an integer. */
export function fromBigInt(value: bigint): RegoNumber {
  const small = Number(value);
  return Number.isSafeInteger(small) ? small : value;
}
