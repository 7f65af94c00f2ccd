import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mandate } from './run.ts';

/** `mandate policy bench`: costs on the engine that serves. */

let root: string;
let place: string;

const AUTHZ = `package authz

allow if input.action.name == "cheap"

allow if dear

dear if count([1 | some a in numbers.range(1, input.context.n); a > 0]) > 5

below.it := input.context.n
`;

beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'mandate-policy-bench-'));
  place = path.join(root, 'tenant');
  const { cp, mkdir } = await import('node:fs/promises');
  await mkdir(place);
  const one = (name: string, n: number) => ({
    name,
    subject: { class: 'user', id: 'a' },
    action: 'x',
    resource: 'd:1',
    context: { n },
    expect: 'allow',
  });
  await writeFile(path.join(place, 'tenant.yaml'), 'id: acme\n');
  await writeFile(path.join(place, 'a.rego'), AUTHZ);
  await writeFile(
    path.join(place, 'x_test.yaml'),
    JSON.stringify({ tests: [one('few', 10), one('many', 500)] }),
  );
  await writeFile(
    path.join(place, 'a_test.rego'),
    'package authz_test\n\ntest_cheap if data.authz.allow with input.action.name as "cheap"\n',
  );
  await cp(place, path.join(root, 'poor'), { recursive: true });
  await writeFile(path.join(root, 'poor', 'tenant.yaml'), 'id: acme\nlimits: { fuel: 40000 }\n');
});
afterAll(() => rm(root, { recursive: true, force: true }));

interface Cost {
  name: string;
  fuel: number;
  microseconds: number;
  at?: string;
  error?: string;
}
type Costs = Record<'questions' | 'rules', Cost[]> & { budget: number };

const costs = async (folder = place, ...more: string[]): Promise<Costs> =>
  JSON.parse((await mandate(['--json', 'policy', 'bench', folder, '--count', '3', ...more])).stdout) as Costs;

describe('mandate policy bench', () => {
  test('names each question with its cost, dearest first, as the tests have it', async () => {
    const [found, again, tested] = await Promise.all([
      costs(),
      costs(),
      mandate(['--json', 'policy', 'test', place]),
    ]);
    expect(found.questions.map(({ name }) => name)).toEqual([
      'x_test.yaml: many',
      'x_test.yaml: few',
      'authz_test.test_cheap',
    ]);
    const fuel = ({ questions, rules }: Costs) =>
      [...questions, ...rules].map((each) => [each.name, each.fuel]);
    expect(fuel(again)).toEqual(fuel(found));
    const costOf = new Map(
      (JSON.parse(tested.stdout) as { name: string; cost: number }[]).map(({ name, cost }) => [name, cost]),
    );
    expect(costOf.get('many')).toBe(found.questions[0]?.fuel);
    for (const { microseconds } of found.questions) expect(microseconds).toBeGreaterThan(0);
  });

  test('names each rule by the question it is dearest by; functions, tests and the platform are none', async () => {
    const { rules } = await costs();
    expect(rules.map(({ name }) => name).toSorted()).toEqual(['authz.allow', 'authz.below', 'authz.dear']);
    expect(rules.slice(0, 2).map(({ at }) => at)).toEqual(['x_test.yaml: many', 'x_test.yaml: many']);
    expect(rules.at(-1)?.name).toBe('authz.below');
  });

  test('takes inputs of a file, and says which of them end for want of fuel', async () => {
    const file = path.join(root, 'inputs.json');
    await writeFile(
      file,
      JSON.stringify([
        { context: { n: 1 } },
        {
          subject: { status: 'active' },
          actors: [],
          grant: null,
          action: { name: 'x' },
          context: { n: 5_000 },
        },
      ]),
    );
    const { questions, budget } = await costs(path.join(root, 'poor'), '--input', file);
    expect(budget).toBe(40_000);
    expect(questions.find(({ name }) => name === `${file}[1]`)).toMatchObject({
      fuel: 40_000,
      error: 'deadline_exceeded',
    });
    expect(questions.find(({ name }) => name === `${file}[0]`)?.error).toBeUndefined();
  });

  test('is a table for people', async () => {
    const { code, stdout } = await mandate(['policy', 'bench', place, '--count', '2']);
    expect(stdout).toMatch(
      /^A decision may spend \d+ fuel\. [^]*FUEL +BUDGET +µs +QUESTION\n\d+ +[\d.]+ % +\d+ +x_test\.yaml: many\n[^]*RULE, WITH WHAT IT CALLS +DEAREST BY\n/,
    );
    expect(code).toBe(0);
  });

  test.each([
    ['is not there', undefined, 'ENOENT'],
    ['is no JSON', '{', 'is not JSON'],
    ['is no object', '[1]', 'neither an object nor an array of objects'],
  ])('exits 2 for an input that %s', async (name, text, said) => {
    const file = path.join(root, `${name}.json`);
    if (text !== undefined) await writeFile(file, text);
    expect(await mandate(['policy', 'bench', place, '--input', file])).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining(said) as string,
    });
  });
});
