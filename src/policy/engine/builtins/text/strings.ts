import { characters, RegoSet, type Value } from '../../values/values.ts';
import { array, type BuiltinContext, BuiltinError, type BuiltinTable, members, text } from '../builtin.ts';
import { Searcher } from './search.ts';

export const stringBuiltins: BuiltinTable = {
  'strings.any_prefix_match': ([search, base], context) =>
    anyMatch(search, base, context, (value, prefix) => value.startsWith(prefix)),
  'strings.any_suffix_match': ([search, base], context) =>
    anyMatch(search, base, context, (value, suffix) => value.endsWith(suffix)),
  'strings.count': ([value, part], context) => count(text(value), text(part), context),
  indexof_n: ([value, part], context) => indexes(text(value), text(part), context),
};

function strings(operand: Value | undefined): readonly string[] {
  return typeof operand === 'string' ? [operand] : members(operand).map(text);
}

function anyMatch(
  search: Value | undefined,
  base: Value | undefined,
  context: BuiltinContext,
  matches: (value: string, affix: string) => boolean,
): boolean {
  const [values, affixes] = [strings(search), strings(base)];
  const length = affixes.reduce((sum, affix) => sum + affix.length, 0);
  context.spend(values.length * (affixes.length * 4 + length));
  return values.some((value) => affixes.some((affix) => matches(value, affix)));
}

/** Not overlapping; an empty part is between all characters, as in Go. */
function count(value: string, part: string, context: BuiltinContext): number {
  if (part === '') return characters(value).length + 1;
  return new Searcher(value, part, context).pieces().length - 1;
}

/** In characters, overlapping ones too. */
function indexes(value: string, part: string, context: BuiltinContext): Value {
  if (part === '') throw new BuiltinError('empty search character');
  const found: number[] = [];
  // A pair of surrogates is one character.
  let [counted, at] = [0, 0];
  for (const place of new Searcher(value, part, context).places()) {
    for (; at < place; at += 1) if (!isSecondHalf(value.charCodeAt(at))) counted += 1;
    found.push(counted);
  }
  return found;
}

function isSecondHalf(unit: number): boolean {
  return unit >= 0xdc00 && unit < 0xe000;
}

/** The deprecated casts: the value if it has the type, undefined if not. */
export const castBuiltins: BuiltinTable = {
  cast_array: ([value]) => array(value instanceof RegoSet ? value.sorted() : value),
  cast_set: ([value]) => (value instanceof RegoSet ? value : new RegoSet(array(value))),
  cast_string: ([value]) => text(value),
  cast_boolean: ([value]) => {
    if (typeof value !== 'boolean') throw new BuiltinError('not a boolean');
    return value;
  },
  cast_null: ([value]) => {
    if (value !== null) throw new BuiltinError('not null');
    return value;
  },
  cast_object: ([value]) => {
    if (typeof value !== 'object' || value === null || !('entries' in value) || Array.isArray(value))
      throw new BuiltinError('not an object');
    return value;
  },
};
