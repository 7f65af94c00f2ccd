import { expect, test } from 'vitest';
import { PolicyModule } from '../../../src/policy/engine/module.ts';
import { buildWasm, context, evaluateWithOpa } from './opa.ts';

const record = (length: number, change: Record<string, unknown> = {}): Record<string, unknown> => ({
  ...Object.fromEntries(Array.from({ length }, (_, index) => [`k${(index * 7) % length}`, index])),
  ...change,
});

/** Larger than what the module compares by itself, or not, and different in the first, in the last, in a part or nowhere. */
const input = {
  objects: [
    record(5),
    record(200),
    record(200, { k0: null }),
    record(200, { k9: [1, { index: 1.5 }] }),
    record(200, { z: null }),
    record(201),
    { a: 1 },
    {},
  ],
};

const operators = ['==', '!=', '<', '<=', '>', '>='];
/** One answer for each pair. */
const ofPairs = (expression: string): string =>
  `[answer | some a in input.objects; some b in input.objects; answer := ${expression}]`;

const membersOf = (name: string): string => `{[x, y] | some x, y in ${name}}`;

const expressions = [
  ...operators.map((operator) => ofPairs(`a ${operator} b`)),
  ...operators.map((operator) => ofPairs(`${membersOf('a')} ${operator} ${membersOf('b')}`)),
  ofPairs('a in [b]'),
  ofPairs('count({a, b})'),
  ofPairs('count({a: 1, [b]: 2, b: 3})'),
  'count({a | some a in input.objects})',
  `count({${membersOf('a')} | some a in input.objects})`,
];

test('large objects and sets compare as in OPA', async () => {
  const rules = expressions.map((expression, index) => `r${index} := ${expression}`);
  const entrypoints = expressions.map((_, index) => `test/r${index}`);
  const module = PolicyModule.compile(await buildWasm(`package test\n\n${rules.join('\n')}\n`, entrypoints));
  const expected = await evaluateWithOpa(expressions, input);
  for (const [index, expression] of expressions.entries()) {
    const instance = module.instantiate('{}', { fuel: 2_000_000_000, memoryPages: 512 });
    const { result } = instance.evaluate(`test/r${index}`, JSON.stringify(input), context);
    expect(result, expression).toEqual(expected[expression]);
  }
});

test('objects and sets are compared at a cost that grows as they do', async () => {
  const wasm = await buildWasm(
    'package test\n\nobjects := input.object == {"a": 1}\n\nsets := {name | some name, _ in input.object} == {"a"}\n',
    ['test/objects', 'test/sets'],
  );
  const instance = PolicyModule.compile(wasm).instantiate('{}', { fuel: 200_000_000, memoryPages: 512 });
  const cost = (path: string, members: number): number =>
    instance.evaluate(`test/${path}`, JSON.stringify({ object: record(members) }), context).cost;
  for (const path of ['objects', 'sets']) expect(cost(path, 2_000)).toBeLessThan(6 * cost(path, 500));
});
