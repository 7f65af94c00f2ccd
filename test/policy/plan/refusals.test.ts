import { expect, test } from 'vitest';
import { isNever } from '../../../src/policy/plan/condition.ts';
import { holds } from '../../../src/policy/plan/evaluate.ts';
import { renderSqlite } from '../../../src/policy/plan/render/sqlite.ts';
import { refusalOf, subjectOf } from './subject.ts';

/** What cannot be said is refused with its place, and what would be lost on the way is not. */

const asker = { id: 'a', groups: ['g'], level: 1 };
const planOf = (body: string) => subjectOf(`package authz\n\n${body}\n`, asker);
const resource = (properties: object) => ({ resource: { id: 'x', properties } });

test.each([
  [
    'with',
    'allow if not f with input.resource as {}\n\nf if input.resource.properties.x == 1',
    /authz\.rego:3: "with"/,
  ],
  [
    'a built-in',
    'allow if lower(input.resource.properties.owner) == "a"',
    /authz\.rego:3: lower has no counterpart/,
  ],
  [
    'a comprehension',
    'allow if count([x | some x in input.resource.properties.tags]) > 1',
    /authz\.rego:3: /,
  ],
  ['every', 'allow if every x in input.resource.properties.tags { x == 1 }', /authz\.rego:3: "every"/],
  [
    'a rule with else',
    'allow if r == 1\n\nr := 1 if input.resource.properties.x == 1 else := 2',
    /authz\.rego:5: .*inlined/,
  ],
  [
    'two attributes',
    'allow if input.resource.properties.x == input.resource.properties.y',
    /authz\.rego:3: two attributes/,
  ],
  ['the resource as a whole', 'allow if input.resource == {}', /authz\.rego:3: /],
  [
    'what is random',
    'allow if {\n\trand.intn("x", 2) == 1\n\tinput.resource.properties.x == 1\n}',
    /authz\.rego:3: rand\.intn/,
  ],
  [
    'a function with two values',
    'allow if f(input.resource.properties.x) == 1\n\nf(x) := 1 if x > 1\n\nf(x) := 2 if x > 2',
    /authz\.rego:7: authz\.f .*two values/,
  ],
  [
    'a number that a double does not hold',
    'allow if input.resource.properties.x == 9007199254740993',
    /authz\.rego:3: /,
  ],
  [
    'an obligation of the resource',
    'allow := true\n\nobligations contains {"of": input.resource.properties.x}',
    /plan_unsupported/,
  ],
])('refuses %s', async (_what, body, said) => {
  const refusal = await refusalOf(planOf(body));
  expect(refusal).toMatch(/^plan_unsupported: /);
  expect(refusal).toMatch(said);
});

test.each([
  ['an argument', 'allow if not f(input.resource.properties.x)\n\nf(x) if x == 1'],
  [
    'what a function is given and looks at under not',
    'allow if f(input.resource.properties.x)\n\nf(x) if not x == 1',
  ],
  ['a variable', 'allow if {\n\ty := input.resource.properties.x\n\tnot y == 1\n}'],
  ['what a built-in is given', 'allow if not startswith(input.resource.properties.x, "a")'],
  [
    'an argument that is not looked at',
    'allow if {\n\tf(input.resource.properties.x)\n\tnot input.resource.properties.x == 1\n}\n\nf(_) := true',
  ],
])('%s that is missing is missing under not', async (_what, body) => {
  const subject = await planOf(body);
  expect(subject.allows({ id: 'x', properties: {} })).toBe(false);
  expect(holds(subject.plan.condition, resource({}))).toBe(false);
  expect(holds(subject.plan.condition, resource({ x: 'b' }))).toBe(true);
});

test('a policy that fails on some resources leaves them out', async () => {
  const subject = await planOf(
    'allow if kind == 1\n\nkind := 1 if input.resource.properties.a == 1\n\nkind := 2 if input.resource.properties.b == 1',
  );
  expect(subject.allows({ id: 'x', properties: { a: 1, b: 1 } })).toBe(false);
  expect(holds(subject.plan.condition, resource({ a: 1, b: 1 }))).toBe(false);
  expect(holds(subject.plan.condition, resource({ a: 1 }))).toBe(true);
});

test('a deny that is no set and an obligation that is no object allow nothing', async () => {
  for (const body of ['allow := true\n\ndeny := {"a": true}', 'allow := true\n\nobligations contains "x"'])
    expect(isNever((await planOf(body)).plan.condition)).toBe(true);
});

test('values are parameters, and names are quoted', () => {
  const { text, parameters } = renderSqlite(
    { op: 'eq', attribute: ['resource', 'properties', 'x'], value: "' OR 1=1 --" },
    new Map([['resource.properties.x', { name: 'a` OR 1=1 --', type: 'text', null: 'absent' }]]),
  );
  expect(parameters).toEqual(["' OR 1=1 --"]);
  expect(text).not.toContain("' OR 1=1");
  expect(text).toContain('`a`` OR 1=1 --`');
});

test('rules that stand on each other do not double for ever', async () => {
  const rules = Array.from(
    { length: 40 },
    (_, at) =>
      `default r${at} := 0\n\nr${at} := 1 if {\n\tr${at + 1} == 0\n\tinput.resource.properties.x${at} == 1\n}\n`,
  );
  const began = performance.now();
  const last = 'default r40 := 0\n\nr40 := 1 if input.resource.properties.x == 1';
  await refusalOf(planOf(`allow if r0 == 0\n\n${rules.join('\n')}\n${last}`));
  expect(performance.now() - began).toBeLessThan(20_000);
});
