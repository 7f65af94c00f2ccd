import type { Syntax, Term } from '../testing/syntax.ts';
import type { Kind } from './declared.ts';
import { type Names, nameOf, type Path } from './places.ts';

/** What an expression may be: some constants, what stands at a place, or an argument of the function it is in. */
export interface Value {
  readonly constants: readonly Term[];
  readonly kind?: Kind | undefined;
  readonly argument?: number | undefined;
  readonly path?: Path | undefined;
}

export const NOTHING: Value = { constants: [] };

/** Rules that are a constant, by their full path. */
export type Constants = ReadonlyMap<string, Value>;

export function constantsIn(syntax: Syntax, names: Names): [string, Value][] {
  return (syntax.rules ?? []).flatMap(({ head, body, else: other }) => {
    const isPlain = !head.args && !head.key && head.ref.length === 1 && !other;
    if (!isPlain || !head.value || !body.every(({ generated }) => generated)) return [];
    const constants = strings(head.value);
    return constants.length > 0 ? [[[...names.package, nameOf(head)].join('.'), { constants }] as const] : [];
  }) as [string, Value][];
}

/** The constants of a term: itself, the members of a collection, the keys of an object. */
export function strings(term: Term): readonly Term[] {
  const { type, value } = term;
  if (type === 'string') return [term];
  if (!Array.isArray(value)) return [];
  if (type === 'set' || type === 'array') return (value as Term[]).filter((each) => each.type === 'string');
  if (type === 'object')
    return (value as [Term, Term][]).map(([key]) => key).filter((each) => each.type === 'string');
  return [];
}

export const says = ({ constants, kind, argument, path }: Value): boolean =>
  constants.length > 0 || kind !== undefined || argument !== undefined || path !== undefined;

/** What is in a collection. */
export const elementOf = ({ constants, kind, argument, path }: Value): Value => ({
  constants,
  kind,
  argument,
  path: path && [...path, undefined],
});
