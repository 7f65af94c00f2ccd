import { existsSync } from 'node:fs';
import { cp, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mandate } from './run.ts';

/** `mandate policy lint`: Regal, where "make regal" has built it. */

let root: string;

beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'mandate-policy-lint-'));
  await cp('examples/metered', path.join(root, 'fine'), { recursive: true });
  await cp('examples/metered', path.join(root, 'poor'), { recursive: true });
  await writeFile(
    path.join(root, 'poor', 'x.rego'),
    'package authz\n\ndefault allow := true\n\ndeny contains "No way" if input.context.x\n\ndeny contains {"code": "Not-So", "message": "x"} if input.context.y\n',
  );
  // What Regal would look for above the folder it runs in, and what a tenant may not tell it.
  await writeFile(path.join(root, 'poor', '.regal.yaml'), 'rules: { default: { level: ignore } }\n');
});
afterAll(() => rm(root, { recursive: true, force: true }));

describe.skipIf(!existsSync('bin/regal'))('mandate policy lint', () => {
  test('finds what breaks the contract, by file, line, column and rule', async () => {
    const [plain, asJson] = await Promise.all([
      mandate(['policy', 'lint', path.join(root, 'poor')]),
      mandate(['--json', 'policy', 'lint', path.join(root, 'poor'), path.join(root, 'fine')]),
    ]);
    const own = (
      JSON.parse(asJson.stdout) as {
        file: string;
        line: number;
        column: number;
        rule: string;
        folder: string;
      }[]
    ).filter(({ rule }) => rule.startsWith('mandate/'));
    expect(
      own.map(({ folder, file, line, column, rule }) => [
        path.basename(folder),
        `${file}:${line}:${column}`,
        rule,
      ]),
    ).toEqual([
      ['poor', 'x.rego:3:9', 'mandate/default-true'],
      ['poor', 'x.rego:5:15', 'mandate/reason-code'],
      ['poor', 'x.rego:7:24', 'mandate/reason-code'],
    ]);
    expect(plain.stdout).toContain(
      `${root}/poor/x.rego:5:15: warning: mandate/reason-code: The code of a reason`,
    );
    expect([plain.code, asJson.code]).toEqual([1, 1]);
  });

  test('leaves out the rules that are named, and leaves nothing behind', async () => {
    const { stdout } = await mandate([
      'policy',
      'lint',
      path.join(root, 'poor'),
      '--disable',
      'reason-code',
      'default-true',
    ]);
    expect(stdout).not.toContain('mandate/');
    expect((await readdir(tmpdir())).filter((name) => name.startsWith('mandate-lint-'))).toEqual([]);
  });
});

test('without Regal it says how to build it', async () => {
  const ran = await mandate(['policy', 'lint', 'policies/acme'], { MANDATE_REGAL: path.join(root, 'none') });
  expect(ran).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining('make regal') as string });
});
