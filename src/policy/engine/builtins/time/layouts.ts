import { BuiltinError } from '../builtin.ts';
import {
  abbreviationAt,
  type CivilTime,
  dayOfYear,
  daysInMonth,
  fromCivil,
  offsetAt,
  toCivil,
  weekdayOf,
} from './instants.ts';

/** Go's time layouts: a layout shows how the reference time, Mon Jan 2 15:04:05 MST 2006, is written. */

const months = 'January February March April May June July August September October November December'.split(
  ' ',
);
export const weekdays = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ');

const namedLayouts: Readonly<Record<string, string>> = {
  ANSIC: 'Mon Jan _2 15:04:05 2006',
  UnixDate: 'Mon Jan _2 15:04:05 MST 2006',
  RubyDate: 'Mon Jan 02 15:04:05 -0700 2006',
  RFC822: '02 Jan 06 15:04 MST',
  RFC822Z: '02 Jan 06 15:04 -0700',
  RFC850: 'Monday, 02-Jan-06 15:04:05 MST',
  RFC1123: 'Mon, 02 Jan 2006 15:04:05 MST',
  RFC1123Z: 'Mon, 02 Jan 2006 15:04:05 -0700',
  RFC3339: '2006-01-02T15:04:05Z07:00',
  RFC3339Nano: '2006-01-02T15:04:05.999999999Z07:00',
};

const zoneForms = ['070000', '07:00:00', '0700', '07:00', '07'].map((form) => `[Z-]${form}`).join('|');
const elements = new RegExp(
  `January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST|002|0[1-6]|15|1|2006|2|__2|_2(?!006)|[345]|PM|pm|${zoneForms}|[.,](?:0+|9+)(?!\\d)`,
  'g',
);

interface Piece {
  readonly element: string | undefined;
  readonly literal: string;
}

function split(layout: string): Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  for (const found of layout.matchAll(elements)) {
    if (found.index > at) pieces.push({ element: undefined, literal: layout.slice(at, found.index) });
    pieces.push({ element: found[0], literal: found[0] });
    at = found.index + found[0].length;
  }
  if (at < layout.length) pieces.push({ element: undefined, literal: layout.slice(at) });
  return pieces;
}

const two = (value: number) => String(value).padStart(2, '0');
const twelve = (hour: number) => hour % 12 || 12;

const writers: Readonly<Record<string, (civil: CivilTime) => string>> = {
  January: ({ month }) => months[month - 1] ?? '',
  Jan: ({ month }) => (months[month - 1] ?? '').slice(0, 3),
  Monday: (civil) => weekdays[weekdayOf(civil)] ?? '',
  Mon: (civil) => (weekdays[weekdayOf(civil)] ?? '').slice(0, 3),
  '1': ({ month }) => String(month),
  '01': ({ month }) => two(month),
  '2': ({ day }) => String(day),
  '02': ({ day }) => two(day),
  _2: ({ day }) => String(day).padStart(2, ' '),
  '002': (civil) => String(dayOfYear(civil)).padStart(3, '0'),
  __2: (civil) => String(dayOfYear(civil)).padStart(3, ' '),
  '15': ({ hour }) => two(hour),
  '3': ({ hour }) => String(twelve(hour)),
  '03': ({ hour }) => two(twelve(hour)),
  '4': ({ minute }) => String(minute),
  '04': ({ minute }) => two(minute),
  '5': ({ second }) => String(second),
  '05': ({ second }) => two(second),
  '2006': ({ year }) => String(year).padStart(4, '0'),
  '06': ({ year }) => two(year % 100),
  PM: ({ hour }) => (hour < 12 ? 'AM' : 'PM'),
  pm: ({ hour }) => (hour < 12 ? 'am' : 'pm'),
};

