import {
  type Body,
  type Expression,
  isVar,
  nameOf,
  refOf,
  rewritten,
  type Term,
  termsIn,
  Unplannable,
} from './rego.ts';

/** An expression, or that a term has a value, if only false: what is left of an assignment. */
export type Part = Expression & { readonly defined?: Term };

/** What a call gives comes last, where it is asked for: how many terms it is given before that. */
const ARITY: Readonly<Record<string, number>> = {
  eq: 2,
  equal: 2,
  neq: 2,
  lt: 2,
  lte: 2,
  gt: 2,
  gte: 2,
  'internal.member_2': 2,
  startswith: 2,
  endswith: 2,
  contains: 2,
  count: 1,
  'object.get': 3,
};

/** The expressions with what variables stand for in their place. Variables that are left go over elements. */
export function unbound(body: Body): readonly Part[] {
  let parts: readonly Part[] = body.map(plainCall);
  for (let turns = parts.length; turns > 0; turns -= 1) {
    const found = bindingIn(parts);
    if (!found) break;
    const { place, name, term } = found;
    parts = parts.map((part, at) =>
      at === place ? { terms: undefined, defined: term } : put(part, name, term),
    );
  }
  return parts;
}

/** `count(x, n)` says that `count(x) == n`. */
function plainCall(part: Expression): Part {
  if (!Array.isArray(part.terms)) return part;
  const [operator, ...given] = part.terms as Term[];
  const name = nameOf(operator);
  const arity = Object.hasOwn(ARITY, name) ? ARITY[name] : undefined;
  if (arity === undefined || given.length !== arity + 1) return part;
  const call: Term = { type: 'call', value: [operator, ...given.slice(0, arity)] };
  return { ...part, terms: [EQ, given[arity], call] };
}

const EQ: Term = { type: 'ref', value: [{ type: 'var', value: 'eq' }] };

function bindingIn(parts: readonly Part[]): { place: number; name: string; term: Term } | undefined {
  const iterating = new Set(parts.flatMap((part) => [...indexesIn(part)]));
  for (const [place, { terms, negated, with: replaced }] of parts.entries()) {
    if (negated || replaced || !Array.isArray(terms) || nameOf(terms[0]) !== 'eq') continue;
    const [, one, other] = terms as Term[];
    for (const [variable, term] of [
      [one, other],
      [other, one],
    ])
      if (isVar(variable) && term && !iterating.has(variable.value) && !mentions(term, variable.value))
        return { place, name: variable.value, term };
  }
  return undefined;
}

/** Variables that stand in a reference behind its head. */
export function* indexesIn(node: unknown): Generator<string> {
  for (const term of termsIn(node))
    for (const part of refOf(term)?.slice(1) ?? []) if (isVar(part)) yield part.value;
}

export const mentions = (node: unknown, name: string): boolean => {
  for (const term of termsIn(node)) if (isVar(term) && term.value === name) return true;
  return false;
};

const put = (part: Part, name: string, term: Term): Part =>
  rewritten(part, (each) => {
    if (isVar(each) && each.value === name) return term;
    const ref = refOf(each);
    if (!isVar(ref?.[0]) || ref[0].value !== name) return undefined;
    const head = refOf(term);
    if (!head) throw new Unplannable('a member of what is no attribute cannot be told', each);
    return { type: 'ref', value: [...head, ...ref.slice(1)] };
  }) as Part;
