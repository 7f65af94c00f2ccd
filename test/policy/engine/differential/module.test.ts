import { expect, test } from 'vitest';
import { PolicyModule } from '../../../../src/policy/engine/module.ts';
import { parseJson } from '../../../../src/policy/engine/values/parse.ts';
import { isArray, type RegoObject, type Value } from '../../../../src/policy/engine/values/values.ts';
import { buildWasm, context } from '../opa.ts';
import { catalog } from './catalog.ts';
import { answersOfOpa, type Call, isKnown, panic, queryOf, settled, shown, textOf } from './compare.ts';
import { Draw } from './draw.ts';

const seed = Number(process.env['MANDATE_DIFFERENTIAL_SEED'] ?? Date.now() % 1_000_000);
const total = 600;
const limits = { fuel: 2 ** 31 - 1, memoryPages: 4_096 };
/** OPA would make lists of as many elements as these are told, and bits. */
const bounded = /range|lsh/;

/** Those that stay in the module, the way of all arguments and results, and the same answer a second time. */
test('built-ins answer in a module as in OPA, and leave its memory as it was', {
  timeout: 60_000,
}, async () => {
  console.log(`${total} calls of seed ${seed}`);
  const draw = new Draw(seed);
  const names = Object.keys(catalog).filter((name) => !bounded.test(name));
  const calls = Array.from({ length: total }, (_, index): Call => {
    const builtin = names[index % names.length] as string;
    return { builtin, args: (catalog[builtin] ?? []).map((make) => make(draw)) };
  });
  const rules = calls.map(
    (call, index) => `r${index} = [type_name(x), json.marshal(x)] { ${queryOf(call)} }`,
  );
  const wasm = await buildWasm(`package test\n\n${rules.join('\n')}\n`, ['test'], ['--v0-compatible']);
  const instance = PolicyModule.compile(wasm).instantiate('{}', limits);
  const theirs = await answersOfOpa(calls);
  expect(theirs.filter((answer) => answer === panic).length).toBeLessThan(10);
  for (const round of [1, 2]) {
    const answered = parseJson(
      instance.evaluateToJson('test', '', { ...context, nowMs: Date.now() }).result ?? '{}',
    ) as RegoObject;
    const different = calls.flatMap((call, index) => {
      const ours = settled(call, shown(answerIn(answered.get(`r${index}`))));
      const wanted = settled(call, theirs[index] as string);
      return ours === wanted || theirs[index] === panic || isKnown(call)
        ? []
        : [{ round, call: textOf(call), ours, theirs: wanted }];
    });
    expect(different).toEqual([]);
  }
  expect(instance.whole).toBe(true);
});

function answerIn(pair: Value | undefined): string {
  const [type, json] = isArray(pair) ? pair : [];
  return typeof type === 'string' && typeof json === 'string' ? `${type} ${json}` : 'undefined';
}
