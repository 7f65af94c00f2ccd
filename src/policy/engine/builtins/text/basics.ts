import { partsOf } from '../../values/decimals.ts';
import { unitsOfDigits } from '../../values/parse.ts';
import { characters, isNumber, numberText, RegoSet, toDisplay, type Value } from '../../values/values.ts';
import {
  array,
  type Builtin,
  type BuiltinContext,
  BuiltinError,
  type BuiltinTable,
  count,
  int64In,
  members,
  number,
  text,
} from '../builtin.ts';
import { floatOf, payFor } from '../numbers/arithmetic.ts';
import { truncated } from '../numbers/bigfloat.ts';
import { toLower, toUpper } from './letters.ts';
import { Searcher } from './search.ts';

/** Fuel units of a character that is looked at more than once, or made an object of. */
const unitsPerCharacter = 20;
/** Of one whose letter case is changed. */
const unitsPerLetter = 60;
const unitsPerElement = 20;

function onText(change: (value: string) => Value, unitsPer = unitsPerCharacter): Builtin {
  return ([value], context) => {
    context.spend(text(value).length * unitsPer);
    return change(text(value));
  };
}

function onTexts(answer: (value: string, other: string) => Value): Builtin {
  return ([value, other]) => answer(text(value), text(other));
}

export const basicTextBuiltins: BuiltinTable = {
  concat: ([separator, parts], context) => concat(text(separator), members(parts), context),
  contains: ([value, part], context) =>
    text(part) === ''
      ? text(value) !== undefined
      : new Searcher(text(value), text(part), context).next(0) >= 0,
  startswith: onTexts((value, part) => value.startsWith(part)),
  endswith: onTexts((value, part) => value.endsWith(part)),
  format_int: ([value, base], context) => formatInteger(value, base, context),
  indexof: ([value, part], context) => indexOf(text(value), text(part), context),
  lower: onText(toLower, unitsPerLetter),
  upper: onText(toUpper, unitsPerLetter),
  split: ([value, separator], context) => {
    context.spend(text(value).length * unitsPerCharacter);
    return pieces(text(value), text(separator), context);
  },
  'strings.split_n': ([value, separator, limit], context) => {
    context.spend(text(value).length * unitsPerCharacter);
    const [all, most] = [pieces(text(value), text(separator), context), count(limit)];
    return most >= 0 ? all.slice(0, most) : all.slice(most);
  },
  'strings.reverse': onText((value) => characters(value).toReversed().join('')),
  substring: ([value, offset, length], context) => {
    context.spend(text(value).length * unitsPerCharacter);
    return substring(text(value), count(offset), count(length));
  },
  'internal.template_string': ([parts], context) => {
    context.spend(array(parts).length * unitsPerElement);
    return array(parts).map(templatePart).join('');
  },
};

function concat(separator: string, parts: readonly Value[], context: BuiltinContext): string {
  const texts = parts.map(text);
  const length = texts.reduce((sum, part) => sum + part.length, separator.length * texts.length);
  context.spend(texts.length * unitsPerElement + length);
  return texts.join(separator);
}

/** Strings are split between characters by an empty separator. */
function pieces(value: string, separator: string, context: BuiltinContext): string[] {
  return separator === '' ? characters(value) : new Searcher(value, separator, context).pieces();
}

/** In characters; -1 if it is not there. */
function indexOf(value: string, part: string, context: BuiltinContext): number {
  if (part === '') throw new BuiltinError('empty search character');
  context.spend(value.length * unitsPerCharacter);
  const at = new Searcher(value, part, context).next(0);
  return at <= 0 ? at : characters(value.slice(0, at)).length;
}

function substring(value: string, offset: number, length: number): string {
  if (offset < 0) throw new BuiltinError('negative offset');
  const all = characters(value);
  return (length < 0 ? all.slice(offset) : all.slice(offset, offset + length)).join('');
}

/** The base is compared as it is written: 10.0 is none. */
const bases: Readonly<Record<string, number>> = { '2': 2, '8': 8, '10': 10, '16': 16 };

function formatInteger(value: Value | undefined, base: Value | undefined, context: BuiltinContext): string {
  const [operand, radix] = [number(value), bases[numberText(number(base))]];
  if (radix === undefined) throw new BuiltinError('the base must be one of 2, 8, 10 and 16');
  payFor(operand, context);
  if (typeof operand === 'bigint') context.spend(4 * unitsOfDigits(numberText(operand).length));
  const whole = int64In(operand);
  if (whole !== undefined) return whole.toString(radix);
  if (typeof operand === 'bigint') return operand.toString(radix);
  // What has a fraction or an exponent is a float of 64 bits first, as in OPA.
  const { digits, exponent } = partsOf(numberText(operand));
  context.spend(4 * unitsOfDigits(digits.length + Math.max(exponent, 0)));
  return truncated(floatOf(operand)).toString(radix);
}

/** A value, or a set of it: an empty one is undefined. */
function templatePart(part: Value): string {
  if (part instanceof RegoSet) {
    const [only, ...others] = part.sorted();
    if (others.length > 0) throw new BuiltinError('template-strings must not produce multiple outputs');
    if (only === undefined) return '<undefined>';
    return typeof only === 'string' ? only : toDisplay(only);
  }
  if (typeof part === 'string') return part;
  if (part === null || typeof part === 'boolean' || isNumber(part)) return toDisplay(part);
  throw new BuiltinError('illegal argument type');
}
