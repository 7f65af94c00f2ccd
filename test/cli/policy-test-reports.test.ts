import { execFileSync, spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { processorMs } from '../processor.ts';
import { mandate } from './run.ts';

/** `mandate policy test`: tables, several folders, JUnit's report, and watching. */

let root: string;

beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'mandate-policy-reports-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const MANIFEST = 'id: acme\nprincipals:\n  - { class: user, id: alice, roles: [reader] }\n';
const AUTHZ = 'package authz\n\nallow if "reader" in input.subject.roles\n';

const row = (name: string, expected: string): string =>
  `  - { name: ${JSON.stringify(name)}, subject: user:alice, action: read, resource: document:a, expect: ${expected} }\n`;

async function tenantOf(files: Readonly<Record<string, string>>): Promise<string> {
  const place = await mkdtemp(path.join(root, 'tenant-'));
  for (const [name, text] of Object.entries({ 'tenant.yaml': MANIFEST, 'a.rego': AUTHZ, ...files })) {
    await mkdir(path.dirname(path.join(place, name)), { recursive: true });
    await writeFile(path.join(place, name), text);
  }
  return place;
}

describe('a table', () => {
  test('is reported by file, line and name, with what was expected', async () => {
    const place = await tenantOf({
      'deep/x_test.yaml': `tests:\n${row('it reads', 'allow')}${row('it does not', 'deny')}`,
    });
    const [plain, asJson, picked] = await Promise.all([
      mandate(['policy', 'test', place]),
      mandate(['--json', 'policy', 'test', place]),
      mandate(['policy', 'test', place, '--run', 'deep/x_test.yaml: it reads']),
    ]);
    const lines = plain.stdout.split('\n');
    expect(lines[0]).toBe(`${place}/deep/x_test.yaml:3:`);
    expect(lines[1]).toMatch(/^deep\/x_test\.yaml: it does not: FAIL \([\d.]+(?:ns|µs|ms|s), \d+ fuel\)$/);
    expect(lines[2]).toBe('  expected deny, and it is allow');
    expect(lines.slice(-3)).toEqual(['PASS: 1/2', 'FAIL: 1/2', '']);
    expect(JSON.parse(asJson.stdout)).toMatchObject([
      {
        package: 'deep/x_test.yaml',
        name: 'it reads',
        location: { file: 'deep/x_test.yaml', row: 2 },
        tabled: true,
      },
      { name: 'it does not', fail: true, unmet: ['expected deny, and it is allow'] },
    ]);
    expect(picked).toEqual({ code: 0, stdout: 'PASS: 1/1\n', stderr: '' });
    expect([plain.code, asJson.code]).toEqual([1, 1]);
  });

  test('that is not understood is a mistake with file and line, for check too', async () => {
    const place = await tenantOf({ 'x_test.yaml': `tests:\n${row('one', 'maybe')}` });
    const ran = await Promise.all(['test', 'check'].map((name) => mandate(['policy', name, place])));
    for (const { code, stdout } of ran) {
      expect(stdout).toBe(`${place}/x_test.yaml:2: tests.0.expect: it is allow, deny or challenge\n`);
      expect(code).toBe(1);
    }
  });

  test('that was made to hurt ends in time', async () => {
    const place = await tenantOf({ 'x_test.yaml': `a: &a 1\nb: [${'*a,'.repeat(300_000)}]\n` });
    const begun = processorMs();
    expect(await mandate(['policy', 'test', place])).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/x_test\.yaml:/) as string,
    });
    expect(processorMs() - begun).toBeLessThan(20_000);
  });

  test('under a name with a control character is refused by that name, and so is one that is a link to elsewhere', async () => {
    const place = await tenantOf({ 'a\u001b[31m_test.yaml': 'tests: []\n' });
    const { code, stdout } = await mandate(['policy', 'test', place]);
    expect(stdout).toBe('a\\u001b[31m_test.yaml: its name holds a control character\n');
    const other = await tenantOf({});
    await symlink('/etc/hostname', path.join(other, 'x_test.yaml'));
    const linked = await mandate(['policy', 'test', other]);
    expect(linked.stdout).toContain("x_test.yaml: it links out of the tenants' folder");
    expect([code, linked.code]).toEqual([1, 1]);
  });

  test('among ten thousand other files is found; more tables than may be are not', async () => {
    const place = await tenantOf({ 'x_test.yaml': `tests:\n${row('one', 'allow')}` });
    await mkdir(path.join(place, 'notes'));
    await Promise.all(
      Array.from({ length: 10_000 }, (_, at) => writeFile(path.join(place, 'notes', `${at}.md`), '')),
    );
    expect(await mandate(['policy', 'test', place])).toMatchObject({ code: 0, stdout: 'PASS: 1/1\n' });
    await Promise.all(
      Array.from({ length: 1_001 }, (_, at) => writeFile(path.join(place, 'notes', `${at}_test.yaml`), '')),
    );
    const { code, stdout } = await mandate(['policy', 'test', place]);
    expect(stdout).toContain('more than 1000 tables of tests');
    expect(code).toBe(1);
  });
});

