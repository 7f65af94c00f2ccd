import {
  ALWAYS,
  and,
  type Comparison,
  type Condition,
  NEVER,
  not,
  or,
  type Path,
  type TextTest,
  type Value,
} from './condition.ts';
import { compare, compares, elementsOf, rankOf } from './evaluate.ts';
import { Unplannable } from './rego.ts';

/** What stands on a side of a comparison: a constant, scalar or not, or an attribute. */
export type Operand = { readonly constant: unknown } | { readonly attribute: Path };

/** What a term may be, each under its condition. None of them: it is undefined. */
export type Cases = readonly { readonly when: Condition; readonly is: Operand }[];

export const constant = (value: unknown): Cases => [{ when: ALWAYS, is: { constant: value } }];
export const attribute = (path: Path): Cases => [{ when: ALWAYS, is: { attribute: path } }];

/** A boolean that is true and false under these conditions. */
export const truth = (whenTrue: Condition, whenFalse: Condition): Cases => [
  { when: whenTrue, is: { constant: true } },
  { when: whenFalse, is: { constant: false } },
];

export const overOne = (cases: Cases, one: (is: Operand) => Condition): Condition =>
  or(cases.map(({ when, is }) => (when === NEVER ? NEVER : and([when, one(is)]))));

export const overTwo = (some: Cases, others: Cases, one: (a: Operand, b: Operand) => Condition): Condition =>
  overOne(some, (a) => overOne(others, (b) => one(a, b)));

/** An element is always there; what is in it need not be. */
export const isDefined = (is: Operand): Condition =>
  'constant' in is || (is.attribute.length === 1 && is.attribute[0] !== 'resource')
    ? ALWAYS
    : { op: 'exists', attribute: is.attribute };

/** An expression alone holds unless it is false or undefined. */
export const isTruthy = (is: Operand): Condition =>
  'constant' in is ? known(is.constant !== false) : { op: 'ne', attribute: is.attribute, value: false };

const known = (value: boolean): Condition => (value ? ALWAYS : NEVER);

const mirrored = { eq: 'eq', ne: 'ne', lt: 'gt', le: 'ge', gt: 'lt', ge: 'le' } as const satisfies Record<
  Comparison,
  Comparison
>;
export const opposite = {
  eq: 'ne',
  ne: 'eq',
  lt: 'ge',
  le: 'gt',
  gt: 'le',
  ge: 'lt',
} as const satisfies Record<Comparison, Comparison>;

/** Throws `Unplannable` for what is not about one attribute and a scalar. */
export function comparison(op: Comparison, a: Operand, b: Operand): Condition {
  if ('constant' in a && 'constant' in b) {
    // Of two arrays or two objects the order is not known here.
    if (!isScalarValue(a.constant) && rankOf(a.constant) === rankOf(b.constant))
      throw new Unplannable('arrays and objects are not compared in a filter');
    return known(compares(op, a.constant, b.constant));
  }
  if ('constant' in a) return comparison(mirrored[op], b, a);
  if (!('constant' in b)) throw new Unplannable('two attributes are not compared in a filter');
  return { op, attribute: a.attribute, value: scalar(b.constant) };
}

/** `x in collection`. */
export function membership(x: Operand, collection: Operand): Condition {
  if ('constant' in x && 'constant' in collection)
    return known(elementsOf(collection.constant).some((each) => isSame(each, x.constant)));
  if ('constant' in collection) {
    const values = elementsOf(collection.constant).map(scalar);
    const { attribute: path } = x as { attribute: Path };
    return values.length === 0 ? NEVER : { op: 'in', attribute: path, values };
  }
  if (!('constant' in x)) throw new Unplannable('two attributes are not compared in a filter');
  return { op: 'contains', attribute: collection.attribute, value: scalar(x.constant) };
}

/** In Rego it is false, and not undefined, unless a side of it is missing. */
export const noMembership = (x: Operand, collection: Operand): Condition =>
  and([isDefined(x), isDefined(collection), not(membership(x, collection))]);

export function textTest(op: TextTest, a: Operand, b: Operand): Condition {
  if (!('constant' in b)) throw new Unplannable('text is looked for in an attribute, and is a constant');
  const { constant: text } = b;
  // A built-in that fails is undefined.
  if (typeof text !== 'string') return NEVER;
  if ('attribute' in a) return { op, attribute: a.attribute, value: text };
  if (typeof a.constant !== 'string') return NEVER;
  return known(
    {
      starts_with: a.constant.startsWith(text),
      ends_with: a.constant.endsWith(text),
      contains_text: a.constant.includes(text),
    }[op],
  );
}

const isScalarValue = (value: unknown): value is Value => value === null || typeof value !== 'object';

const isSame = (one: unknown, other: unknown): boolean => {
  if (isScalarValue(one) || isScalarValue(other)) return compare(one, other) === 0;
  throw new Unplannable('arrays and objects are not compared in a filter');
};

function scalar(value: unknown): Value {
  if (isScalarValue(value)) return value;
  throw new Unplannable('an attribute is compared with scalars alone');
}
