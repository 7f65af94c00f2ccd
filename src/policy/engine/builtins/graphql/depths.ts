import { type BuiltinContext, BuiltinError } from '../builtin.ts';
import type { Node, Selection } from './nodes.ts';
import type { Walker } from './walking.ts';

const unitsPerVisit = 1_500;
const deepest = 700;
/** Lists within lists that introspection may ask for. */
const mostLists = 3;
const lists = new Set(['fields', 'interfaces', 'possibleTypes', 'inputFields']);

/** gqlparser's MaxIntrospectionDepth. */
export function checkIntrospection(walker: Walker, start: Node<'Field'>, context: BuiltinContext): void {
  const visiting = new Map<string, number>();
  const known = new Map<string, boolean>();
  let level = 0;
  const inSelections = (selections: readonly Selection[], depth: number): boolean => {
    level += 1;
    if (level > deepest) throw new BuiltinError('nested too deeply');
    const isBeyond = selections.some((selection) => {
      context.spend(unitsPerVisit);
      if (selection.$ === 'Field') return inField(selection, depth);
      return selection.$ === 'InlineFragment'
        ? inSelections(selection.SelectionSet, depth)
        : inFragment(selection.Name, depth);
    });
    level -= 1;
    return isBeyond;
  };
  const inField = ({ Name: name, SelectionSet: selections }: Node<'Field'>, depth: number): boolean => {
    const next = lists.has(name) ? depth + 1 : depth;
    return next >= mostLists || inSelections(selections, next);
  };
  const inFragment = (name: string, depth: number): boolean => {
    const entry = visiting.get(name);
    if (entry !== undefined) return depth > entry;
    const fragment = walker.fragments.get(name);
    if (!fragment) return false;
    const key = `${depth} ${name}`;
    const before = known.get(key);
    if (before !== undefined) return before;
    visiting.set(name, depth);
    const isBeyond = inSelections(fragment.SelectionSet, depth);
    visiting.delete(name);
    known.set(key, isBeyond);
    return isBeyond;
  };
  if (inField(start, 0)) throw new BuiltinError('maximum introspection depth exceeded');
}

/** One field at the top, and none of introspection (October 2021 section 5.2.3.1). */
export function checkSubscription(
  walker: Walker,
  { SelectionSet: selections }: Node<'OperationDefinition'>,
  context: BuiltinContext,
): void {
  const names = new Set<string>();
  const seen = new Set<string>();
  const visit = (inner: readonly Selection[]): void => {
    for (const selection of inner) {
      context.spend(unitsPerVisit);
      if (selection.$ === 'Field') names.add(selection.Name);
      else if (selection.$ === 'InlineFragment') visit(selection.SelectionSet);
      else {
        const fragment = walker.fragments.get(selection.Name);
        if (!fragment) return;
        if (!seen.has(fragment.Name)) {
          seen.add(fragment.Name);
          if (seen.size > deepest) throw new BuiltinError('nested too deeply');
          visit(fragment.SelectionSet);
        }
      }
    }
  };
  visit(selections);
  if (names.size > 1 || [...names].some((name) => name.startsWith('__')))
    throw new BuiltinError('a subscription selects one field');
}

/** No fragment spreads itself (October 2021 section 5.5.2.2). Each is looked through once. */
export function checkCycles(walker: Walker, start: Node<'FragmentDefinition'>, visited: Set<string>): void {
  const path = new Set<string>();
  const visit = (fragment: Node<'FragmentDefinition'>): void => {
    if (visited.has(fragment.Name)) return;
    visited.add(fragment.Name);
    path.add(fragment.Name);
    if (path.size > deepest) throw new BuiltinError('nested too deeply');
    for (const name of spreadsIn(fragment.SelectionSet, walker.context)) {
      if (path.has(name)) throw new BuiltinError('a fragment spreads itself');
      const next = walker.fragments.get(name);
      if (next) visit(next);
    }
    path.delete(fragment.Name);
  };
  visit(start);
}

function spreadsIn(selections: readonly Selection[], context: BuiltinContext): string[] {
  const found: string[] = [];
  const sets = [selections];
  for (let set = sets.pop(); set; set = sets.pop())
    for (const selection of set) {
      context.spend(unitsPerVisit);
      if (selection.$ === 'FragmentSpread') found.push(selection.Name);
      else sets.push(selection.SelectionSet);
    }
  return found;
}
