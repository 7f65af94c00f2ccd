import { beforeAll, describe, expect, test } from 'vitest';
import { PolicyModule } from '../../../src/policy/engine/module.ts';
import { adversaries, inputOf } from './adversaries.ts';
import { documentAdversaries, documents } from './documentadversaries.ts';
import { buildWasm, context } from './opa.ts';

/** `node bench/containment.ts` has the times that the charges are made of. */
describe('what a built-in does is paid for', () => {
  let module: PolicyModule;
  const all = [
    ...adversaries.map((each) => ({ ...each, input: inputOf(each.call) })),
    ...documentAdversaries.map((each) => ({ ...each, input: inputOf(each.call, documents) })),
  ];
  beforeAll(async () => {
    const rules = all.map(({ call }, index) => `r${index} := ${call}`);
    const entrypoints = all.map((_, index) => `test/r${index}`);
    module = PolicyModule.compile(await buildWasm(`package test\n\n${rules.join('\n')}\n`, entrypoints));
  });

  test.each(all.map(({ call, units, input }, index) => [units, call, index, input] as const))(
    '%d units are not enough for %s',
    (units, _, index, input) => {
      const instance = module.instantiate('{}', { fuel: units, memoryPages: 1_024 });
      expect(() => instance.evaluate(`test/r${index}`, input, context)).toThrow(
        expect.objectContaining({ code: 'deadline_exceeded' }),
      );
    },
  );

  test('ordinary calls stay cheap', async () => {
    const calls = [
      'sprintf("%s is %d", ["a", 1])',
      'strings.count("a-b", "-")',
      'semver.compare("1.2.3", "1.2.4")',
      'time.now_ns()',
      'regex.replace("abc", "b+", "x")',
      'object.subset({"a": 1, "b": 2}, {"a": 1})',
      'json.patch({"a": 1}, [{"op": "add", "path": "/b", "value": 1}])',
    ];
    const wasm = await buildWasm(
      `package test\n\n${calls.map((call, index) => `r${index} := ${call}`).join('\n')}\n`,
      ['test'],
    );
    const instance = PolicyModule.compile(wasm).instantiate('{}', { fuel: 20_000_000, memoryPages: 512 });
    // All of them together, and a hundred times over, within a budget.
    expect(instance.evaluate('test', '{}', context).cost).toBeLessThan(200_000);
  });

  /** What a caller sends must not be what a policy fails by: members are sorted before they are visited. */
  test('visiting members costs what sorting them takes: little for short names, more for texts that begin alike', async () => {
    const wasm = await buildWasm(
      `package test

visited := count([name | some name, _ in input.object])

alike := {concat("", [input.text, format_int(n, 10)]) | some n in numbers.range(1, 200)}

made := count(alike)

sorted := count([text | some text in alike])
`,
      ['test/visited', 'test/made', 'test/sorted'],
    );
    const instance = PolicyModule.compile(wasm).instantiate('{}', { fuel: 20_000_000, memoryPages: 512 });
    const object = Object.fromEntries(Array.from({ length: 5_000 }, (_, index) => [`k${index}`, index]));
    expect(instance.evaluate('test/visited', JSON.stringify({ object }), context).cost).toBeLessThan(
      8_000_000,
    );
    const input = JSON.stringify({ text: 'a'.repeat(1_000) });
    const cost = (path: string) => instance.evaluate(`test/${path}`, input, context).cost;
    // 200 members are compared in 8 rounds, by 1,000 characters.
    expect(cost('sorted') - cost('made')).toBeGreaterThan(200 * 8 * 1_000);
  });
});
