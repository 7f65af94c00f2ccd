import { bytesOf, decodeUtf8 } from '../../values/utf8.ts';
import { compareText } from '../../values/values.ts';
import { type BuiltinContext, BuiltinError } from '../builtin.ts';
import { encodingBuiltins } from '../data/encoding.ts';
import type { Argument } from '../text/directive.ts';
import { Formatter } from '../text/sprintf.ts';
import { type GoValue, isList, isMap, isTrue, JsonNumber, print } from './values.ts';

/** How many arguments at least, and at most. */
interface TemplateFunction {
  readonly least: number;
  readonly most: number;
  readonly call: (args: readonly GoValue[], context: BuiltinContext) => GoValue;
}

const unitsPerCharacter = 120;
const many = Number.POSITIVE_INFINITY;

const of = (
  least: number,
  most: number,
  call: (args: readonly GoValue[], context: BuiltinContext) => GoValue,
): TemplateFunction => ({ least, most, call });

/** A float by `%v`. */
export const printFloat = (value: number, context: BuiltinContext): string =>
  new Formatter('%v', [value], context).run();

export const printed = (value: GoValue, context: BuiltinContext): string =>
  print(value, context, (each) => printFloat(each, context));

/** Those of text/template. `and` and `or` are evaluated one argument after another, and there is nothing to `call`. */
export const functions: Readonly<Record<string, TemplateFunction>> = {
  and: of(1, many, (args) => args.find((arg) => !isTrue(arg)) ?? args.at(-1)),
  or: of(1, many, (args) => args.find(isTrue) ?? args.at(-1)),
  not: of(1, 1, ([value]) => !isTrue(value)),
  call: of(1, many, () => {
    throw new BuiltinError('call of what is no function');
  }),
  len: of(1, 1, ([value]) => BigInt(lengthOf(value))),
  index: of(1, many, ([item, ...indexes]) => indexes.reduce(elementOf, present(item))),
  slice: of(1, many, ([item, ...indexes]) => sliceOf(present(item), indexes)),
  eq: of(1, many, ([first, ...others], context) => {
    if (others.length === 0) throw new BuiltinError('missing argument for comparison');
    return others.some((other) => isEqual(first, other, context));
  }),
  ne: of(2, 2, ([a, b], context) => !isEqual(a, b, context)),
  lt: of(2, 2, ([a, b], context) => isLess(a, b, context)),
  le: of(2, 2, ([a, b], context) => isLess(a, b, context) || isEqual(a, b, context)),
  gt: of(2, 2, ([a, b], context) => !isLess(a, b, context) && !isEqual(a, b, context)),
  ge: of(2, 2, ([a, b], context) => !isLess(a, b, context)),
  print: of(0, many, (args, context) => printAll(args, context)),
  println: of(0, many, (args, context) => `${args.map((arg) => printed(arg, context)).join(' ')}\n`),
  printf: of(1, many, ([format, ...args], context) => {
    if (typeof format !== 'string') throw new BuiltinError('expected string');
    return new Formatter(
      format,
      args.map((arg) => argumentOf(arg, context)),
      context,
      'int',
    ).run();
  }),
  html: of(0, many, (args, context) => escapeHtml(joined(args, context), context)),
  js: of(0, many, (args, context) => escapeJs(joined(args, context), context)),
  urlquery: of(0, many, (args, context) => {
    const text = joined(args, context);
    return encodingBuiltins['urlquery.encode']?.([text], context) as string;
  }),
};

function present(value: GoValue): GoValue {
  if (value === undefined || value === null) throw new BuiltinError('index of untyped nil');
  return value;
}

function lengthOf(value: GoValue): number {
  if (typeof value === 'string') return bytesOf(value).length;
  if (value instanceof JsonNumber) return value.text.length;
  if (isList(value)) return value.length;
  if (isMap(value)) return value.size;
  throw new BuiltinError('it has no length');
}

const textOf = (value: GoValue): string | undefined =>
  value instanceof JsonNumber ? value.text : typeof value === 'string' ? value : undefined;

/** An integer from 0 to a length, which some may be. */
function indexOf(value: GoValue, length: number): number {
  if (typeof value !== 'bigint' || value < 0n || value > BigInt(length)) throw new BuiltinError('no index');
  return Number(value);
}

function elementOf(item: GoValue, index: GoValue): GoValue {
  if (isMap(item)) {
    if (typeof index !== 'string') throw new BuiltinError('not a key');
    return item.get(index) ?? null;
  }
  const text = textOf(item);
  const elements: ArrayLike<GoValue> | undefined = isList(item) ? item : undefined;
  const length = lengthOf(item);
  const at = indexOf(index, length);
  if (at === length) throw new BuiltinError('index out of range');
  return text === undefined ? elements?.[at] : BigInt(bytesOf(text)[at] ?? 0);
}

