import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mandate } from './run.ts';

/** `mandate policy check` as its author reads it. */

let root: string;

beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'mandate-policy-check-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const MANIFEST = 'id: acme\nroles:\n  editor: { scopes: [docs.write] }\n';
const TEST = 'package authz_test\n\ntest_a if not data.authz.allow with input as {}\n';

async function tenantOf(files: Readonly<Record<string, string>>): Promise<string> {
  const place = await mkdtemp(path.join(root, 'tenant-'));
  for (const [name, text] of Object.entries({ 'tenant.yaml': MANIFEST, 'a_test.rego': TEST, ...files })) {
    await mkdir(path.dirname(path.join(place, name)), { recursive: true });
    await writeFile(path.join(place, name), text);
  }
  return place;
}

const MISTYPED =
  'package authz\n\nimport data.mandate.lib\n\nallow if {\n\t"é" != "a"; lib.has_role("edtor")\n}\n';

describe('a mistake', () => {
  test('has its line with a caret below, and the types that the compiler names', async () => {
    const place = await tenantOf({
      'a.rego': 'package authz\n\nallow if {\n\t"é" == "é"; count(3) == 2\n}\n',
    });
    const [plain, asJson] = await Promise.all([
      mandate(['policy', 'check', place]),
      mandate(['--json', 'policy', 'check', place]),
    ]);
    expect(plain.stdout.split('\n').slice(0, 4)).toEqual([
      `${place}/a.rego:4:14: rego_type_error: count: invalid argument(s)`,
      '    \t"é" == "é"; count(3) == 2',
      '    \t            ^',
      '    have: (number, ???)',
    ]);
    expect(plain.stdout).toContain('\n    want: (any<string, ');
    expect(JSON.parse(asJson.stdout)).toMatchObject({
      folder: place,
      ok: false,
      diagnostics: [
        {
          file: 'a.rego',
          line: 4,
          column: 14,
          severity: 'error',
          detail: ['have: (number, ???)', expect.any(String)],
        },
      ],
    });
    expect([plain.code, asJson.code]).toEqual([1, 1]);
  });

  test('acts on no terminal, and its caret stands where it should', async () => {
    const rego = 'package authz\n\nallow if { x := "\u202e\u200f"; nosuch(x) }\n';
    const { stdout } = await mandate(['policy', 'check', await tenantOf({ 'a.rego': rego })]);
    const [, line = '', caret = ''] = stdout.split('\n');
    expect(line).toContain('"\\u202e\\u200f"; nosuch(x)');
    expect(caret.indexOf('^')).toBe(line.indexOf('nosuch'));
  });

  test('far out on a line is shown with what is around it alone', async () => {
    const rego = `package authz\n\nallow if { x := "${'y'.repeat(5_000)}"; nosuch(x) }\n`;
    const { stdout } = await mandate(['policy', 'check', await tenantOf({ 'a.rego': rego })]);
    const [, line = '', caret = ''] = stdout.split('\n');
    expect(line.length).toBeLessThan(200);
    expect(caret.indexOf('^')).toBe(line.indexOf('nosuch'));
  });
});

describe('a name that the tenant does not have', () => {
  test('is a warning beside the answer, and fails with --strict alone', async () => {
    const place = await tenantOf({ 'a.rego': MISTYPED });
    const [plain, strict, asJson] = await Promise.all([
      mandate(['policy', 'check', place]),
      mandate(['policy', 'check', '--strict', place]),
      mandate(['--json', 'policy', 'check', place]),
    ]);
    expect(plain.stdout).toMatch(/^ok {2}sha256:\w+\n {4}a\.rego\n$/);
    expect(plain.stderr).toBe(
      [
        `${place}/a.rego:6:27: warning: tenant.yaml has no role "edtor"; did you mean "editor"?`,
        '    \t"é" != "a"; lib.has_role("edtor")',
        '    \t                         ^',
        '',
      ].join('\n'),
    );
    expect(JSON.parse(asJson.stdout)).toMatchObject({
      ok: true,
      diagnostics: [{ file: 'a.rego', line: 6, column: 27, severity: 'warning', suggestion: 'editor' }],
    });
    expect([plain.code, strict.code, asJson.code]).toEqual([0, 1, 0]);
  });

  test('is none where it is only worth a note, also with --strict', async () => {
    const place = await tenantOf({ 'a_test.rego': '', 'a.rego': 'package authz\n\nallow := false\n' });
    await rm(path.join(place, 'a_test.rego'));
    expect(await mandate(['policy', 'check', '--strict', place])).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/: note: it holds no tests/) as string,
    });
  });
});

describe('several folders', () => {
  test('are checked one after the other; the worst of them is the exit code', async () => {
    const [good, mistyped, broken] = await Promise.all([
      tenantOf({ 'a.rego': 'package authz\n\nallow := false\n' }),
      tenantOf({ 'a.rego': MISTYPED }),
      tenantOf({ 'a.rego': 'package authz\n\nallow := nosuch(1)\n' }),
    ]);
    const [plain, asJson, fine] = await Promise.all([
      mandate(['policy', 'check', broken, good, mistyped]),
      mandate(['--json', 'policy', 'check', broken, good, mistyped]),
      mandate(['policy', 'check', good, mistyped]),
    ]);
    expect(plain.stdout).toMatch(/a\.rego:3:10: [^]*\nok {2}sha256:[^]*\nok {2}sha256:/);
    expect(
      (JSON.parse(asJson.stdout) as { folder: string; ok: boolean }[]).map(({ folder, ok }) => [folder, ok]),
    ).toEqual([
      [broken, false],
      [good, true],
      [mistyped, true],
    ]);
    expect([plain.code, asJson.code, fine.code]).toEqual([1, 1, 0]);
  });

  test('of which one is no tenant are checked all the same, and exit 2', async () => {
    const good = await tenantOf({ 'a.rego': 'package authz\n\nallow := false\n' });
    const ran = await mandate(['policy', 'check', path.join(root, 'nowhere'), good]);
    expect(ran.stderr).toContain('mandate: config_invalid: no such folder');
    expect(ran.stdout).toMatch(/^ok /);
    expect(ran.code).toBe(2);
  });
});
