import { characters } from '../../values/values.ts';
import { type Builtin, type BuiltinTable, text } from '../builtin.ts';

/** Fuel units of a character that may be trimmed, or be one of those that are. */
const unitsPerCharacter = 30;

/** Which ends are trimmed of characters that are in the second argument. */
function trimming(start: boolean, end: boolean): Builtin {
  return ([value, cutset], context) => {
    context.spend((text(value).length + text(cutset).length) * unitsPerCharacter);
    const cut = new Set(characters(text(cutset)));
    return trimmed(characters(text(value)), (character) => cut.has(character), start, end);
  };
}

function trimmed(
  all: readonly string[],
  isCut: (character: string) => boolean,
  start: boolean,
  end: boolean,
): string {
  let [from, to] = [0, all.length];
  if (start) while (from < to && isCut(all[from] ?? '')) from += 1;
  if (end) while (to > from && isCut(all[to - 1] ?? '')) to -= 1;
  return all.slice(from, to).join('');
}

/** Go's unicode.IsSpace. */
const space = /^[\t\n\v\f\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]$/;

export const trimmingBuiltins: BuiltinTable = {
  trim: trimming(true, true),
  trim_left: trimming(true, false),
  trim_right: trimming(false, true),
  trim_prefix: ([value, prefix]) =>
    text(value).startsWith(text(prefix)) ? text(value).slice(text(prefix).length) : text(value),
  trim_suffix: ([value, suffix]) =>
    text(value).endsWith(text(suffix))
      ? text(value).slice(0, text(value).length - text(suffix).length)
      : text(value),
  trim_space: ([value], context) => {
    context.spend(text(value).length * unitsPerCharacter);
    return trimmed(characters(text(value)), (character) => space.test(character), true, true);
  },
};
