import { equalValues, identity, isArray, RegoObject, RegoSet, type Value } from '../values/values.ts';
import { type BuiltinContext, BuiltinError, type BuiltinTable, members, object } from './builtin.ts';

export const graphBuiltins: BuiltinTable = {
  'graph.reachable_paths': ([graph, initial], context) =>
    reachablePaths(object(graph), members(initial), context),
  'object.subset': ([whole, part], context) => {
    if (whole === undefined || part === undefined) throw new BuiltinError('two values are needed');
    return isSubset(whole, part, context);
  },
};

/** Fuel units of a step along an edge. There can be as many paths as there are permutations of the nodes. */
const unitsPerStep = 200;

function neighbours(edges: Value): readonly Value[] {
  return isArray(edges) || edges instanceof RegoSet ? members(edges) : [];
}

function reachablePaths(graph: RegoObject, initial: readonly Value[], context: BuiltinContext): RegoSet {
  const paths = new RegoSet();
  const follow = (node: Value, path: readonly Value[], seen: readonly Value[]): void => {
    context.spend(unitsPerStep * (path.length + 1));
    const edges = graph.get(node);
    if (edges === undefined) {
      paths.add(path);
      return;
    }
    const longer = [...path, node];
    const next = neighbours(edges);
    if (next.length === 0) paths.add(longer);
    const reached = new RegoSet([...seen, node]);
    for (const neighbour of next) {
      if (reached.has(neighbour)) paths.add(longer);
      else follow(neighbour, longer, [...seen, node]);
    }
  };
  for (const node of initial) {
    const edges = graph.get(node);
    if (edges === undefined) continue;
    const next = neighbours(edges);
    if (next.length === 0) paths.add([node]);
    for (const neighbour of next) follow(neighbour, [node], [node]);
  }
  return paths;
}

/** Fuel units of a comparison of two elements. */
const unitsPerComparison = 100;

function isSubset(whole: Value, part: Value, context: BuiltinContext): boolean {
  const nested = subsetOf(whole, part, context);
  if (nested === undefined)
    throw new BuiltinError('both arguments must be of the same type, or an array and a set');
  return nested;
}

/** Undefined for types that have no subsets. */
function subsetOf(whole: Value, part: Value, context: BuiltinContext): boolean | undefined {
  context.spend(unitsPerComparison);
  if (whole instanceof RegoObject && part instanceof RegoObject) return isObjectSubset(whole, part, context);
  if (whole instanceof RegoSet && part instanceof RegoSet)
    return part.sorted().every((member) => whole.has(member));
  if (isArray(whole) && isArray(part)) return isRun(whole, part, context);
  if (isArray(whole) && part instanceof RegoSet) {
    const present = new RegoSet(whole);
    return part.sorted().every((member) => present.has(member));
  }
  return undefined;
}

function isObjectSubset(whole: RegoObject, part: RegoObject, context: BuiltinContext): boolean {
  for (const [key, value] of part.entries()) {
    const other = whole.get(key);
    if (other === undefined) return false;
    if (equalValues(value, other)) continue;
    // An array and a set compare only at the top.
    const isMixed = isArray(other) && value instanceof RegoSet;
    if (isMixed || subsetOf(other, value, context) !== true) return false;
  }
  return true;
}

/** Whether the elements of one array are in the other, next to each other and in order. */
function isRun(whole: readonly Value[], part: readonly Value[], context: BuiltinContext): boolean {
  const keys = new Map<string, number>();
  const number = (value: Value): number => {
    const key = identity(value);
    const known = keys.get(key) ?? keys.size;
    keys.set(key, known);
    return known;
  };
  const [haystack, needle] = [whole.map(number), part.map(number)];
  context.spend(haystack.length * Math.max(needle.length, 1));
  for (let at = 0; at + needle.length <= haystack.length; at += 1)
    if (needle.every((each, index) => haystack[at + index] === each)) return true;
  return needle.length === 0;
}
