import { BuiltinError } from '../builtin.ts';
import { isUtc, typeAt } from './zones.ts';

/** Instants as nanoseconds since the Unix epoch, and what a clock on a wall shows of them. */

export interface CivilTime {
  readonly year: number;
  /** From 1. */
  readonly month: number;
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
  readonly nanosecond: number;
}

const nanosPerMilli = 1_000_000n;
const nanosPerSecond = 1_000_000_000n;
const int64 = 1n << 63n;

/** @throws BuiltinError for an instant that int64 nanoseconds cannot hold (before 1677, after 2262) */
export function checkRange(nanos: bigint): bigint {
  if (nanos >= int64 || nanos < -int64) throw new BuiltinError('time outside of valid range');
  return nanos;
}

/** How far a zone is ahead of UTC at an instant, in seconds. */
export function offsetAt(zone: string, nanos: bigint): number {
  return typeAt(zone, Number(floorDivide(nanos, nanosPerSecond))).offset;
}

/** What the zone is called at an instant. */
export function abbreviationAt(zone: string, nanos: bigint): string {
  return typeAt(zone, Number(floorDivide(nanos, nanosPerSecond))).abbreviation;
}

export function toCivil(nanos: bigint, zone: string): CivilTime {
  const local = nanos + BigInt(offsetAt(zone, nanos)) * nanosPerSecond;
  const seconds = floorDivide(local, nanosPerSecond);
  const date = new Date(Number(seconds) * 1000);
  return {
    year: date.getUTCFullYear(),
    month: date.getUTCMonth() + 1,
    day: date.getUTCDate(),
    hour: date.getUTCHours(),
    minute: date.getUTCMinutes(),
    second: date.getUTCSeconds(),
    nanosecond: Number(local - seconds * nanosPerSecond),
  };
}

/** From UTC and with overflowing members carried, as in Go's time.Date. */
export function fromCivil(civil: CivilTime): bigint {
  const date = new Date(0);
  date.setUTCFullYear(civil.year, civil.month - 1, civil.day);
  date.setUTCHours(civil.hour, civil.minute, civil.second);
  const millis = date.getTime();
  if (Number.isNaN(millis)) throw new BuiltinError('time outside of valid range');
  return BigInt(millis) * nanosPerMilli + BigInt(civil.nanosecond);
}

/** From the wall clock of a zone. In a gap or an overlap the first guess decides, as in Go's time.Date. */
export function fromCivilIn(civil: CivilTime, zone: string): bigint {
  const local = fromCivil(civil);
  if (isUtc(zone)) return local;
  const ahead = (nanos: bigint) => BigInt(offsetAt(zone, nanos)) * nanosPerSecond;
  return local - ahead(local - ahead(local));
}

/** 0 is Sunday. */
export function weekdayOf(civil: CivilTime): number {
  const days = floorDivide(fromCivil(civil), 86_400n * nanosPerSecond);
  return Number((((days + 4n) % 7n) + 7n) % 7n);
}

export function dayOfYear(civil: CivilTime): number {
  const start = { ...civil, month: 1, day: 1, hour: 0, minute: 0, second: 0, nanosecond: 0 };
  return Number((fromCivil(civil) - fromCivil(start)) / (86_400n * nanosPerSecond)) + 1;
}

export function daysInMonth(year: number, month: number): number {
  const date = new Date(0);
  date.setUTCFullYear(year, month, 0);
  return date.getUTCDate();
}

function floorDivide(value: bigint, by: bigint): bigint {
  const quotient = value / by;
  return value % by < 0n ? quotient - 1n : quotient;
}
