/** What an attribute is compared with. Numbers are finite, and as exact as JSON's text of them. */
export type Value = string | number | boolean | null;

/**
 * Where an attribute is: a root and the members below it. The root is `resource`, whose members are `id` and `properties`, or
 * an element that an `any` around it names.
 */
export type Path = readonly string[];

export const comparisons = ['eq', 'ne', 'lt', 'le', 'gt', 'ge'] as const;
export type Comparison = (typeof comparisons)[number];
export const textTests = ['starts_with', 'ends_with', 'contains_text'] as const;
export type TextTest = (typeof textTests)[number];

/** About one attribute, by a constant. None holds of an attribute that is missing. */
export type Atom =
  /** In the order of Rego's types: null, boolean, number, text, array, object. */
  | { readonly op: Comparison; readonly attribute: Path; readonly value: Value }
  | { readonly op: 'in'; readonly attribute: Path; readonly values: readonly Value[] }
  /** An element of the array, or a member of the object, is the value. */
  | { readonly op: 'contains'; readonly attribute: Path; readonly value: Value }
  | { readonly op: TextTest; readonly attribute: Path; readonly value: string }
  /** It is there, if only as null. */
  | { readonly op: 'exists'; readonly attribute: Path };

/**
 * A condition on a resource: it holds or it does not. Rego's undefined is not holding, and `not` of it holds.
 */
export type Condition =
  | { readonly op: 'constant'; readonly value: boolean }
  | { readonly op: 'and' | 'or'; readonly of: readonly Condition[] }
  | { readonly op: 'not'; readonly of: Condition }
  /** Of some element of the array, or member of the object, that the condition calls `element`. */
  | { readonly op: 'any'; readonly attribute: Path; readonly element: string; readonly of: Condition }
  | Atom;

export const ALWAYS: Condition = { op: 'constant', value: true };
export const NEVER: Condition = { op: 'constant', value: false };

/** Without what its atoms say anyway: that their attributes are there. */
export function and(all: readonly Condition[]): Condition {
  const whole = joined('and', all, NEVER, ALWAYS);
  if (whole.op !== 'and' || !whole.of.some(({ op }) => op === 'exists')) return whole;
  const said = new Set(
    whole.of.flatMap((each) =>
      'attribute' in each && each.op !== 'exists' ? [JSON.stringify(each.attribute)] : [],
    ),
  );
  const of = whole.of.filter((each) => each.op !== 'exists' || !said.has(JSON.stringify(each.attribute)));
  return of.length === 1 ? (of[0] as Condition) : { op: 'and', of };
}

export const or = (all: readonly Condition[]): Condition => joined('or', all, ALWAYS, NEVER);

export function not(of: Condition): Condition {
  if (of.op === 'constant') return of.value ? NEVER : ALWAYS;
  return of.op === 'not' ? of.of : { op: 'not', of };
}

export function any(attribute: Path, element: string, of: Condition): Condition {
  return isNever(of) ? NEVER : { op: 'any', attribute, element, of };
}

export const isAlways = (condition: Condition): boolean => condition.op === 'constant' && condition.value;
export const isNever = (condition: Condition): boolean => condition.op === 'constant' && !condition.value;

/** Flat, each condition once, and without what changes nothing. */
function joined(
  op: 'and' | 'or',
  all: readonly Condition[],
  absorbing: Condition,
  neutral: Condition,
): Condition {
  const kept = new Map<string, Condition>();
  for (const each of all)
    for (const one of each.op === op ? each.of : [each]) {
      if (one.op === 'constant' && one.value === (absorbing === ALWAYS)) return absorbing;
      if (one.op !== 'constant') kept.set(JSON.stringify(one), one);
    }
  const of = [...kept.values()];
  if (of.length <= 1) return of[0] ?? neutral;
  return { op, of };
}

/** How many nodes a condition has, and how deep they nest. */
export function sizeOf(condition: Condition): { readonly nodes: number; readonly depth: number } {
  const inner = condition.op === 'and' || condition.op === 'or' ? condition.of : innerOf(condition);
  let [nodes, depth] = [1, 1];
  for (const each of inner) {
    const size = sizeOf(each);
    nodes += size.nodes;
    depth = Math.max(depth, size.depth + 1);
  }
  if (condition.op === 'in') nodes += condition.values.length;
  return { nodes, depth };
}

const innerOf = (condition: Condition): readonly Condition[] =>
  condition.op === 'not' || condition.op === 'any' ? [condition.of] : [];
