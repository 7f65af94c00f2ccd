import { isArray, type RegoNumber, type Value } from '../../values/values.ts';
import {
  type BuiltinContext,
  BuiltinError,
  type BuiltinTable,
  count,
  fromBigInt,
  number,
  text,
} from '../builtin.ts';
import { floatOf, payFor } from '../numbers/arithmetic.ts';
import { isInteger, truncated } from '../numbers/bigfloat.ts';
import { parseDuration } from './durations.ts';
import { checkRange, daysInMonth, fromCivilIn, toCivil, weekdayOf } from './instants.ts';
import { formatTime, weekdays } from './layouts.ts';
import { parseTime } from './parsing.ts';
import { checkZone, isUtc } from './zones.ts';

interface Moment {
  readonly nanos: bigint;
  readonly zone: string;
  readonly layout: string;
}

/** Fuel units of a calculation with the calendar: measured, 3 µs. */
const unitsPerTime = 2_000;
/** Fuel units of a question to the time zone database, and per character of a layout. */
const unitsPerZone = 30_000;
const unitsPerCharacter = 400;
/** Fuel units of a layout that is taken to pieces, each a regular expression: measured, 8 µs. */
const unitsPerLayout = 8_000;
/** Fuel units per character of a duration: measured, 400 ns for a number and its unit, and more for days. */
const unitsPerDurationCharacter = 300;

/** Nanoseconds, or `[nanoseconds, zone, layout]`. */
function moment(operand: Value | undefined, context: BuiltinContext): Moment {
  const [nanos, zone = '', layout = ''] = isArray(operand) ? operand : [operand];
  context.spend(unitsPerTime);
  if (!isUtc(text(zone))) context.spend(unitsPerZone);
  checkZone(text(zone));
  return { nanos: nanosOf(number(nanos), context), zone: text(zone), layout: text(layout) };
}

/** OPA takes it as a float of 64 bits first. */
function nanosOf(value: RegoNumber, context: BuiltinContext): bigint {
  if (typeof value === 'number') return BigInt(value);
  payFor(value, context);
  const float = floatOf(value);
  if (!isInteger(float)) throw new BuiltinError('timestamp too big');
  return checkRange(truncated(float));
}

export const timeBuiltins: BuiltinTable = {
  'time.now_ns': (_, { nowMs }) => fromBigInt(BigInt(Math.trunc(nowMs)) * 1_000_000n),
  'time.parse_ns': ([layout, value], context) => {
    context.spend(unitsPerLayout + text(layout).length * unitsPerCharacter);
    return fromBigInt(checkRange(parseTime(text(layout), text(value))));
  },
  'time.parse_rfc3339_ns': ([value], context) => {
    context.spend(unitsPerLayout);
    return fromBigInt(checkRange(parseTime('RFC3339', text(value))));
  },
  'time.parse_duration_ns': ([value], context) => {
    context.spend(unitsPerTime + text(value).length * unitsPerDurationCharacter);
    return fromBigInt(parseDuration(text(value)));
  },
  'time.format': ([operand], context) => {
    const { nanos, zone, layout } = moment(operand, context);
    context.spend(layout.length * unitsPerCharacter);
    return formatTime(nanos, zone, layout || 'RFC3339Nano');
  },
  'time.date': ([operand], context) => {
    const { nanos, zone } = moment(operand, context);
    const { year, month, day } = toCivil(nanos, zone);
    return [year, month, day];
  },
  'time.clock': ([operand], context) => {
    const { nanos, zone } = moment(operand, context);
    const { hour, minute, second } = toCivil(nanos, zone);
    return [hour, minute, second];
  },
  'time.weekday': ([operand], context) => {
    const { nanos, zone } = moment(operand, context);
    return weekdays[weekdayOf(toCivil(nanos, zone))];
  },
  'time.add_date': ([operand, years, months, days], context) => {
    const { nanos, zone } = moment(operand, context);
    const civil = toCivil(nanos, zone);
    const moved = {
      ...civil,
      year: civil.year + count(years),
      month: civil.month + count(months),
      day: civil.day + count(days),
    };
    return fromBigInt(checkRange(fromCivilIn(moved, zone)));
  },
  'time.diff': ([first, second], context) => difference(moment(first, context), moment(second, context)),
};

/** Years, months, days, hours, minutes and seconds from the earlier to the later, on the wall of the first's zone. */
function difference(first: Moment, second: Moment): number[] {
  const [early, late] = first.nanos > second.nanos ? [second, first] : [first, second];
  const from = toCivil(early.nanos, first.zone);
  const to = toCivil(late.nanos, first.zone);
  const parts = [
    to.year - from.year,
    to.month - from.month,
    to.day - from.day,
    to.hour - from.hour,
    to.minute - from.minute,
    to.second - from.second,
  ];
  /** How many of each part make one of the part before. */
  const sizes = [0, 12, daysInMonth(from.year, from.month), 24, 60, 60];
  for (let index = parts.length - 1; index > 0; index -= 1) {
    const part = parts[index] ?? 0;
    if (part >= 0) continue;
    parts[index] = part + (sizes[index] ?? 0);
    parts[index - 1] = (parts[index - 1] ?? 0) - 1;
  }
  if (parts.some(Number.isNaN)) throw new BuiltinError('time outside of valid range');
  return parts;
}
