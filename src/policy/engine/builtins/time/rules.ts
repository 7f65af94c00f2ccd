import type { ZoneType } from './zones.ts';

/** When clocks change in a year: the nth weekday of a month, or a day of the year, and a time of day. */
interface Change {
  readonly kind: 'month' | 'julian' | 'day';
  readonly numbers: readonly number[];
  /** Seconds from midnight. */
  readonly time: number;
}

/** A rule for all years, as POSIX writes it: `CET-1CEST,M3.5.0,M10.5.0/3`. */
export interface Rule {
  readonly standard: ZoneType;
  readonly summer: { readonly type: ZoneType; readonly start: Change; readonly end: Change } | undefined;
}

const form = /^(<[^>]+>|[A-Za-z]+)([-+\d:]+)(?:(<[^>]+>|[A-Za-z]+)([-+\d:]*),([^,]+),([^,]+))?$/;

export function parseRule(text: string): Rule | undefined {
  const [, name = '', offset = '', summerName, summerOffset = '', start = '', end = ''] =
    form.exec(text) ?? [];
  if (name === '') return undefined;
  const standard: ZoneType = { offset: -secondsOf(offset), isSummer: false, abbreviation: plainName(name) };
  if (summerName === undefined) return { standard, summer: undefined };
  const ahead = summerOffset === '' ? standard.offset + 3600 : -secondsOf(summerOffset);
  const type: ZoneType = { offset: ahead, isSummer: true, abbreviation: plainName(summerName) };
  return { standard, summer: { type, start: parseChange(start), end: parseChange(end) } };
}

function plainName(name: string): string {
  return name.replace(/^<|>$/g, '');
}

/** `-1`, `5:45`, `167` */
function secondsOf(text: string): number {
  const [hours = 0, minutes = 0, seconds = 0] = text.replace(/^[-+]/, '').split(':').map(Number);
  const size = hours * 3600 + minutes * 60 + seconds;
  return text.startsWith('-') ? -size : size;
}

function parseChange(text: string): Change {
  const [day = '', time = '2'] = text.split('/');
  const kind = day.startsWith('M') ? 'month' : day.startsWith('J') ? 'julian' : 'day';
  return { kind, numbers: day.replace(/^[MJ]/, '').split('.').map(Number), time: secondsOf(time) };
}

const daySeconds = 86_400;

/** What clocks show at so many seconds since the Unix epoch. */
export function typeByRule({ standard, summer }: Rule, seconds: number): ZoneType {
  if (!summer) return standard;
  const year = new Date(seconds * 1000).getUTCFullYear();
  const within = seconds - Date.UTC(year, 0, 1) / 1000;
  const start = secondsOfChange(summer.start, year) - standard.offset;
  const end = secondsOfChange(summer.end, year) - summer.type.offset;
  const isBetween = within >= Math.min(start, end) && within < Math.max(start, end);
  // South of the equator the summer is at both ends of the year.
  return isBetween === start <= end ? summer.type : standard;
}

/** Seconds from the beginning of the year, on the clocks of before the change. */
function secondsOfChange({ kind, numbers, time }: Change, year: number): number {
  const isLeap = new Date(Date.UTC(year, 1, 29)).getUTCMonth() === 1;
  const [first = 0, week = 0, weekday = 0] = numbers;
  if (kind === 'day') return first * daySeconds + time;
  // February 29 is not counted.
  if (kind === 'julian') return (first - 1 + (isLeap && first >= 60 ? 1 : 0)) * daySeconds + time;
  const monthStart = Date.UTC(year, first - 1, 1);
  const length = new Date(Date.UTC(year, first, 0)).getUTCDate();
  let day = (weekday - new Date(monthStart).getUTCDay() + 7) % 7;
  for (let count = 1; count < week && day + 7 < length; count += 1) day += 7;
  return (monthStart - Date.UTC(year, 0, 1)) / 1000 + day * daySeconds + time;
}
