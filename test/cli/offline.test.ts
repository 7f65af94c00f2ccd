import { copyFile, cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sha256, writeTenants } from '../e2e/server.ts';
import { mandate, mandateProcess, type Ran } from './run.ts';

/** Commands that need no server. */

let folder: string;
let good: string;
let broken: string;
/** It has tests, which the copies of it leave out. */
const example = 'policies/acme';

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-cli-'));
  await writeTenants(folder, { tested: true });
  good = path.join(folder, 'tenants', 'acme');
  broken = path.join(folder, 'tenants', 'globex');
  await writeFile(path.join(broken, 'policy.rego'), 'package authz\n\nallow := nosuch(1)\n');
  await writeFile(path.join(broken, 'policy_test.rego'), 'package authz_test\n\ntest_no if false\n');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A folder of its own with acme's manifest and these files. */
async function tenantOf(files: Readonly<Record<string, string>>): Promise<string> {
  const place = await mkdtemp(path.join(folder, 'tenant-'));
  await copyFile(path.join(good, 'tenant.yaml'), path.join(place, 'tenant.yaml'));
  for (const [name, text] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(place, name)), { recursive: true });
    await writeFile(path.join(place, name), text);
  }
  return place;
}

describe('mandate --help', () => {
  const commands = [
    'serve',
    'check',
    'token exchange',
    'token issue',
    'token introspect',
    'token revoke',
    'token dev',
    'policy check',
    'policy test',
    'policy new',
    'policy fmt',
    'policy lint',
    'policy bench',
    'policy build',
    'policy schemas',
    'audit query',
    'audit tail',
    'tenant list',
    'tenant disable',
    'kill task',
    'task list',
    'task show',
    'task renew',
    'task end',
    'issuer put',
    'issuer list',
    'issuer test',
    'issuer remove',
    'principal put',
    'principal list',
    'principal show',
    'principal disable',
    'principal rotate',
    'principal remove-credential',
    'principal retire',
    'credential new',
  ];

  test.concurrent.each(commands)('shows an example: %s', async (command) => {
    const { code, stdout } = await mandate([...command.split(' '), '--help']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/Examples?:\n +\$ mandate /);
  });

  test('names the version, and refuses what it does not know with exit code 2', async () => {
    expect((await mandate(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect(await mandate(['nonsense'])).toMatchObject({ code: 2, stdout: '' });
    expect((await mandate(['serve', '--nonsense'])).code).toBe(2);
  });
});

describe('mandate policy check', () => {
  test('exits 0 for a folder that compiles, with the revision that a server would run', async () => {
    const [plain, asJson] = await Promise.all([
      mandate(['policy', 'check', good]),
      mandate(['--json', 'policy', 'check', good]),
    ]);
    expect(plain.code).toBe(0);
    const { ok, revision, files } = JSON.parse(asJson.stdout) as {
      ok: boolean;
      revision: string;
      files: string[];
    };
    expect({ ok, files }).toMatchObject({
      ok: true,
      files: expect.arrayContaining(['authz/documents.rego']) as string[],
    });
    expect(plain.stdout).toContain(`ok  ${revision}`);
  });

  test('exits 1 with file, line and message for one that does not', async () => {
    const [plain, asJson] = await Promise.all([
      mandate(['policy', 'check', broken]),
      mandate(['--json', 'policy', 'check', broken]),
    ]);
    expect(plain.code).toBe(1);
    expect(plain.stdout).toContain(`${path.join(broken, 'policy.rego')}:3:10: `);
    expect(plain.stdout).toContain('undefined function nosuch');
    expect(asJson.code).toBe(1);
    expect(JSON.parse(asJson.stdout)).toMatchObject({
      ok: false,
      diagnostics: [{ file: 'policy.rego', line: 3, column: 10, severity: 'error' }],
    });
  });

  test('names a file of the platform as it is, also where the tenant has a folder of that name', async () => {
    const theirs = await tenantOf({ 'policy.rego': 'package authz\n\nallow(x) if x\n' });
    const own = await tenantOf({ 'platform/own.rego': 'package own\n\nx := nosuch(1)\n' });
    const [platform, tenant] = await Promise.all([
      mandate(['policy', 'check', theirs]),
      mandate(['policy', 'check', own]),
    ]);
    expect(platform.stdout).toMatch(/^platform\/decision\.rego:\d+:\d+: .*data\.authz\.allow/);
    expect(platform.stdout).not.toContain(theirs);
    expect(tenant.stdout).toContain(`${path.join(own, 'platform/own.rego')}:3:6: `);
    expect([platform.code, tenant.code]).toEqual([1, 1]);
  });

  test('says of a folder without Rego that it denies everything', async () => {
    const place = await tenantOf({ 'policy_test.rego': 'package authz_test\n' });
    const { code, stdout, stderr } = await mandate(['policy', 'check', place]);
    expect(stderr).toBe(`${place}: warning: it holds no Rego; every request is denied\n`);
    expect(stdout).toMatch(/^ok {2}sha256:\w+\n$/);
    expect(code).toBe(0);
  });

  test('holds it to the memory that the server would give it', async () => {
    const data = JSON.stringify({
      rows: Array.from({ length: 60_000 }, (_, id) => ({ id, name: `user ${id}` })),
    });
    const place = await tenantOf({ 'policy.rego': 'package authz\n\nallow := true\n', 'data.json': data });
    expect((await mandate(['policy', 'check', place])).code).toBe(0);
    const manifest = path.join(place, 'tenant.yaml');
    await writeFile(manifest, 'id: acme\nlimits: {memory_mib: 6}\n');
    const [plain, asJson] = await Promise.all([
      mandate(['policy', 'check', place]),
      mandate(['--json', 'policy', 'check', place]),
    ]);
    expect(plain.stdout).toMatch(/^data: the policy and \d+ bytes of data need more than 6 MiB of memory/);
    expect(JSON.parse(asJson.stdout)).toMatchObject({ ok: false, diagnostics: [{ file: 'data' }] });
    expect([plain.code, asJson.code]).toEqual([1, 1]);
  });

  test('names what is not taken, and follows links within the root that is named', async () => {
    const place = await tenantOf({ 'policy.rego': 'package authz\n\nallow := true\n' });
    await mkdir(path.join(folder, 'shared'));
    await writeFile(path.join(folder, 'shared', 'deny.rego'), 'package authz\n\ndeny contains "no"\n');
    await symlink('../shared/deny.rego', path.join(place, 'deny.rego'));
    const [without, within] = await Promise.all([
      mandate(['policy', 'check', place]),
      mandate(['policy', 'check', place, '--root', folder]),
    ]);
    expect(without).toMatchObject({
      code: 1,
      stdout: `${path.join(place, 'deny.rego')}: it links out of the tenants' folder\n`,
    });
    expect(within.stdout).toContain('deny.rego');
    expect(within.code).toBe(0);
  });

  test('exits 2 for a folder that is no tenant, and names it, or for a compiler that is not there', async () => {
    const nowhere = path.join(folder, 'nowhere');
    const file = path.join(good, 'tenant.yaml');
    for (const [place, message] of [
      [nowhere, `no such folder: ${nowhere}`],
      [file, `${file} is not a folder`],
      [folder, `${folder} holds no tenant.yaml`],
    ] as const) {
      const refused = { code: 2, stdout: '', stderr: `mandate: config_invalid: ${message}\n` };
      const ran = await Promise.all(['check', 'test'].map((name) => mandate(['policy', name, place])));
      expect(ran).toEqual([refused, refused]);
    }
    const missing = await mandate(['policy', 'check', good], { MANDATE_OPA: path.join(folder, 'no-opa') });
    expect(missing).toMatchObject({ code: 2, stderr: expect.stringContaining('make opa') as string });
  });
});

test('a shell is told by 0, 1 and 2 whether it compiles, does not, or was not to be had', async () => {
  const ran = [good, broken, path.join(folder, 'nowhere')].map((place) => {
    const args = ['policy', 'check', place];
    return Promise.all([mandateProcess(args), mandate(args)]);
  });
  const codes = (await Promise.all(ran)).map(([shell, here]) => {
    expect(shell).toEqual(here);
    return shell.code;
  });
  expect(codes).toEqual([0, 1, 2]);
});

describe('mandate policy test', () => {
  test('exits 0 when all pass, 1 when one fails', async () => {
    const [passing, failing] = await Promise.all([
      mandate(['policy', 'test', example]),
      mandate(['policy', 'test', broken]),
    ]);
    expect(passing.stdout).toMatch(/PASS: \d+\/\d+/);
    expect(passing.code).toBe(0);
    expect(failing.code).toBe(1);
  });

  test('--run picks tests, --json is a report', async () => {
    const picked = await mandate(['--json', 'policy', 'test', example, '--run', 'test_agent']);
    const report = JSON.parse(picked.stdout) as { name: string }[];
    expect(report.length).toBeGreaterThan(0);
    for (const { name } of report) expect(name).toMatch(/^test_agent/);
  });
});

describe('mandate policy test refuses', () => {
  test('tests that would pass by what no decision sees, by file and line', async () => {
    const place = await tenantOf({
      'policy.rego': 'package authz\n\ndefault allow := false\n',
      'policy_test.rego': 'package authz\n\nallow if input.x\n\ntest_x if allow with input as {"x": 1}\n',
    });
    const { code, stdout } = await mandate(['policy', 'test', place]);
    expect(stdout).toBe(
      `${path.join(place, 'policy_test.rego')}:3: data.authz.allow is a rule of policy.rego; a test file adds to no rule that decides\n`,
    );
    expect(code).toBe(1);
  });
});

describe('mandate policy test --run', () => {
  test('exits 1 where no test has such a name, so that a mistyped one does not pass', async () => {
    const [plain, asJson] = await Promise.all([
      mandate(['policy', 'test', example, '--run', 'nosuch']),
      mandate(['--json', 'policy', 'test', example, '--run', 'nosuch']),
    ]);
    const stderr = `mandate: no test in ${example} matches --run nosuch\n`;
    expect(plain).toEqual({ code: 1, stdout: '', stderr });
    expect(asJson).toEqual({ code: 1, stdout: '[]\n', stderr });
  });

  test('exits 2 for what is no regular expression', async () => {
    const { code, stdout, stderr } = await mandate(['policy', 'test', example, '--run', '(']);
    expect(stderr).toMatch(/^mandate: invalid_request: --run: missing closing \).*\n$/);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });
});

describe('mandate policy test names a file as its author does:', () => {
  test('a test that failed, by the folder; in JSON relative to it, as policy check does', async () => {
    const place = await tenantOf({ 'deep/own_test.rego': 'package own_test\n\ntest_no if false\n' });
    const [plain, asJson] = await Promise.all([
      mandate(['policy', 'test', place]),
      mandate(['--json', 'policy', 'test', place]),
    ]);
    expect(plain.stdout).toMatch(new RegExp(`^${RegExp.escape(place)}/deep/own_test\\.rego:3:\n`));
    expect(JSON.parse(asJson.stdout)).toMatchObject([{ location: { file: 'deep/own_test.rego', row: 3 } }]);
    expect([plain.code, asJson.code]).toEqual([1, 1]);
  });

  test('one that OPA could not read', async () => {
    const place = await tenantOf({ 'own_test.rego': 'package own_test\n\nx := 1 +\n' });
    const { code, stderr } = await mandate(['policy', 'test', place]);
    expect(stderr).toContain(` ${path.join(place, 'own_test.rego')}:`);
    expect(code).toBe(1);
  });
});

describe('mandate credential new', () => {
  test('makes a secret and its digest, another one each time', async () => {
    const made = await Promise.all([1, 2].map(() => mandate(['--json', 'credential', 'new'])));
    const [one, two] = made.map(
      ({ stdout }) => JSON.parse(stdout) as { secret: string; secret_sha256: string },
    );
    expect(one?.secret_sha256).toBe(sha256(one?.secret ?? ''));
    expect(one?.secret.length).toBeGreaterThan(40);
    expect(one?.secret).not.toBe(two?.secret);
  });
});

describe('mandate serve refuses to start, with one line and exit code 2,', () => {
  const refusal = async (...args: string[]): Promise<Ran> =>
    mandate(['serve', '--data-dir', path.join(folder, 'data'), ...args]);

  test.concurrent.each([
    ['with --dev beyond loopback', ['--dev', '--listen-data', '0.0.0.0:0'], 'loopback only'],
    ['beyond loopback without TLS', ['--listen-admin', '0.0.0.0:0'], 'takes tls'],
    ['at an address that is none', ['--listen-data', 'nonsense'], '127.0.0.1:7400'],
    ['for tenants that are not there', ['--tenants', '/nonexistent-tenants'], 'no such folder'],
    ['by a configuration that is not there', ['--config', '/nonexistent.yaml'], 'ENOENT'],
  ] as const)('%s', async (_name, args, message) => {
    const { code, stderr } = await refusal(...args);
    expect(stderr).toContain(message);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(code).toBe(2);
  });

  test('for tenants in a file', async () => {
    const { code, stderr } = await refusal('--tenants', 'README.md');
    expect(stderr).toBe('mandate: config_invalid: README.md is not a folder\n');
    expect(code).toBe(2);
  });

  test('for a tenant.yaml that cannot be read', async () => {
    const tenant = path.join(folder, 'unreadable');
    await mkdir(path.join(tenant, 'tenant.yaml'), { recursive: true });
    const { code, stderr } = await refusal('--tenants', tenant);
    expect(stderr).toBe(`mandate: config_invalid: ${tenant}/tenant.yaml: it cannot be read (EISDIR)\n`);
    expect(code).toBe(2);
  });

  test('for a tenant that stands twice, and says nothing of those that were loaded beside it', async () => {
    const twin = path.join(folder, 'twin');
    await cp(good, twin, { recursive: true });
    const { code, stderr } = await refusal('--tenants', good, twin);
    expect(stderr).toBe(`mandate: config_invalid: tenant acme stands in ${good} and in ${twin}\n`);
    expect(code).toBe(2);
  });
});
