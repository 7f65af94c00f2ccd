import { beforeAll, describe, expect, test } from 'vitest';
import { PolicyModule } from '../../../src/policy/engine/module.ts';
import { adversaries, inputOf } from './adversaries.ts';
import { buildWasm, context } from './opa.ts';

/** `node bench/containment.ts` has the times that the charges are made of. */
describe('what a built-in does is paid for', () => {
  let module: PolicyModule;
  beforeAll(async () => {
    const rules = adversaries.map(({ call }, index) => `r${index} := ${call}`);
    const entrypoints = adversaries.map((_, index) => `test/r${index}`);
    module = PolicyModule.compile(await buildWasm(`package test\n\n${rules.join('\n')}\n`, entrypoints));
  });

  test.each(adversaries.map(({ call, units }, index) => [units, call, index] as const))(
    '%d units are not enough for %s',
    (units, call, index) => {
      const instance = module.instantiate('{}', { fuel: units, memoryPages: 1_024 });
      expect(() => instance.evaluate(`test/r${index}`, inputOf(call), context)).toThrow(
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
});
