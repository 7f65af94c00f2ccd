import { identity, isArray, RegoObject, RegoSet, type Value } from '../values/values.ts';
import { type BuiltinContext, BuiltinError, type BuiltinTable, members, object } from './builtin.ts';

export const graphBuiltins: BuiltinTable = {
  'graph.reachable': ([graph, initial], context) => reachable(object(graph), members(initial), context),
  'graph.reachable_paths': ([graph, initial], context) =>
    reachablePaths(object(graph), members(initial), context),
  'object.subset': ([whole, part], context) => {
    if (whole === undefined || part === undefined) throw new BuiltinError('two values are needed');
    return isSubset(whole, part, context);
  },
};

/**
 * Fuel units of a step along an edge, and of one edge more in a node: measured, up to 400 ns. There can be as many paths
 * as there are permutations of the nodes.
 */
const unitsPerStep = 1_000;
/** Fuel units per node of a path that is found, and per character of its text, which is written to be told from others. */
const unitsPerNode = 200;
const unitsPerCharacter = 4;

function neighbours(edges: Value): readonly Value[] {
  return isArray(edges) || edges instanceof RegoSet ? members(edges) : [];
}

/** The nodes, of those that have an entry of their own. */
function reachable(graph: RegoObject, initial: readonly Value[], context: BuiltinContext): RegoSet {
  const reached = new RegoSet();
  const queue = [...initial];
  for (let node = queue.pop(); node !== undefined; node = queue.pop()) {
    context.spend(unitsPerStep);
    const edges = graph.get(node);
    if (edges === undefined || reached.has(node)) continue;
    reached.add(node);
    const next = neighbours(edges);
    context.spend(next.length * unitsPerStep);
    for (const neighbour of next) if (!reached.has(neighbour)) queue.push(neighbour);
  }
  return reached;
}

function reachablePaths(graph: RegoObject, initial: readonly Value[], context: BuiltinContext): RegoSet {
  const paths = new RegoSet();
  const path: Value[] = [];
  /** The identities of the nodes of the path. */
  const passed = new Set<string>();
  let length = 0;
  const add = (): void => {
    context.spend((path.length + 1) * unitsPerNode + length * unitsPerCharacter);
    paths.add([...path]);
  };
  const follow = (node: Value, key: string): void => {
    context.spend(unitsPerStep + key.length * unitsPerCharacter);
    const edges = graph.get(node);
    // What is no node itself ends a path, and begins none.
    if (edges === undefined) {
      if (path.length > 0) add();
      return;
    }
    const isFirst = path.length === 0;
    // As in OPA, a first node with an edge to itself is in the path twice.
    const isAgain = passed.has(key);
    path.push(node);
    passed.add(key);
    length += key.length;
    const next = neighbours(edges);
    if (next.length === 0) add();
    for (const neighbour of next) {
      context.spend(unitsPerStep);
      const nextKey = identity(neighbour);
      if (!isFirst && passed.has(nextKey)) add();
      else follow(neighbour, nextKey);
    }
    path.pop();
    if (!isAgain) passed.delete(key);
    length -= key.length;
  };
  for (const node of initial) follow(node, identity(node));
  return paths;
}

/** Fuel units of a comparison of two elements, and per character of their texts, which are what is compared. */
const unitsPerComparison = 400;
const unitsPerCompared = 8;
/** Fuel units of an element of an array at one place of another. */
const unitsPerElement = 4;

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
  if (whole instanceof RegoSet && part instanceof RegoSet) return isWithin(part, whole, context);
  if (isArray(whole) && isArray(part)) return isRun(whole, part, context);
  if (isArray(whole) && part instanceof RegoSet) return isAmong(whole, part, context);
  return undefined;
}

/** As OPA counts: an element that is there twice counts for two members, and an empty array has no subset. */
function isAmong(whole: readonly Value[], part: RegoSet, context: BuiltinContext): boolean {
  context.spend(whole.length * unitsPerComparison);
  let missing = part.size;
  return whole.some((element) => {
    if (part.has(element)) missing -= 1;
    return missing === 0;
  });
}

function isWithin(part: RegoSet, whole: RegoSet, context: BuiltinContext): boolean {
  context.spend(part.size * unitsPerComparison);
  for (const member of part.members()) if (!whole.has(member)) return false;
  return true;
}

function isObjectSubset(whole: RegoObject, part: RegoObject, context: BuiltinContext): boolean {
  for (const [key, value] of part.entries()) {
    const other = whole.get(key);
    if (other === undefined) return false;
    const [one, two] = [identity(value), identity(other)];
    context.spend(unitsPerComparison + Math.min(one.length, two.length) * unitsPerCompared);
    if (one === two) continue;
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
    context.spend(unitsPerComparison + key.length * unitsPerCompared);
    const known = keys.get(key) ?? keys.size;
    keys.set(key, known);
    return known;
  };
  const [haystack, needle] = [whole.map(number), part.map(number)];
  context.spend(haystack.length * Math.max(needle.length, 1) * unitsPerElement);
  for (let at = 0; at + needle.length <= haystack.length; at += 1)
    if (needle.every((each, index) => haystack[at + index] === each)) return true;
  return needle.length === 0;
}
