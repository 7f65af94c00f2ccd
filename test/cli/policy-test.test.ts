import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mandate } from './run.ts';

/** `mandate policy test` on a tenant of its own: the report is OPA's, the verdicts are the engine's. */

let root: string;

beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'mandate-policy-test-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

async function tenantOf(files: Readonly<Record<string, string>>, limits = ''): Promise<string> {
  const place = await mkdtemp(path.join(root, 'tenant-'));
  await writeFile(path.join(place, 'tenant.yaml'), `id: acme\n${limits}`);
  for (const [name, text] of Object.entries({ ...base, ...files }))
    await writeFile(path.join(place, name), text);
  return place;
}

const base = {
  'authz.rego': 'package authz\n\ndefault allow := false\n\nallow if input.x == 1\n',
  'delegation.rego': 'package delegation\n\nallow := true\n',
};

const passing = 'package authz_test\n\ntest_allows if data.authz.allow with input.x as 1\n';
const several = [
  'package authz_test',
  'test_allows if data.authz.allow with input.x as 1',
  'test_fails if data.authz.allow with input.x as 2',
  'todo_test_later if false',
  'test_case[name] if {\n\tsome name, x in {"one": 1, "two": 2}\n\tprint("tried", name)\n\tdata.authz.allow with input.x as x\n}',
].join('\n\n');
const dear =
  'package authz_test\n\ntest_dear if count([1 | some a in numbers.range(1, 60); some b in numbers.range(1, 60)]) == 3600\n';

interface Reported {
  readonly name: string;
  readonly cost: number;
  readonly location: { readonly file: string; readonly row: number };
  readonly fail?: boolean;
  readonly skip?: boolean;
  readonly error?: { readonly code: string };
  readonly sub_results?: unknown;
}