function sliceOf(item: GoValue, indexes: readonly GoValue[]): GoValue {
  const text = textOf(item);
  if (
    indexes.length > 3 ||
    (text === undefined && !isList(item)) ||
    (text !== undefined && indexes.length > 2)
  )
    throw new BuiltinError('it cannot be sliced so');
  const length = lengthOf(item);
  const [from = 0, to = length, most = length] = indexes.map((index) => indexOf(index, length));
  if (from > to || to > most) throw new BuiltinError('invalid slice index');
  if (text === undefined) return (item as readonly GoValue[]).slice(from, to);
  const cut = decodeUtf8(bytesOf(text).subarray(from, to));
  return item instanceof JsonNumber ? new JsonNumber(cut) : cut;
}

type BasicKind = 'bool' | 'int' | 'float' | 'string' | 'other';

function basicKind(value: GoValue): BasicKind {
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'bigint') return 'int';
  if (typeof value === 'number') return 'float';
  return textOf(value) === undefined ? 'other' : 'string';
}

const isNil = (value: GoValue): boolean => value === undefined || value === null;

function isEqual(a: GoValue, b: GoValue, context: BuiltinContext): boolean {
  const [one, other] = [basicKind(a), basicKind(b)];
  if (one !== other) {
    if (isNil(a) || isNil(b)) return false;
    throw new BuiltinError('incompatible types for comparison');
  }
  if (one === 'string') {
    const [left = '', right = ''] = [textOf(a), textOf(b)];
    context.spend(Math.min(left.length, right.length));
    return left === right;
  }
  if (one !== 'other') return a === b;
  if (isNil(a) || isNil(b)) return isNil(a) && isNil(b);
  throw new BuiltinError('non-comparable types');
}

function isLess(a: GoValue, b: GoValue, context: BuiltinContext): boolean {
  const [one, other] = [basicKind(a), basicKind(b)];
  if (one !== other || one === 'bool' || one === 'other')
    throw new BuiltinError('invalid type for comparison');
  if (one !== 'string') return (a as bigint) < (b as bigint);
  const [left = '', right = ''] = [textOf(a), textOf(b)];
  context.spend(Math.min(left.length, right.length));
  return compareText(left, right) < 0;
}

/** Go's fmt.Sprint: a blank between two of which neither is a text. */
function printAll(args: readonly GoValue[], context: BuiltinContext): string {
  const isText = (value: GoValue): boolean => textOf(value) !== undefined;
  return args
    .map((arg, at) => (at > 0 && !isText(arg) && !isText(args[at - 1]) ? ' ' : '') + printed(arg, context))
    .join('');
}

/** As what escapes has them: no value says so. */
function joined(args: readonly GoValue[], context: BuiltinContext): string {
  return printAll(
    args.map((arg) => (isNil(arg) ? '<no value>' : arg)),
    context,
  );
}

/** Lists and objects are printed by `%v`, whatever the verb. */
function argumentOf(value: GoValue, context: BuiltinContext): Argument {
  if (value === undefined) return null;
  if (isList(value) || isMap(value)) return printed(value, context);
  return value;
}

const htmlMarks: Readonly<Record<string, string>> = {
  '\0': '\ufffd',
  '"': '&#34;',
  "'": '&#39;',
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
};

function escapeHtml(text: string, context: BuiltinContext): string {
  context.spend(text.length * unitsPerCharacter);
  return text.replace(/[\0"'&<>]/g, (mark) => htmlMarks[mark] ?? mark);
}

function escapeJs(text: string, context: BuiltinContext): string {
  context.spend(text.length * unitsPerCharacter);
  return Array.from(text, (character) => {
    const point = character.codePointAt(0) ?? 0;
    if ('\\\'"'.includes(character)) return `\\${character}`;
    if (point < 0x20 || '<>&='.includes(character)) return `\\u${hex(point)}`;
    if (point < 0x80 || isPrintable(character)) return character;
    // Go decodes a byte that is none as U+FFFD, which is printable.
    return /[\udc80-\udcff]/.test(character) ? '\ufffd' : `\\u${hex(point)}`;
  }).join('');
}

const hex = (point: number): string => point.toString(16).toUpperCase().padStart(4, '0');

/** Go's unicode.IsPrint: letters, marks, numbers, punctuation and symbols. */
const isPrintable = (character: string): boolean => /^[\p{L}\p{M}\p{N}\p{P}\p{S}]$/u.test(character);
