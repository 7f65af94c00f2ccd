import { BuiltinError } from '../builtin.ts';

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
  if (isUtc(zone)) return 0;
  const name = zoneName(zone, 'longOffset', nanos);
  // "GMT", "GMT+05:30", and for the local times before the zones "GMT-00:01:15".
  const [, sign, hours, minutes, seconds] = /^GMT([+-])(\d+):(\d+)(?::(\d+))?$/.exec(name ?? '') ?? [];
  const size = Number(hours ?? 0) * 3600 + Number(minutes ?? 0) * 60 + Number(seconds ?? 0);
  return sign === '-' ? -size : size;
}

/** What the zone is called at an instant; as Go does without an abbreviation: its offset. */
export function abbreviationAt(zone: string, nanos: bigint): string {
  if (isUtc(zone)) return 'UTC';
  const name = zoneName(zone, 'short', nanos);
  if (name !== undefined && /^[A-Z]{3,5}$/.test(name)) return name;
  const minutes = Math.abs(offsetAt(zone, nanos)) / 60;
  const digits = String(Math.floor(minutes / 60)).padStart(2, '0');
  const rest = minutes % 60 === 0 ? '' : String(minutes % 60).padStart(2, '0');
  return `${offsetAt(zone, nanos) < 0 ? '-' : '+'}${digits}${rest}`;
}

export function isUtc(zone: string): boolean {
  // The host's own zone must not make a difference to a decision.
  return zone === '' || zone === 'UTC' || zone === 'Local';
}

function zoneName(zone: string, style: 'longOffset' | 'short', nanos: bigint): string | undefined {
  const parts = formatterOf(zone, style).formatToParts(Number(floorDivide(nanos, nanosPerMilli)));
  return parts.find((part) => part.type === 'timeZoneName')?.value;
}

/** A formatter takes longer to make than all else here. Bounded by the number of zones: no other name is kept. */
const formatters = new Map<string, Intl.DateTimeFormat>();

function formatterOf(zone: string, style: 'longOffset' | 'short'): Intl.DateTimeFormat {
  // Intl takes any letter case: the places here would be filled with names of one zone.
  const key = `${style} ${zone.toLowerCase()}`;
  const known = formatters.get(key);
  if (known) return known;
  // Intl also takes offsets, which the time zone database does not have.
  if (/^[+-]/.test(zone)) throw new BuiltinError('unknown time zone');
  let formatter: Intl.DateTimeFormat;
  try {
    formatter = new Intl.DateTimeFormat('en-US', { timeZone: zone, timeZoneName: style });
  } catch {
    throw new BuiltinError('unknown time zone');
  }
  formatters.set(key, formatter);
  return formatter;
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
