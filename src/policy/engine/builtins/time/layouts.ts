import { abbreviationAt, type CivilTime, dayOfYear, offsetAt, toCivil, weekdayOf } from './instants.ts';

/** Go's time layouts: a layout shows how the reference time, Mon Jan 2 15:04:05 MST 2006, is written. */

export const months =
  'January February March April May June July August September October November December'.split(' ');
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

export interface Piece {
  readonly element: string | undefined;
  readonly literal: string;
}

/** @param named a layout, or the name of one */
export function piecesOf(named: string): Piece[] {
  const layout = Object.hasOwn(namedLayouts, named) ? (namedLayouts[named] ?? named) : named;
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
  return piecesOf(layout).map(write).join('');
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
