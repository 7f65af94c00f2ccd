import type { Case, Cases } from './opinion.ts';

/**
 * The verdict on each case of `test_x[case]`, in the shape of OPA's report. OPA's evaluator says which cases were tried
 * (`expected`), the value of the rule which of them hold; what only one of them has heard of makes the two differ.
 */
export function casesIn(value: unknown, expected: Cases): Cases {
  const held = isTree(value) ? value : {};
  const made = [...new Set([...Object.keys(expected), ...Object.keys(held)])].map((name) => [
    name,
    caseOf(name, memberOf(held, name), memberOf(expected, name)?.sub_results ?? {}),
  ]);
  return Object.fromEntries(made) as Cases;
}

export const hasFailed = (cases: Cases): boolean => Object.values(cases).some(({ fail }) => fail);

/** Every case that is no group, with the names that lead to it. */
export function* leavesOf(
  cases: Cases,
  names: readonly string[] = [],
): Generator<{ readonly names: readonly string[]; readonly fail: boolean }> {
  for (const name of Object.keys(cases).toSorted()) {
    const { fail = false, sub_results: inner = {} } = cases[name] ?? {};
    if (Object.keys(inner).length === 0) yield { names: [...names, name], fail };
    else yield* leavesOf(inner, [...names, name]);
  }
}

function caseOf(name: string, value: unknown, expected: Cases): Case {
  // OPA's report takes null for nothing said.
  if (value === null) return {};
  if (value === true) return { name };
  const inner = value === undefined || isTree(value) ? casesIn(value, expected) : {};
  const isGroup = Object.keys(inner).length > 0;
  return {
    name,
    ...(isTree(value) && !hasFailed(inner) ? {} : { fail: true }),
    ...(isGroup ? { sub_results: inner } : {}),
  };
}

const isTree = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const memberOf = <T>(object: Readonly<Record<string, T>>, name: string): T | undefined =>
  Object.hasOwn(object, name) ? object[name] : undefined;
