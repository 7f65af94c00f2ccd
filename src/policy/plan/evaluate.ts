import { type Atom, and, any, type Comparison, type Condition, not, or, type Path } from './condition.ts';

/** An attribute that is not there. */
export const MISSING = Symbol('missing');
export type Found = unknown;

/** What is known: by root, `resource` or the name of an element. */
export type Scope = Readonly<Record<string, unknown>>;

/** Rego's order of types. */
const RANKS = ['null', 'boolean', 'number', 'string', 'array', 'object'] as const;

export function rankOf(value: unknown): number {
  const type = value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value;
  return RANKS.indexOf(type as (typeof RANKS)[number]);
}

/** Of scalars; of arrays and objects only where they stand to scalars. Text is in the order of its UTF-8. */
export function compare(one: unknown, other: unknown): number {
  const [a, b] = [rankOf(one), rankOf(other)];
  if (a !== b) return a - b;
  if (typeof one === 'string') return Buffer.compare(Buffer.from(one), Buffer.from(other as string));
  if (typeof one === 'number') return one - (other as number);
  if (typeof one === 'boolean') return Number(one) - Number(other);
  return 0;
}

const holding: Readonly<Record<Comparison, (order: number) => boolean>> = {
  eq: (order) => order === 0,
  ne: (order) => order !== 0,
  lt: (order) => order < 0,
  le: (order) => order <= 0,
  gt: (order) => order > 0,
  ge: (order) => order >= 0,
};

export const compares = (op: Comparison, one: unknown, other: unknown): boolean =>
  holding[op](compare(one, other));

/** Members by name alone: of an array, or of text, there are none. */
export function at(root: unknown, members: Path): unknown {
  let value = root;
  for (const member of members) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return MISSING;
    if (!Object.hasOwn(value, member)) return MISSING;
    value = (value as Record<string, unknown>)[member];
  }
  return value;
}

/** What `some x in value` goes over. */
export const elementsOf = (value: unknown): readonly unknown[] =>
  typeof value === 'object' && value !== null ? Object.values(value) : [];

export function atomHolds(atom: Atom, value: unknown): boolean {
  if (value === MISSING) return false;
  switch (atom.op) {
    case 'exists':
      return true;
    case 'in':
      return atom.values.some((each) => compare(value, each) === 0);
    case 'contains':
      return elementsOf(value).some((each) => compare(each, atom.value) === 0);
    case 'starts_with':
      return typeof value === 'string' && value.startsWith(atom.value);
    case 'ends_with':
      return typeof value === 'string' && value.endsWith(atom.value);
    case 'contains_text':
      return typeof value === 'string' && value.includes(atom.value);
    default:
      return compares(atom.op, value, atom.value);
  }
}

/** Whether a condition holds of what `scope` has whole. */
export function holds(condition: Condition, scope: Scope): boolean {
  switch (condition.op) {
    case 'constant':
      return condition.value;
    case 'and':
      return condition.of.every((each) => holds(each, scope));
    case 'or':
      return condition.of.some((each) => holds(each, scope));
    case 'not':
      return !holds(condition.of, scope);
    case 'any':
      return elementsOf(found(condition.attribute, scope)).some((each) =>
        holds(condition.of, { ...scope, [condition.element]: each }),
      );
    default:
      return atomHolds(condition, found(condition.attribute, scope));
  }
}

const found = ([root = '', ...members]: Path, scope: Scope): unknown =>
  Object.hasOwn(scope, root) ? at(scope[root], members) : MISSING;

/** Leaves what depends on attributes that `known` has not; the others are settled. `known`: properties by name. */
export function settled(condition: Condition, known: Readonly<Record<string, unknown>>): Condition {
  if (Object.keys(known).length === 0) return condition;
  return settle(condition, { resource: { properties: known } });
}

function settle(condition: Condition, scope: Scope): Condition {
  switch (condition.op) {
    case 'constant':
      return condition;
    case 'and':
      return and(condition.of.map((each) => settle(each, scope)));
    case 'or':
      return or(condition.of.map((each) => settle(each, scope)));
    case 'not':
      return not(settle(condition.of, scope));
    case 'any': {
      const { attribute, element, of } = condition;
      if (!isKnown(attribute, scope)) return any(attribute, element, settle(of, scope));
      return or(elementsOf(found(attribute, scope)).map((each) => settle(of, { ...scope, [element]: each })));
    }
    default:
      return isKnown(condition.attribute, scope)
        ? { op: 'constant', value: atomHolds(condition, found(condition.attribute, scope)) }
        : condition;
  }
}

/** Of the resource, what is below a property that is known; of an element, all. */
function isKnown([root = '', ...members]: Path, scope: Scope): boolean {
  if (!Object.hasOwn(scope, root)) return false;
  return root !== 'resource' || (members.length >= 2 && at(scope[root], members.slice(0, 2)) !== MISSING);
}