/** Go's Time.Format. */
export function formatTime(nanos: bigint, zone: string, layout: string): string {
  const civil = toCivil(nanos, zone);
  // Asked for once, however often the layout shows them: each is a question to the time zone database.
  let [abbreviation, offset]: [string | undefined, number | undefined] = [undefined, undefined];
  const write = ({ element, literal }: Piece): string => {
    if (element === undefined) return literal;
    if (element === 'MST') return (abbreviation ??= abbreviationAt(zone, nanos));
    if (/^[.,]/.test(element)) return writeFraction(element, civil.nanosecond);
    return writers[element]?.(civil) ?? writeOffset(element, (offset ??= offsetAt(zone, nanos)));
  };
  return split(namedLayouts[layout] ?? layout)
    .map(write)
    .join('');
}

function writeFraction(element: string, nanosecond: number): string {
  const digits = String(nanosecond)
    .padStart(9, '0')
    .slice(0, element.length - 1);
  const kept = element[1] === '9' ? digits.replace(/0+$/, '') : digits.padEnd(element.length - 1, '0');
  return kept === '' ? '' : `${element[0]}${kept}`;
}

function writeOffset(element: string, offset: number): string {
  if (offset === 0 && element.startsWith('Z')) return 'Z';
  const size = Math.abs(offset);
  const parts = [two(Math.floor(size / 3600)), two(Math.floor(size / 60) % 60), two(size % 60)];
  const count = element.replace(/[^0-9]/g, '').length / 2;
  return (offset < 0 ? '-' : '+') + parts.slice(0, count).join(element.includes(':') ? ':' : '');
}

type Fields = { -readonly [Name in keyof CivilTime]?: number } & {
  yearDay?: number;
  offset?: number;
  afternoon?: boolean;
};

/** What text an element takes, and what it says. Elements that are not here are offsets and fractions. */
const readers: Readonly<
  Record<string, readonly [pattern: RegExp, read: (text: string, fields: Fields) => void]>
> = {
  January: [new RegExp(months.join('|'), 'iy'), readMonth],
  Jan: [new RegExp(months.map((name) => name.slice(0, 3)).join('|'), 'iy'), readMonth],
  Monday: [new RegExp(weekdays.join('|'), 'iy'), () => {}],
  Mon: [new RegExp(weekdays.map((name) => name.slice(0, 3)).join('|'), 'iy'), () => {}],
  '1': [/\d\d?/y, (text, fields) => void (fields.month = Number(text))],
  '01': [/\d\d/y, (text, fields) => void (fields.month = Number(text))],
  '2': [/\d\d?/y, (text, fields) => void (fields.day = Number(text))],
  _2: [/ ?\d\d?/y, (text, fields) => void (fields.day = Number(text))],
  '02': [/\d\d/y, (text, fields) => void (fields.day = Number(text))],
  __2: [/ {0,2}\d{1,3}/y, (text, fields) => void (fields.yearDay = Number(text))],
  '002': [/\d{3}/y, (text, fields) => void (fields.yearDay = Number(text))],
  '15': [/\d\d?/y, (text, fields) => void (fields.hour = within(Number(text), 23))],
  '3': [/\d\d?/y, (text, fields) => void (fields.hour = within(Number(text), 12))],
  '03': [/\d\d/y, (text, fields) => void (fields.hour = within(Number(text), 12))],
  '4': [/\d\d?/y, (text, fields) => void (fields.minute = within(Number(text), 59))],
  '04': [/\d\d/y, (text, fields) => void (fields.minute = within(Number(text), 59))],
  '5': [/\d\d?/y, (text, fields) => void (fields.second = within(Number(text), 59))],
  '05': [/\d\d/y, (text, fields) => void (fields.second = within(Number(text), 59))],
  '2006': [/\d{4}/y, (text, fields) => void (fields.year = Number(text))],
  '06': [/\d\d/y, (text, fields) => void (fields.year = Number(text) + (Number(text) >= 69 ? 1900 : 2000))],
  PM: [/[AP]M/y, (text, fields) => void (fields.afternoon = text === 'PM')],
  pm: [/[ap]m/y, (text, fields) => void (fields.afternoon = text === 'pm')],
  // An abbreviation says nothing without a place, except UTC and the GMT+3 forms; Go makes up a zone of offset 0.
  MST: [/UTC|ChST|MeST|GMT(?:[+-]\d\d?)?|[A-Z]{3,4}T?|[+-]\d\d(?:\d\d)?/y, readAbbreviation],
};

