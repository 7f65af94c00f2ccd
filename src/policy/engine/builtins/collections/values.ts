import {
  compareValues,
  equalValues,
  isArray,
  isNumber,
  RegoObject,
  RegoSet,
  type Value,
} from '../../values/values.ts';
import { any, type Builtin, type BuiltinContext, BuiltinError, type BuiltinTable } from '../builtin.ts';
import { child } from './objects.ts';

/** Fuel units of a value that is compared with another, and of one that is visited with the path to it. */
const unitsPerComparison = 100;
const unitsPerVisit = 400;
const unitsPerStep = 20;

function comparison(isTrue: (order: number) => boolean): Builtin {
  return ([a, b]) => isTrue(compareValues(any(a), any(b)));
}

const typeTests: readonly (readonly [name: string, isOfType: (value: Value) => boolean])[] = [
  ['null', (value) => value === null],
  ['boolean', (value) => typeof value === 'boolean'],
  ['number', isNumber],
  ['string', (value) => typeof value === 'string'],
  ['array', isArray],
  ['object', (value) => value instanceof RegoObject],
  ['set', (value) => value instanceof RegoSet],
];

export function typeNameOf(value: Value): string {
  return typeTests.find(([, isOfType]) => isOfType(value))?.[0] ?? 'null';
}

/** Comparisons, tests of types and membership: what takes any value. */
export const valueBuiltins: BuiltinTable = {
  equal: ([a, b]) => equalValues(any(a), any(b)),
  neq: ([a, b]) => !equalValues(any(a), any(b)),
  lt: comparison((order) => order < 0),
  lte: comparison((order) => order <= 0),
  gt: comparison((order) => order > 0),
  gte: comparison((order) => order >= 0),
  type_name: ([value]) => typeNameOf(any(value)),
  ...Object.fromEntries(
    typeTests.map(([name, isOfType]): [string, Builtin] => [`is_${name}`, ([value]) => isOfType(any(value))]),
  ),
  count: ([value]) => sizeOf(any(value)),
  'internal.member_2': ([member, collection], context) => isMember(any(member), any(collection), context),
  'internal.member_3': ([key, value, collection]) => hasEntry(any(key), any(value), any(collection)),
  walk: ([value], context) => {
    const pairs: Value[] = [];
    visit(any(value), [], pairs, context);
    return pairs;
  },
};

function sizeOf(value: Value): number {
  if (typeof value === 'string') return lengthOf(value);
  if (isArray(value)) return value.length;
  if (value instanceof RegoObject || value instanceof RegoSet) return value.size;
  throw new BuiltinError('neither a collection nor a string');
}

/** In characters: a pair of surrogates is one. */
function lengthOf(text: string): number {
  let length = text.length;
  for (let at = 0; at < text.length; at += 1) if ((text.charCodeAt(at) & 0xfc00) === 0xdc00) length -= 1;
  return length;
}

function isMember(member: Value, collection: Value, context: BuiltinContext): boolean {
  if (collection instanceof RegoSet) return collection.has(member);
  if (isArray(collection)) {
    context.spend(collection.length * unitsPerComparison);
    return collection.some((element) => equalValues(element, member));
  }
  if (!(collection instanceof RegoObject)) return false;
  context.spend(collection.size * unitsPerComparison);
  return collection.entries().some(([, value]) => equalValues(value, member));
}

function hasEntry(key: Value, value: Value, collection: Value): boolean {
  const found = child(collection, key);
  return found !== undefined && equalValues(found, value);
}

/** Pairs of a path and what is there, in OPA's order: what contains comes before what it contains. */
function visit(value: Value, path: readonly Value[], pairs: Value[], context: BuiltinContext): void {
  context.spend(unitsPerVisit + path.length * unitsPerStep);
  pairs.push([path, value]);
  const steps: readonly (readonly [key: Value, value: Value])[] = isArray(value)
    ? value.map((element, index) => [index, element] as const)
    : value instanceof RegoObject
      ? value.sorted()
      : value instanceof RegoSet
        ? value.sorted().map((member) => [member, member] as const)
        : [];
  for (const [key, inner] of steps) visit(inner, [...path, key], pairs, context);
}
