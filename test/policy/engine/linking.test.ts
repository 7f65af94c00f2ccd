import { beforeAll, describe, expect, test } from 'vitest';
import { PolicyModule } from '../../../src/policy/engine/module.ts';
import { buildWasm, context, limits } from './opa.ts';

/** What OPA's evaluator says of each; its runtime for WebAssembly said something else. */
const rules = {
  first_of_set: { body: '[g | some g in {x | some x in input.groups}][0]', answer: '"admins"' },
  set_in_order: {
    body: '[x | some x in {"b", 10, 9, null, [1], {"a": 1}}]',
    answer: '[null,9,10,"b",[1],{"a":1}]',
  },
  keys_in_order: { body: '[k | some k, _ in {"b": 1, "a": 2, 1: 3}]', answer: '[1,"a","b"]' },
  many_in_order: {
    body: '[x | some x in {x | some i in numbers.range(1, 40); x := (i * 17) % 41}]',
    answer: JSON.stringify(Array.from({ length: 40 }, (_, at) => at + 1)),
  },
  data_in_order: { body: '[k | some k, _ in data.table]', answer: '["","10","9","a","é"]' },
  walked_in_order: {
    body: '[p | walk({"b": {2, 1}, "a": 0}, [p, _])]',
    answer: '[[],["a"],["b"],["b",1],["b",2]]',
  },
  grown_while_seen: {
    body: '[a, b] if { s := {3, 1, 2}; a := [x | some x in s]; b := [x | some x in s | {0}] }',
    answer: '[[1,2,3],[0,1,2,3]]',
  },
  index_as_text: { body: 'input.groups[1.0]', answer: '"staff"' },
  number_as_text: {
    body: '[y | some x in [9007199254740993]; y := [x == 9007199254740992, x in {x}, 1.0 in {1}]][0]',
    answer: '[false,true,true]',
  },
  with_below_null: { body: '[x | x := input.nothing with input.nothing.deep as 1][0]', answer: '{"deep":1}' },
  sum: { body: '0.1 + 0.2', answer: '0.3' },
} as const;

describe('a linked module', () => {
  let module: PolicyModule;
  beforeAll(async () => {
    const source = Object.entries(rules).map(([name, { body }]) => `${name} := ${body}`);
    source.push('valid := json.is_valid(input.text)', 'number := to_number(input.text)');
    const names = [...Object.keys(rules), 'valid', 'number'];
    module = PolicyModule.compile(
      await buildWasm(
        `package test\n\n${source.join('\n\n')}\n`,
        names.map((name) => `test/${name}`),
      ),
    );
  });
  const data = '{"table": {"é": 1, "a": 2, "9": 3, "10": 4, "": 5}}';
  const fresh = () => module.instantiate(data, limits);
  const input = '{"groups": ["users", "staff", "admins"], "nothing": null}';

  test.each(Object.entries(rules))('answers as OPA’s evaluator does: %s', (name, { answer }) => {
    const instance = fresh();
    for (const _ of [1, 2])
      expect(instance.evaluateToJson(`test/${name}`, input, context).result).toBe(answer);
  });

  // A built-in of the runtime freed the constant `false`, and what was allocated next was written over it.
  test('answers later requests as if there had been none before', () => {
    const instance = fresh();
    const ask = (text: string) =>
      instance.evaluateToJson('test/valid', JSON.stringify({ text }), context).result;
    for (const text of ['false', 'true', '1', '"a"', '[]', '', '1.', 'false', '{"a":1}x'])
      expect([text, ask(text)]).toEqual([
        text,
        fresh().evaluateToJson('test/valid', JSON.stringify({ text }), context).result,
      ]);
    expect(ask('false')).toBe('true');
    expect(instance.whole).toBe(true);
  });

  test('has text that is no number undefined, not a number that is none', () => {
    expect(fresh().evaluateToJson('test/number', '{"text": "-"}', context).result).toBeUndefined();
  });

  test('takes no more than three times what its JSON takes for data', () => {
    const users = Object.fromEntries(
      Array.from({ length: 5_000 }, (_, at) => [
        `user${at}`,
        { id: `user${at}`, groups: [`g${at % 50}`, `h${at % 7}`], level: at % 9, active: at % 2 === 0 },
      ]),
    );
    const json = JSON.stringify({ users });
    expect(module.instantiate(json, limits).image().length).toBeLessThan(3 * json.length);
  });
});
