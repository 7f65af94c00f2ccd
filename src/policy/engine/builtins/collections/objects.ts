import { equalValues, isArray, isNumber, RegoObject, RegoSet, type Value } from '../../values/values.ts';
import {
  any,
  array,
  type BuiltinContext,
  BuiltinError,
  type BuiltinTable,
  int64In,
  object,
} from '../builtin.ts';

/** Fuel units of an entry that is looked up or copied: its key is written to be found. */
const unitsPerEntry = 800;

export const objectBuiltins: BuiltinTable = {
  'object.get': ([source, key, fallback], context) => {
    const found = isArray(key) ? follow(object(source), key, context) : object(source).get(any(key));
    return found === undefined ? any(fallback) : found;
  },
  'object.keys': ([source], context) => {
    context.spend(object(source).size * unitsPerEntry);
    return new RegoSet(Array.from(object(source).entries(), ([key]) => key));
  },
  'object.remove': ([source, keys], context) => {
    const removed = keySet(keys, context);
    return filtered(object(source), context, (key) => !removed.has(key));
  },
  'object.filter': ([source, keys], context) => {
    const whole = object(source);
    const kept = keySet(keys, context);
    // The keys are written as they are in the larger one.
    if (whole.size >= kept.size) return filtered(whole, context, (key) => kept.has(key));
    context.spend(kept.size * unitsPerEntry);
    const entries = kept.sorted().map((key) => [key, whole.get(key)] as const);
    return new RegoObject(
      entries.filter((entry): entry is readonly [Value, Value] => entry[1] !== undefined),
    );
  },
  'object.union': ([first, second], context) => {
    const [a, b] = [object(first), object(second)];
    if (a.size === 0) return b;
    context.spend((a.size + b.size) * unitsPerEntry);
    return b.size === 0 || equalValues(a, b) ? a : merge(a, b, context);
  },
  'object.union_n': ([objects], context) => unionOf(array(objects), context),
};

function filtered(source: RegoObject, context: BuiltinContext, isKept: (key: Value) => boolean): RegoObject {
  context.spend(source.size * unitsPerEntry);
  return new RegoObject([...source.entries()].filter(([key]) => isKept(key)));
}

function keySet(keys: Value | undefined, context: BuiltinContext): RegoSet {
  if (keys instanceof RegoSet) return keys;
  const list = keys instanceof RegoObject ? Array.from(keys.entries(), ([key]) => key) : array(keys);
  context.spend(list.length * unitsPerEntry);
  return new RegoSet(list);
}

/** What a step of a path leads to; in a set a member leads to itself. */
export function child(parent: Value, key: Value): Value | undefined {
  if (parent instanceof RegoObject) return parent.get(key);
  if (parent instanceof RegoSet) return parent.has(key) ? key : undefined;
  if (!isArray(parent) || !isNumber(key)) return undefined;
  const index = int64In(key);
  return index === undefined || index < 0n ? undefined : parent[Number(index)];
}

function follow(source: Value, path: readonly Value[], context: BuiltinContext): Value | undefined {
  context.spend(path.length * unitsPerEntry);
  let current: Value | undefined = source;
  for (const key of path) {
    if (current === undefined) break;
    current = child(current, key);
  }
  return current;
}

/** The entries of both; where both have an object they are merged, and else the second's value stays. */
function merge(a: RegoObject, b: RegoObject, context: BuiltinContext): RegoObject {
  context.spend((a.size + b.size) * unitsPerEntry);
  const merged = a.copy();
  for (const [key, value] of b.entries()) {
    const before = a.get(key);
    merged.set(
      key,
      before instanceof RegoObject && value instanceof RegoObject ? merge(before, value, context) : value,
    );
  }
  return merged;
}

/** From the last to the first. */
function unionOf(elements: readonly Value[], context: BuiltinContext): Value {
  const objects = elements.map((element) => {
    if (!(element instanceof RegoObject)) throw new BuiltinError('an element is not an object');
    return element;
  });
  const [only] = objects;
  if (only && objects.length === 1) return only;
  const closed = new WeakSet<RegoObject>();
  return objects.reduceRight((later, each) => under(each, later, closed, context), new RegoObject());
}

/**
 * `later` over what came before it.
 * @param closed objects that stand over what is none: what came before that is not merged into them any more
 */
function under(
  before: RegoObject,
  later: RegoObject,
  closed: WeakSet<RegoObject>,
  context: BuiltinContext,
): RegoObject {
  context.spend((before.size + later.size) * unitsPerEntry);
  const merged = later.copy();
  for (const [key, value] of before.entries()) {
    const over = later.get(key);
    if (over === undefined) merged.set(key, value);
    else if (over instanceof RegoObject && !closed.has(over)) {
      const next = value instanceof RegoObject ? under(value, over, closed, context) : over.copy();
      if (!(value instanceof RegoObject)) closed.add(next);
      merged.set(key, next);
    }
  }
  return merged;
}
