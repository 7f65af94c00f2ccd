import { bytesOf, decodeUtf8 } from '../../values/utf8.ts';
import { type BuiltinContext, BuiltinError, type BuiltinTable, object, text } from '../builtin.ts';
import { Searcher } from './search.ts';

/** Fuel units of a byte that is looked at for one of the texts to replace, and per byte that is put in. */
const unitsPerByte = 60;
const unitsPerReplaced = 4;

interface Pair {
  readonly old: Buffer;
  readonly replacement: Buffer;
}

export const replacingBuiltins: BuiltinTable = {
  replace: ([value, old, replacement], context) => {
    const [base, wanted, instead] = [text(value), text(old), text(replacement)];
    if (wanted === '') return replaceAll(base, [pairOf(wanted, instead)], context);
    const parts = new Searcher(base, wanted, context).pieces();
    context.spend(parts.length * (instead.length * unitsPerReplaced + unitsPerByte));
    return parts.join(instead);
  },
  'strings.replace_n': ([patterns, value], context) => {
    const pairs = object(patterns)
      .sorted()
      .map(([old, replacement]) => {
        if (typeof old !== 'string' || typeof replacement !== 'string')
          throw new BuiltinError('a key or a value that is no string');
        return pairOf(old, replacement);
      });
    return replaceAll(text(value), pairs, context);
  },
};

function pairOf(old: string, replacement: string): Pair {
  return { old: bytesOf(old), replacement: bytesOf(replacement) };
}

/** The pairs by the first byte of what they replace: those of a byte are tried in their order. */
function indexOf(pairs: readonly Pair[]): ReadonlyMap<number, readonly Pair[]> {
  const index = new Map<number, Pair[]>();
  for (const pair of pairs) {
    const [first] = pair.old;
    if (first === undefined) continue;
    const list = index.get(first);
    if (list) list.push(pair);
    else index.set(first, [pair]);
  }
  return index;
}

/**
 * Go's strings.Replacer: at each place, of those that match there, the first in order. One for the empty text comes
 * first of all, at each byte, and then another may match at the same place.
 */
function replaceAll(value: string, pairs: readonly Pair[], context: BuiltinContext): string {
  const source = bytesOf(value);
  context.spend((source.length + pairs.length) * unitsPerByte);
  const index = indexOf(pairs);
  const empty = pairs.find(({ old }) => old.length === 0);
  const output: Buffer[] = [];
  const put = ({ replacement }: Pair) => {
    context.spend(unitsPerByte + replacement.length * unitsPerReplaced);
    output.push(replacement);
  };
  let kept = 0;
  for (let at = 0; at <= source.length; ) {
    const found = index.get(source[at] ?? -1)?.find(({ old }) => {
      context.spend(old.length + unitsPerReplaced);
      return (
        source.length - at >= old.length && source.compare(old, 0, old.length, at, at + old.length) === 0
      );
    });
    if (empty || found) output.push(source.subarray(kept, at));
    if (empty || found) kept = at;
    if (empty) put(empty);
    if (found) {
      put(found);
      at += found.old.length;
      kept = at;
    } else at += 1;
  }
  output.push(source.subarray(kept));
  return decodeUtf8(Buffer.concat(output));
}
