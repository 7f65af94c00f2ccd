import { loneByte } from '../../values/utf8.ts';
import {
  compareText,
  isArray,
  isNumber,
  numberText,
  type RegoObject,
  RegoSet,
  type Value,
} from '../../values/values.ts';
import type { BuiltinContext } from '../builtin.ts';

/** Fuel units per value that is written, and per character of what is written more than once. */
const unitsPerValue = 500;
const unitsPerCharacter = 4;
/** Fuel units per character that is quoted: measured, 8 ns with those before it. */
const unitsPerQuoted = 16;

interface Layout {
  readonly prefix: string;
  readonly indent: string;
}

/** Go's json.Marshal of what OPA makes of a value: sets are arrays, keys are texts and sorted, HTML is escaped. */
export function marshalJson(value: Value, context: BuiltinContext, layout?: Layout, depth = 0): string {
  context.spend(unitsPerValue);
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'string') return quote(value);
  if (isNumber(value)) return numberText(value);
  const colon = layout ? ': ' : ':';
  if (isArray(value) || value instanceof RegoSet) {
    const elements = isArray(value) ? value : value.sorted();
    return wrap(
      '[]',
      elements.map((element) => marshalJson(element, context, layout, depth + 1)),
      layout,
      depth,
      context,
    );
  }
  const named = [...namedEntries(value, context)].sort(([a], [b]) => compareText(a, b));
  const members = named.map(
    ([key, inner]) => quote(key) + colon + marshalJson(inner, context, layout, depth + 1),
  );
  return wrap('{}', members, layout, depth, context);
}

/** By the texts that keys become: of 1 and "1" the latter stays, as in OPA. */
export function namedEntries(value: RegoObject, context: BuiltinContext): Map<string, Value> {
  return new Map(value.sorted().map(([key, inner]) => [keyText(key, context), inner]));
}

/** A key that is no text becomes one, which is quoted, marks and all: the length can double at each level of keys. */
export function keyText(key: Value, context: BuiltinContext): string {
  if (typeof key === 'string') return key;
  const written = marshalJson(key, context);
  context.spend(written.length * unitsPerQuoted);
  return written;
}

function wrap(
  brackets: string,
  parts: readonly string[],
  layout: Layout | undefined,
  depth: number,
  context: BuiltinContext,
): string {
  const [open, close] = [brackets.slice(0, 1), brackets.slice(1)];
  if (!layout || parts.length === 0) return open + parts.join(',') + close;
  const indented = layout.prefix.length + layout.indent.length * (depth + 1);
  context.spend((parts.length + 1) * indented * unitsPerCharacter);
  const line = (level: number) => `\n${layout.prefix}${layout.indent.repeat(level)}`;
  return open + parts.map((part) => line(depth + 1) + part).join(',') + line(depth) + close;
}

/** What is no UTF-8 is written as an escape; the character U+FFFD is not. */
function quote(value: string): string {
  if (!value.isWellFormed()) return `"${value.split(loneByte).map(quotedPart).join('')}"`;
  return JSON.stringify(value).replace(
    /[<>&\u2028\u2029]/g,
    (mark) => `\\u${mark.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

const quotedPart = (part: string, index: number): string =>
  index % 2 === 0 ? quote(part.toWellFormed()).slice(1, -1) : '\\ufffd';
