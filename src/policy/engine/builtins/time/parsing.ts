import { BuiltinError } from '../builtin.ts';
import { daysInMonth, fromCivil } from './instants.ts';
import { months, piecesOf, weekdays } from './layouts.ts';

/** What was read; what is absent was not in the layout. */
interface Fields {
  year: number;
  month?: number;
  day?: number;
  yearDay?: number;
  hour: number;
  minute: number;
  second: number;
  nanosecond: number;
  isAfternoon?: boolean;
  /** Seconds ahead of UTC. */
  offset?: number;
  isUtc: boolean;
}

/** Reads a text from its beginning, as Go's time.Parse does. */
class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#text.length;
  }

  fail(): BuiltinError {
    return new BuiltinError(`cannot parse the time at ${this.#at}`);
  }

  /** What a sticky pattern matches here; undefined if it does not. */
  maybe(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  take(pattern: RegExp): string {
    const found = this.maybe(pattern);
    if (found === undefined) throw this.fail();
    return found;
  }

  number(pattern: RegExp, least: number, most: number): number {
    const value = Number(this.take(pattern));
    if (value < least || value > most) throw new BuiltinError('a part of the time is out of range');
    return value;
  }

  /** Runs of spaces are alike; at the end they may be missing. */
  skip(literal: string): void {
    for (const part of literal.match(/ +|[^ ]+/g) ?? []) {
      if (part.startsWith(' ')) {
        if (!this.isAtEnd && this.#text[this.#at] !== ' ') throw this.fail();
        this.maybe(/ */y);
      } else if (this.#text.startsWith(part, this.#at)) this.#at += part.length;
      else throw this.fail();
    }
  }

  /** The index of the name that is here, in any letter case. */
  name(names: readonly string[]): number {
    const index = names.findIndex(
      (name) => this.#text.slice(this.#at, this.#at + name.length).toLowerCase() === name.toLowerCase(),
    );
    if (index < 0) throw this.fail();
    this.#at += names[index]?.length ?? 0;
    return index;
  }
}

const short = (names: readonly string[]) => names.map((name) => name.slice(0, 3));
const one = /\d\d?/y;
const two = /\d\d/y;

type ReadElement = (reader: Reader, fields: Fields) => void;

const elementReaders: Readonly<Record<string, ReadElement>> = {
  '2006': (reader, fields) => (fields.year = reader.number(/\d{4}/y, 0, 9_999)),
  '06': (reader, fields) => {
    const year = reader.number(/\d\d|[-+]\d/y, -9, 99);
    fields.year = year + (year >= 69 ? 1_900 : 2_000);
  },
  Jan: (reader, fields) => (fields.month = reader.name(short(months)) + 1),
  January: (reader, fields) => (fields.month = reader.name(months) + 1),
  '1': (reader, fields) => (fields.month = reader.number(one, 1, 12)),
  '01': (reader, fields) => (fields.month = reader.number(two, 1, 12)),
  Mon: (reader) => void reader.name(short(weekdays)),
  Monday: (reader) => void reader.name(weekdays),
  '2': (reader, fields) => (fields.day = reader.number(one, 0, 99)),
  _2: (reader, fields) => (fields.day = reader.number(/ ?\d\d?/y, 0, 99)),
  '02': (reader, fields) => (fields.day = reader.number(two, 0, 99)),
  __2: (reader, fields) => (fields.yearDay = reader.number(/ {0,2}\d{1,3}/y, 0, 999)),
  '002': (reader, fields) => (fields.yearDay = reader.number(/\d{3}/y, 0, 999)),
  '15': (reader, fields) => (fields.hour = reader.number(one, 0, 23)),
  '3': (reader, fields) => (fields.hour = reader.number(one, 0, 12)),
  '03': (reader, fields) => (fields.hour = reader.number(two, 0, 12)),
  '4': (reader, fields) => (fields.minute = reader.number(one, 0, 59)),
  '04': (reader, fields) => (fields.minute = reader.number(two, 0, 59)),
  '5': (reader, fields) => (fields.second = reader.number(one, 0, 59)),
  '05': (reader, fields) => (fields.second = reader.number(two, 0, 59)),
  PM: (reader, fields) => (fields.isAfternoon = reader.take(/[AP]M/y) === 'PM'),
  pm: (reader, fields) => (fields.isAfternoon = reader.take(/[ap]m/y) === 'pm'),
  // An abbreviation says nothing without a place: Go makes up a zone of that name.
  MST: (reader, fields) => {
    if (reader.maybe(/UTC/y) === undefined) reader.take(abbreviation);
    else fields.isUtc = true;
  },
};

/** One of more than five letters is none; a sign without hours, or with more than 23, stays in the text. */
const abbreviation =
  /ChST|MeST|GMT(?:[-+]0*(?:2[0-3]|1?\d)(?!\d))?|[-+]0*(?:2[0-3]|1?\d)(?!\d)|[A-Z]{4}T(?![A-Z])|(?:[A-Z]{3}T|WITA)(?![A-Z])|[A-Z]{3}(?![A-Z])/y;

function readOffset(element: string, reader: Reader, fields: Fields): void {
  if (element.startsWith('Z') && reader.maybe(/Z/y) !== undefined) {
    fields.isUtc = true;
    return;
  }
  const written = reader.take(new RegExp(`[-+]${element.slice(1).replace(/\d/g, '\\d')}`, 'y'));
  const [hours = 0, minutes = 0, seconds = 0] = (written.match(/\d\d/g) ?? []).map(Number);
  if (hours > 24 || minutes > 60 || seconds > 60)
    throw new BuiltinError('a time zone offset is out of range');
  const size = hours * 3_600 + minutes * 60 + seconds;
  fields.offset = written.startsWith('-') ? -size : size;
}

function readFraction(text: string, fields: Fields): void {
  const digits = text.slice(1, 10);
  const value = Number(digits) * 10 ** (9 - digits.length);
  fields.nanosecond = value;
}

/** Zeros stand for exactly as many digits; Go's Atoi takes a plus for the first of them. */
function readElement(element: string, next: string | undefined, reader: Reader, fields: Fields): void {
  const read = elementReaders[element];
  if (/^[.,]9/.test(element)) readFraction(reader.maybe(/[.,]\d+/y) ?? '.0', fields);
  else if (/^[.,]/.test(element))
    readFraction(reader.take(new RegExp(`[.,](?:\\d|\\+(?=\\d))\\d{${element.length - 2}}`, 'y')), fields);
  else if (read) read(reader, fields);
  else readOffset(element, reader, fields);
  // A fraction behind the seconds is read though the layout does not show it, if it shows none further on.
  const isSecond = element === '5' || element === '05';
  if (isSecond && !/^[.,]/.test(next ?? '')) {
    const fraction = reader.maybe(/[.,]\d+/y);
    if (fraction !== undefined) readFraction(fraction, fields);
  }
}

/** Go's time.Parse, nanoseconds since the Unix epoch. @throws BuiltinError for text that is not in the layout */
export function parseTime(layout: string, value: string): bigint {
  const fields: Fields = { year: 0, hour: 0, minute: 0, second: 0, nanosecond: 0, isUtc: false };
  const reader = new Reader(value);
  const pieces = piecesOf(layout);
  const elements = pieces.flatMap(({ element }) => (element === undefined ? [] : [element]));
  let read = 0;
  for (const { element, literal } of pieces) {
    if (element === undefined) reader.skip(literal);
    else readElement(element, elements[++read], reader, fields);
  }
  if (!reader.isAtEnd) throw new BuiltinError('extra text behind the time');
  return resolve(fields);
}

function resolve(fields: Fields): bigint {
  const { year, minute, second, nanosecond, isAfternoon } = fields;
  let { hour } = fields;
  if (isAfternoon === true && hour < 12) hour += 12;
  else if (isAfternoon === false && hour === 12) hour = 0;
  const { month, day } = dateOf(fields);
  if (day < 1 || day > daysInMonth(year, month)) throw new BuiltinError('day out of range');
  // Go tells an offset of a second behind from none as little as it tells it from a missing one.
  const offset = fields.isUtc || fields.offset === -1 ? 0 : (fields.offset ?? 0);
  return fromCivil({ year, month, day, hour, minute, second, nanosecond }) - BigInt(offset) * 1_000_000_000n;
}

/** From the day of the year, which must agree with a month and a day that are there too. */
function dateOf({ year, month, day, yearDay }: Fields): { month: number; day: number } {
  if (yearDay === undefined) return { month: month ?? 1, day: day ?? 1 };
  let [found, left] = [1, yearDay];
  while (found < 12 && left > daysInMonth(year, found)) {
    left -= daysInMonth(year, found);
    found += 1;
  }
  if ((month ?? found) !== found || (day ?? left) !== left)
    throw new BuiltinError('the day of the year does not match');
  return { month: found, day: left };
}
