import type { CheckRequest } from '../request.ts';
import { ownValue } from './own-value.ts';

/** Amounts are counted in these, so that sums of tenths and hundredths are exact. */
const MILLIONTHS = 1_000_000;

export const ONE = MILLIONTHS;

/** As a policy sees it. */
export const inUnits = (millionths: number): number => millionths / MILLIONTHS;

/** A number of at most six decimals, 0 or more, in millionths; undefined for anything else. */
export function inMillionths(value: unknown): number | undefined {
  if (typeof value !== 'number' || !(value >= 0)) return undefined;
  const amount = Math.round(value * MILLIONTHS);
  return Number.isSafeInteger(amount) && inUnits(amount) === value ? amount : undefined;
}

/** How much a request says it is, in millionths; undefined where it does not say so. */
export function amountOf(request: CheckRequest, path: string | undefined): number | undefined {
  if (path === undefined) return ONE;
  const value = path.split('.').reduce<unknown>((of, member) => ownValue(of, member), request);
  return inMillionths(value);
}
