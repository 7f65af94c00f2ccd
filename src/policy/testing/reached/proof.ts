import { isDeepStrictEqual } from 'node:util';
import { type Syntax, withoutPlaces } from '../syntax.ts';

/** Whether what was marked is what the author wrote, but for the marks: as OPA's own parser reads both. */
export const isSame = (written: Syntax, marked: Syntax, builtin: string): boolean =>
  isDeepStrictEqual(unmarked(withoutPlaces(written), builtin), unmarked(withoutPlaces(marked), builtin));

/** Without marks, and without the `true` that stands for a body that is not there. */
function unmarked(node: unknown, builtin: string): unknown {
  if (Array.isArray(node)) return node.map((each) => unmarked(each, builtin));
  if (typeof node !== 'object' || node === null) return node;
  if (isWildcard(node)) return '_';
  return Object.fromEntries(
    Object.entries(node)
      // The parser says twice what a head refers to, in some forms of it.
      .filter(([name]) => !('ref' in node && 'value' in node && (name === 'key' || name === 'name')))
      .map(([name, child]) => [
        name,
        name === 'body' && Array.isArray(child) ? bodyOf(child, builtin) : unmarked(child, builtin),
      ]),
  );
}

/** The parser numbers them, those of marks too; all are written `_`. */
const isWildcard = (node: { readonly type?: unknown; readonly value?: unknown }): boolean =>
  node.type === 'var' && typeof node.value === 'string' && /^\$\d+$/.test(node.value);

const bodyOf = (body: readonly object[], builtin: string): unknown[] =>
  body
    .filter((each) => !('generated' in each) && !isMark(each, builtin))
    .map((each, index) => unmarked({ ...each, index }, builtin));

function isMark(expression: object, builtin: string): boolean {
  const { terms } = expression as { terms?: unknown };
  const operator: unknown = Array.isArray(terms) ? terms[0] : undefined;
  const { type, value } = (operator ?? {}) as { type?: unknown; value?: unknown };
  if (type !== 'ref' || !Array.isArray(value)) return false;
  return value.length === 1 && (value[0] as { value?: unknown }).value === builtin;
}
