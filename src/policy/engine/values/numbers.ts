import { canonicalText, compareParts, partsOf } from './decimals.ts';

/**
 * A number keeps how it is written, as in OPA: 1.0 prints as 1.0 and equals 1. An integer that a float holds exactly is
 * a number of JavaScript, never -0 and never a fraction.
 */
export type RegoNumber = number | bigint | Decimal;

/** A number written with a fraction or an exponent, or -0, kept as written. */
export class Decimal {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  get float(): number {
    return Number(this.text);
  }
}

export function isNumber(value: unknown): value is RegoNumber {
  return typeof value === 'number' || typeof value === 'bigint' || value instanceof Decimal;
}

/** @param text a number of JSON, or of Rego, which also writes `.5` */
export function numberOf(text: string): RegoNumber {
  const value = Number(text);
  if (Number.isSafeInteger(value) && String(value) === text) return value;
  return /^-?[1-9]\d*$/.test(text) ? fromBigInt(BigInt(text)) : new Decimal(text);
}

/** The smallest exact form of an integer. */
export function fromBigInt(value: bigint): RegoNumber {
  const small = Number(value);
  return Number.isSafeInteger(small) ? small : value;
}

export function numberText(value: RegoNumber): string {
  return value instanceof Decimal ? value.text : String(value);
}

/** Equal for equal numbers. */
export function numberIdentity(value: RegoNumber): string {
  if (typeof value === 'number') return String(value);
  const text = numberText(value);
  return canonicalText(text);
}

export function compareNumbers(a: RegoNumber, b: RegoNumber): number {
  if (a instanceof Decimal || b instanceof Decimal)
    return compareParts(partsOf(numberText(a)), partsOf(numberText(b)));
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