describe('several folders', () => {
  test('have a line each at the end; the worst of them is the exit code', async () => {
    const [good, bad, broken] = await Promise.all([
      tenantOf({ 'x_test.yaml': `tests:\n${row('one', 'allow')}` }),
      tenantOf({ 'x_test.yaml': `tests:\n${row('one', 'deny')}` }),
      tenantOf({
        'b.rego': 'package authz\n\nallow := nosuch(1)\n',
        'x_test.yaml': `tests:\n${row('one', 'allow')}`,
      }),
    ]);
    const nowhere = path.join(root, 'nowhere');
    const ran = await mandate(['policy', 'test', good, bad, broken, nowhere]);
    expect(ran.stdout.split('\n').slice(-5)).toEqual([
      `${good}: PASS: 1/1`,
      `${bad}: FAIL: 1/1`,
      `${broken}: its tests cannot run`,
      `${nowhere}: config_invalid`,
      '',
    ]);
    expect(ran.stderr).toContain(`no such folder: ${nowhere}`);
    expect(ran.code).toBe(2);
    const asJson = await mandate(['--json', 'policy', 'test', good, bad]);
    expect(JSON.parse(asJson.stdout)).toMatchObject([
      { folder: good, ok: true, tests: [{ name: 'one' }] },
      { folder: bad, ok: false, tests: [{ name: 'one', fail: true }] },
    ]);
    expect(asJson.code).toBe(1);
  });
});

/** As a reader of XML has it: each element with its attributes and text. */
function elementsIn(xml: string): { tag: string; attributes: Record<string, string>; text: string }[] {
  const script = [
    'import json, sys, xml.etree.ElementTree as tree',
    'print(json.dumps([{"tag": e.tag, "attributes": e.attrib, "text": e.text or ""} for e in tree.fromstring(sys.stdin.buffer.read()).iter()]))',
  ].join('\n');
  return JSON.parse(execFileSync('python3', ['-c', script], { input: xml, encoding: 'utf8' })) as ReturnType<
    typeof elementsIn
  >;
}

const hasPython = ((): boolean => {
  try {
    execFileSync('python3', ['--version']);
    return true;
  } catch {
    return false;
  }
})();

