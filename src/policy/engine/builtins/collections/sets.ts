import { RegoSet, type Value } from '../../values/values.ts';
import { type BuiltinContext, type BuiltinTable, set } from '../builtin.ts';

/** Fuel units of a member that is looked up or added: it is written to be found, unless it is a set or an object. */
const unitsPerMember = 400;

function pay(members: number, context: BuiltinContext): void {
  context.spend(members * unitsPerMember);
}

export function difference(a: RegoSet, b: RegoSet, context: BuiltinContext): RegoSet {
  pay(a.size, context);
  return new RegoSet([...a.members()].filter((member) => !b.has(member)));
}

/** The members are those of the smaller set, or of the first. */
function intersect(a: RegoSet, b: RegoSet, context: BuiltinContext): RegoSet {
  const [small, large] = b.size < a.size ? [b, a] : [a, b];
  pay(small.size, context);
  return new RegoSet([...small.members()].filter((member) => large.has(member)));
}

function unite(sets: readonly RegoSet[], context: BuiltinContext): RegoSet {
  const united = new RegoSet();
  for (const each of sets) {
    pay(each.size, context);
    for (const member of each.members()) united.add(member);
  }
  return united;
}

function setsIn(operand: Value | undefined): RegoSet[] {
  return set(operand).sorted().map(set);
}

export const setBuiltins: BuiltinTable = {
  and: ([a, b], context) => intersect(set(a), set(b), context),
  or: ([a, b], context) => unite([set(a), set(b)], context),
  set_diff: ([a, b], context) => difference(set(a), set(b), context),
  intersection: ([sets], context) => {
    const [first, ...rest] = setsIn(sets);
    return rest.reduce((result, each) => intersect(result, each, context), first ?? new RegoSet());
  },
  union: ([sets], context) => unite(setsIn(sets), context),
};