function readMonth(text: string, fields: Fields): void {
  fields.month =
    months.findIndex((name) => name.slice(0, 3).toLowerCase() === text.slice(0, 3).toLowerCase()) + 1;
}

function readAbbreviation(text: string, fields: Fields): void {
  const hours = /^GMT([+-]\d+)$/.exec(text)?.[1];
  if (hours !== undefined) fields.offset = within(Number(hours), 23) * 3600;
}

function within(value: number, largest: number): number {
  if (value > largest) throw new BuiltinError('a part of the time is out of range');
  return value;
}

/** Go's time.Parse. @throws BuiltinError for text that is not in the layout */
export function parseTime(layout: string, value: string): bigint {
  const fields: Fields = {};
  let at = 0;
  const take = (pattern: RegExp): string => {
    pattern.lastIndex = at;
    const found = pattern.exec(value)?.[0];
    if (found === undefined) throw new BuiltinError(`cannot parse the time at ${at}`);
    at += found.length;
    return found;
  };
  const pieces = split(namedLayouts[layout] ?? layout);
  for (const [index, { element, literal }] of pieces.entries()) {
    if (element === undefined) {
      take(literalPattern(literal));
      continue;
    }
    const [pattern, read] = readers[element] ?? offsetOrFraction(element);
    read(take(pattern), fields);
    // Go accepts a fraction behind the seconds that the layout does not show.
    const showsFraction = /^[.,]/.test(pieces[index + 1]?.element ?? '');
    if ((element === '5' || element === '05') && !showsFraction) readFraction(take(/(?:[.,]\d+)?/y), fields);
  }
  if (at !== value.length) throw new BuiltinError('extra text behind the time');
  return resolve(fields);
}

/** Spaces of the layout stand for any number of them. */
function literalPattern(literal: string): RegExp {
  return new RegExp(
    literal
      .split(/ +/)
      .map((part) => part.replace(/[^\w]/g, '\\$&'))
      .join(' *'),
    'y',
  );
}

function offsetOrFraction(element: string): (typeof readers)[string] {
  if (/^[.,]9/.test(element)) return [/(?:[.,]\d+)?/y, readFraction];
  if (/^[.,]/.test(element)) return [new RegExp(`[.,]\\d{${element.length - 1}}`, 'y'), readFraction];
  const digits = element.slice(1).replace(/\d\d/g, '\\d\\d');
  return [new RegExp(`${element.startsWith('Z') ? 'Z|' : ''}[+-]${digits}`, 'y'), readOffset];
}

function readFraction(text: string, fields: Fields): void {
  if (text !== '') fields.nanosecond = Number(text.slice(1, 10).padEnd(9, '0'));
}

function readOffset(text: string, fields: Fields): void {
  const digits = text.replace(/\D/g, '').padEnd(6, '0');
  const hours = within(Number(digits.slice(0, 2)), 24);
  const minutes = within(Number(digits.slice(2, 4)), 60);
  const size = hours * 3600 + minutes * 60 + within(Number(digits.slice(4, 6)), 60);
  fields.offset = text.startsWith('-') ? -size : size;
}

function resolve(fields: Fields): bigint {
  const {
    year = 0,
    month = 1,
    minute = 0,
    second = 0,
    nanosecond = 0,
    offset = 0,
    afternoon,
    yearDay,
  } = fields;
  let { day = 1, hour = 0 } = fields;
  if (afternoon === true && hour < 12) hour += 12;
  else if (afternoon === false && hour === 12) hour = 0;
  if (yearDay !== undefined && fields.month === undefined) {
    if (yearDay < 1 || yearDay > dayOfYear({ year, month: 12, day: 31, hour, minute, second, nanosecond }))
      throw new BuiltinError('day of the year out of range');
    day = yearDay;
  } else if (month < 1 || month > 12 || day < 1 || day > daysInMonth(year, month))
    throw new BuiltinError('day out of range');
  return fromCivil({ year, month, day, hour, minute, second, nanosecond }) - BigInt(offset) * 1_000_000_000n;
}