describe.skipIf(!hasPython)('--junit', () => {
  test('is a report that any reader of XML takes, whatever tests are called and print', async () => {
    const hostile = 'a <b> & "c" \u2028 ]]> \u202e';
    const place = await tenantOf({
      'x_test.yaml': `tests:\n${row(hostile, 'allow')}${row('it does not', 'deny')}`,
      'a_test.rego': [
        'package authz_test',
        'test_fails if {\n\tprint("\u001b[31m", "\\u0000\\ufffe", "a\\r\\nb", "]]>", "<&>")\n\tfalse\n}',
        'todo_test_later if true',
        'test_cases[name] if {\n\tsome name in ["x<", "y"]\n\tname == "y"\n}',
        'test_error if http.send({"method": "get", "url": "http://x"})',
      ].join('\n\n'),
    });
    const file = path.join(root, 'junit.xml');
    const { code } = await mandate(['policy', 'test', place, '--junit', file]);
    const all = elementsIn(await readFile(file, 'utf8'));
    const suite = all.find(({ tag }) => tag === 'testsuite');
    expect(suite?.attributes).toMatchObject({
      name: place,
      tests: '6',
      failures: '3',
      errors: '1',
      skipped: '1',
    });
    const cases = all.filter(({ tag }) => tag === 'testcase').map(({ attributes }) => attributes);
    expect(cases).toContainEqual(
      expect.objectContaining({
        classname: 'x_test.yaml',
        name: hostile,
        file: `${place}/x_test.yaml`,
        line: '2',
      }),
    );
    expect(cases.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['test_fails', 'todo_test_later', 'test_cases', 'test_error', 'it does not']),
    );
    const failures = all.filter(({ tag }) => tag === 'failure');
    expect(failures.map(({ text }) => text)).toContain('expected deny, and it is allow');
    expect(failures.map(({ text }) => text)).toContain('x<');
    const printed = all.find(({ tag }) => tag === 'system-out')?.text;
    expect(printed).toContain('\\u001b[31m \\u0000\\ufffe a\r\nb ]]> <&>');
    expect(code).toBe(1);
  });

  test('says of what does not compile that it did not', async () => {
    const place = await tenantOf({
      'b.rego': 'package authz\n\nallow := nosuch("<")\n',
      'a_test.rego': 'package t\n\ntest_a if true\n',
    });
    const file = path.join(root, 'broken.xml');
    expect((await mandate(['policy', 'test', place, '--junit', file])).code).toBe(1);
    const error = elementsIn(await readFile(file, 'utf8')).find(({ tag }) => tag === 'error');
    expect(error?.text).toContain('undefined function nosuch');
  });

  test('that cannot be written exits 2', async () => {
    const place = await tenantOf({ 'x_test.yaml': `tests:\n${row('one', 'allow')}` });
    const { code, stderr } = await mandate([
      'policy',
      'test',
      place,
      '--junit',
      path.join(root, 'no/such/folder.xml'),
    ]);
    expect(stderr).toMatch(/^mandate: invalid_request: --junit: ENOENT/);
    expect(code).toBe(2);
  });
});

describe('--watch', () => {
  test('runs again when a file changes, outlives a mistake, and ends when interrupted', async () => {
    const place = await tenantOf({ 'x_test.yaml': `tests:\n${row('one', 'allow')}` });
    const child = spawn(process.execPath, ['src/cli/mandate.ts', 'policy', 'test', place, '--watch'], {
      cwd: path.resolve(import.meta.dirname, '../..'),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => (said += text));
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    const until = async (text: string | RegExp): Promise<void> => {
      const found = (): boolean => (typeof text === 'string' ? said.includes(text) : text.test(said));
      await expect.poll(found, { timeout: 90_000 }).toBe(true);
      said = '';
    };
    try {
      await until(/PASS: 1\/1\n[^]*waiting for changes/);
      await writeFile(path.join(place, 'x_test.yaml'), `tests:\n${row('one', 'deny')}`);
      await until('FAIL: 1/1');
      await writeFile(path.join(place, 'tenant.yaml'), 'id: [\n');
      await until('config_invalid');
      await writeFile(path.join(place, 'tenant.yaml'), MANIFEST);
      await until('FAIL: 1/1');
      child.kill('SIGINT');
      expect(await ended).toBe(1);
    } finally {
      child.kill('SIGKILL');
    }
  });

  test('prints no JSON', async () => {
    expect(await mandate(['--json', 'policy', 'test', 'policies/acme', '--watch'])).toMatchObject({
      code: 2,
      stdout: '',
    });
  });
});
