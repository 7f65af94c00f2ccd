import { beforeAll, describe, expect, test } from 'vitest';
import { PolicyModule } from '../../../src/policy/engine/module.ts';
import { compareValues, RegoSet, type Value } from '../../../src/policy/engine/values/values.ts';
import { buildWasm, context } from './opa.ts';

const range = (length: number): number[] => Array.from({ length }, (_, index) => index);

/** Rules that are level by level twice what is below, which the module's memory holds once. */
const doubled = (levels: number, double: (below: string) => string): string =>
  range(levels)
    .map((level) => `x${level + 1} := ${double(`x${level}`)}`)
    .join('\n');

/** And fuel units of one, which are more than those of making it. */
const results = [
  ['arrays', 'input.one', 15, (below: string) => `[${below}, ${below}]`, 5_000_000],
  ['objects', 'input.one', 14, (below: string) => `{"a": ${below}, "b": ${below}}`, 10_000_000],
  ['texts', 'input.text', 9, (below: string) => `[${below}, ${below}]`, 1_000_000],
  [
    'members called __proto__',
    'input.one',
    12,
    (below: string) => `{"a": ${below}, "__proto__": ${below}}`,
    5_000_000,
  ],
  ['sets', 'input.one', 7, (below: string) => `{[${below}, 1], [${below}, 2]}`, 200_000],
] as const;

describe('a result is paid for as it is read, with what is shared in it as often as it stands there', () => {
  let module: PolicyModule;
  beforeAll(async () => {
    const packages = results.map(
      ([, leaf, levels, double], index) =>
        `package r${index}\n\nx0 := ${leaf}\n${doubled(levels, double)}\nresult := x${levels}\n`,
    );
    const entrypoints = results.map((_, index) => `r${index}/result`);
    module = PolicyModule.compile(await buildWasm(packages, entrypoints));
  });

  const input = JSON.stringify({ one: 1, text: 'a'.repeat(1_000) });

  test.each(results.map(([name, , , , units], index) => [name, units, index] as const))(
    'shared %s: %d units are not enough',
    (_, units, index) => {
      const ask = (fuel: number) => module.instantiate('{}', { fuel, memoryPages: 512 });
      const gone = expect.objectContaining({ code: 'deadline_exceeded' });
      expect(() => ask(units).evaluate(`r${index}/result`, input, context)).toThrow(gone);
      expect(() => ask(units).evaluateToJson(`r${index}/result`, input, context)).toThrow(gone);
      const plain = ask(100_000_000).evaluate(`r${index}/result`, input, context);
      const text = ask(100_000_000).evaluateToJson(`r${index}/result`, input, context);
      expect(JSON.parse(text.result as string)).toEqual(plain.result);
    },
  );
});

test('sets of sets of sets are compared in a time that their size bounds', () => {
  let [a, b, c]: Value[] = [0, 1, 2];
  for (const _ of range(16))
    [a, b, c] = [
      new RegoSet([a as Value, b as Value]),
      new RegoSet([a as Value, c as Value]),
      new RegoSet([b as Value, c as Value]),
    ];
  expect(compareValues(a as Value, b as Value)).toBe(-1);
});
