import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { PolicyModule } from '../../../../src/policy/engine/module.ts';
import { toJson } from '../../../../src/policy/engine/values/json.ts';
import { parseJson } from '../../../../src/policy/engine/values/parse.ts';
import { equalValues, RegoObject, type Value } from '../../../../src/policy/engine/values/values.ts';
import { buildWasm, context, opaBinary } from '../opa.ts';
import { Draw } from './draw.ts';
import { data, inputOf, policyOf } from './grammar.ts';

/** A long hunt: MANDATE_DIFFERENTIAL_POLICIES=200 MANDATE_DIFFERENTIAL_SEED=7 */
const policies = Number(process.env['MANDATE_DIFFERENTIAL_POLICIES'] ?? 3);
const seed = Number(process.env['MANDATE_DIFFERENTIAL_SEED'] ?? Date.now() % 1_000_000);
const rules = 40;
const inputs = 25;
const limits = { fuel: 200_000_000, memoryPages: 2_048 };

const run = promisify(execFile);

test('random policies decide as in OPA, in a memory that stays as it was', {
  timeout: 60_000 + policies * 20_000,
}, async () => {
  console.log(`${policies} policies of ${rules} rules, ${inputs} inputs each, of seed ${seed}`);
  const draw = new Draw(seed);
  for (let nth = 0; nth < policies; nth += 1) {
    const rego = policyOf(draw, rules);
    const asked = Array.from({ length: inputs }, () => inputOf(draw));
    const theirs = await answersOfOpa(rego, asked);
    const instance = PolicyModule.compile(await buildWasm(rego, ['test'])).instantiate(
      JSON.stringify(data),
      limits,
    );
    // Twice, so that what one evaluation left would show in the next.
    for (const round of [1, 2])
      for (const [index, input] of asked.entries()) {
        const { result } = instance.evaluateToJson('test', input, context);
        const different = differences(rego, result ?? '{}', theirs[index] ?? '{}');
        expect(different.length === 0 ? [] : { round, input, different }).toEqual([]);
      }
    expect(instance.whole).toBe(true);
  }
});

/** The document `data.test` for each input, as JSON text. */
async function answersOfOpa(rego: string, asked: readonly string[]): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'mandate-differential-'));
  try {
    await writeFile(join(folder, 'policy.rego'), rego);
    await writeFile(join(folder, 'data.json'), JSON.stringify(data));
    await writeFile(join(folder, 'asked.json'), `{"asked":[${asked.join(',')}]}`);
    const query = '[answer | some asked in data.asked; answer := data.test with input as asked]';
    const { stdout } = await run(
      resolve(opaBinary),
      ['eval', '-f', 'raw', '-d', 'policy.rego', '-d', 'data.json', '-d', 'asked.json', query],
      { cwd: folder, maxBuffer: 256 * 1024 * 1024 },
    );
    return (parseJson(stdout.trim()) as readonly Value[]).map((answer) => toJson(answer));
  } finally {
    await rm(folder, { recursive: true });
  }
}

function differences(rego: string, ours: string, theirs: string): unknown[] {
  if (ours === theirs) return [];
  const [a, b] = [parseJson(ours), parseJson(theirs)];
  if (!(a instanceof RegoObject && b instanceof RegoObject)) return [{ ours, theirs }];
  const names = new Set([...a.entries(), ...b.entries()].map(([name]) => name));
  return Array.from(names).flatMap((name) => {
    const [left, right] = [a.get(name), b.get(name)];
    // Of equal numbers OPA keeps now the one, now the other: 1 or 1.0, which shows as text where one is a key.
    if (left !== undefined && right !== undefined && equalValues(plain(left), plain(right))) return [];
    const rule = rego.split('\n\n').filter((part) => part.includes(`${toJson(name).slice(1, -1)} `));
    const [shown, wanted] = [left, right].map((value) => (value === undefined ? undefined : toJson(value)));
    return [{ rule: rule.join('\n'), ours: shown, theirs: wanted }];
  });
}

/** A value whose keys that are the text of a number are in one spelling. */
function plain(value: Value): Value {
  const text = toJson(value).replaceAll(/"(-?\d+)\.0":/gu, '"$1":');
  return parseJson(text);
}