describe('mandate policy test', () => {
  test('says how many passed, and names each with its cost where asked', async () => {
    const place = await tenantOf({ 'a_test.rego': passing });
    const [plain, verbose] = await Promise.all([
      mandate(['policy', 'test', place]),
      mandate(['policy', 'test', place, '--verbose']),
    ]);
    expect(plain).toEqual({ code: 0, stdout: 'PASS: 1/1\n', stderr: '' });
    const lines = verbose.stdout.split('\n');
    expect(lines[0]).toBe(`${place}/a_test.rego:3:`);
    expect(lines[1]).toMatch(/^data\.authz_test\.test_allows: PASS \([\d.]+(?:ns|µs|ms|s), \d+ fuel\)$/);
    expect(lines.slice(2)).toEqual(['-'.repeat(80), 'PASS: 1/1', '']);
  });

  test('costs the same each time', async () => {
    const place = await tenantOf({ 'a_test.rego': several });
    const runs = await Promise.all(
      [1, 2].map(async () => {
        const { stdout } = await mandate(['--json', 'policy', 'test', place]);
        return (JSON.parse(stdout) as Reported[]).map(({ name, cost }) => ({ name, cost }));
      }),
    );
    expect(runs[0]).toEqual(runs[1]);
    expect(runs[0]?.find(({ name }) => name === 'test_allows')?.cost).toBeGreaterThan(0);
  });

  test('exits 1 and reports what failed, what is to do, and each case', async () => {
    const place = await tenantOf({ 'a_test.rego': several });
    const [plain, verbose, asJson] = await Promise.all([
      mandate(['policy', 'test', place]),
      mandate(['policy', 'test', place, '--verbose']),
      mandate(['--json', 'policy', 'test', place]),
    ]);
    expect([plain.code, verbose.code, asJson.code]).toEqual([1, 1, 1]);
    expect(plain.stdout).toMatch(/test_fails: FAIL \(.* fuel\)\n/);
    expect(plain.stdout).toContain('todo_test_later: SKIPPED\n');
    expect(plain.stdout).toMatch(/test_case: FAIL \(.*\)\n {2}two: FAIL\n\n {2}tried one\n {2}tried two\n\n/);
    expect(plain.stdout).toMatch(/PASS: 2\/5\nFAIL: 2\/5\nSKIPPED: 1\/5\n$/);
    expect(plain.stdout).not.toContain('test_allows');
    // OPA's own account of how it came about.
    expect(verbose.stdout).toContain(`${place}/a_test.rego:5`);
    expect(verbose.stdout).toMatch(/FAILURES\n-{80}\n[^]*Fail data\.authz\.allow/);
    const report = JSON.parse(asJson.stdout) as Reported[];
    expect(report.map(({ location, fail, skip }) => [location.row, fail, skip])).toEqual([
      [3, undefined, undefined],
      [5, true, undefined],
      [7, undefined, true],
      [9, true, undefined],
    ]);
    expect(report[3]).toMatchObject({
      location: { file: 'a_test.rego' },
      sub_results: { one: { name: 'one' }, two: { name: 'two', fail: true } },
    });
  });

  test('names the limit of the tenant’s that a test exceeds, which OPA’s evaluator does not know', async () => {
    const files = { 'a_test.rego': `${dear}\ntest_cheap if true\n` };
    const [limited, roomy] = await Promise.all([
      tenantOf(files, 'limits:\n  fuel: 20000\n').then((place) => mandate(['policy', 'test', place])),
      tenantOf(files).then((place) => mandate(['policy', 'test', place])),
    ]);
    expect(limited.stdout).toMatch(/a_test\.rego:3:\ndata\.authz_test\.test_dear: ERROR \(.*20000 fuel\)\n/);
    expect(limited.stdout).toContain('  deadline_exceeded: The policy exceeded the budget');
    expect(limited.stdout).toMatch(/PASS: 1\/2\nERROR: 1\/2\n$/);
    expect([limited.code, roomy.code]).toEqual([1, 0]);
  });

  test('names what ends an evaluation in both, with the file as the author knows it', async () => {
    const rego = 'package authz_test\n\nx := 1\n\nx := 2 if input.y\n\ntest_x if x == 1 with input.y as 1\n';
    const place = await tenantOf({ 'a_test.rego': rego });
    const { code, stdout } = await mandate(['policy', 'test', place]);
    expect(stdout).toContain('  policy_failed: ');
    expect(stdout).toContain(`${place}/a_test.rego:5: eval_conflict_error`);
    expect(code).toBe(1);
  });

  test('runs the tests that --run picks by their full names', async () => {
    const place = await tenantOf({ 'a_test.rego': several });
    const { code, stdout } = await mandate([
      'policy',
      'test',
      place,
      '--run',
      '^data.authz_test.test_allows$',
    ]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'PASS: 1/1\n' });
  });
});
describe('mandate policy test --coverage', () => {
  const half = {
    'own.rego': 'package authz.own\n\na if input.x\n\nb if {\n\tinput.x\n\tinput.y\n}\n',
    'a_test.rego': 'package authz_test\n\ntest_a if data.authz.own.a with input.x as 1\n',
  };

  test('names the lines that no test reaches, after what passed', async () => {
    const place = await tenantOf(half);
    const { code, stdout } = await mandate(['policy', 'test', place, '--coverage']);
    expect(stdout).toBe(
      [
        'PASS: 1/1',
        'coverage: 14.29 % of the lines, on the engine that serves (1 covered, 6 not)',
        `  ${place}/authz.rego:3`,
        `  ${place}/authz.rego:5`,
        `  ${place}/delegation.rego:3`,
        `  ${place}/own.rego:5-7`,
        '',
      ].join('\n'),
    );
    expect(code).toBe(0);
  });

  test('--json is OPA’s report of it, by file', async () => {
    const place = await tenantOf(half);
    const { stdout } = await mandate(['--json', 'policy', 'test', place, '--coverage']);
    const report = JSON.parse(stdout) as { coverage: number; files: Record<string, object> };
    expect(Object.keys(report.files).sort()).toEqual(['authz.rego', 'delegation.rego', 'own.rego']);
    expect(report.files['own.rego']).toMatchObject({
      covered: [{ start: { row: 3, col: 1 } }, { start: { row: 3, col: 6 } }],
      covered_lines: 1,
      not_covered_lines: 3,
      coverage: 25,
    });
  });

  test('--threshold exits 1 below it, and 2 for what is no share', async () => {
    const place = await tenantOf(half);
    const [below, above, wrong] = await Promise.all(
      ['14.3', '14.2', '101'].map((share) => mandate(['policy', 'test', place, '--threshold', share])),
    );
    expect(below).toMatchObject({
      code: 1,
      stderr: 'mandate: coverage is 14.29 %, and --threshold asks for 14.3 %\n',
    });
    expect([above?.code, wrong?.code]).toEqual([0, 2]);
  });

  test('is not measured while a test fails', async () => {
    const place = await tenantOf({ 'a_test.rego': several });
    const { code, stdout, stderr } = await mandate(['policy', 'test', place, '--coverage']);
    expect(stdout).toMatch(/FAIL: 2\/5\n/);
    expect(stdout).not.toContain('coverage');
    expect({ code, stderr }).toEqual({ code: 1, stderr: 'mandate: there is no coverage while tests fail\n' });
  });
});
