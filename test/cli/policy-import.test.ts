import { generateKeyPairSync } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { packTar } from 'modern-tar';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run } from '../foreign/programs.ts';
import { AUTHZ, DATA, REGO_TEST, ROLES } from '../policy/decided/shop.ts';
import { mandate, type Ran } from './run.ts';

/** `mandate policy import`: what was written for OPA becomes a tenant, whole or not at all. */

let folder: string;
let count = 0;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-import-test-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

type Files = Readonly<Record<string, string | Buffer>>;

const REPOSITORY: Files = {
  'authz.rego': AUTHZ,
  'roles.rego': ROLES,
  'authz_test.rego': REGO_TEST,
  'shop/data.json': JSON.stringify(DATA),
  '.manifest': JSON.stringify({ roots: ['shop'], revision: 'r1' }),
  'README.md': '# Shop\n',
};

async function repository(files: Files): Promise<string> {
  count += 1;
  const place = path.join(folder, `repository-${count}`);
  await mkdir(place);
  for (const [name, text] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(place, name)), { recursive: true });
    await writeFile(path.join(place, name), text);
  }
  return place;
}

const tarOf = async (
  entries: readonly { name: string; body?: string; type?: 'file' | 'symlink'; linkname?: string }[],
) =>
  gzipSync(
    await packTar(
      entries.map(({ name, body = '', type = 'file', linkname }) => ({
        header: {
          name,
          size: type === 'file' ? Buffer.byteLength(body) : 0,
          type,
          mode: 0o644,
          ...(linkname && { linkname }),
        },
        body: Buffer.from(body),
      })),
    ),
  );

async function imported(
  place: string,
  ...options: string[]
): Promise<Ran & { into: string; lines: string[] }> {
  count += 1;
  const into = path.join(folder, `tenant-${count}`);
  const ran = await mandate(['policy', 'import', place, '--into', into, ...options]);
  return { ...ran, into, lines: ran.stdout.split('\n') };
}

const refusedOf = async (files: Files, ...options: string[]) => {
  const ran = await imported(await repository(files), ...options);
  expect([ran.code, existsSync(ran.into)], ran.stdout).toEqual([1, false]);
  return ran.lines.filter((line) => line.startsWith('refused'));
};

describe('a repository', () => {
  test('is taken whole, tells of each file, and passes check and test', async () => {
    const { code, into, lines, stderr } = await imported(await repository(REPOSITORY));
    expect([code, stderr]).toEqual([0, '']);
    for (const file of ['authz.rego', 'roles.rego', 'authz_test.rego', 'shop/data.json'])
      expect(lines).toContain(`taken    ${file}`);
    expect(lines.filter((line) => line.startsWith('left'))).toEqual([
      'left     .manifest  it was read for roots, entry points and version',
      'left     README.md  it is neither Rego nor data',
    ]);
    expect(lines).toContain('decision   data.shop.authz.allow');
    expect(await mandate(['policy', 'check', '--strict', into])).toMatchObject({ code: 0, stderr: '' });
    expect(await mandate(['policy', 'test', into])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('PASS: 4/4'),
    });
  });

  test('decides as OPA does, for a caller that sends the old input as the context', async () => {
    const place = await repository(REPOSITORY);
    const { into } = await imported(place);
    const inputs = [
      { user: { roles: ['buyer'] }, method: 'GET', path: ['orders'] },
      { user: { roles: ['buyer', 'x'] }, method: 'GET', path: ['orders', '1'] },
      { user: { roles: ['buyer'] }, method: 'PUT', path: ['orders'] },
      { user: { roles: [] }, method: 'GET', path: ['orders'] },
      { user: { roles: ['buyer'] }, method: 'GET', path: ['night'] },
      { user: {}, path: 'orders' },
      {},
    ];
    for (const old of inputs) {
      const theirs = await run(
        'bin/opa',
        ['eval', '-b', place, '-I', '-f', 'json', 'data.shop.authz.allow.allow'],
        {
          input: JSON.stringify(old),
        },
      );
      const { result } = JSON.parse(theirs.stdout) as { result?: [{ expressions: [{ value: boolean }] }] };
      const file = path.join(folder, 'input.json');
      const subject = {
        class: 'user',
        type: 'user',
        id: 'u',
        properties: {},
        groups: [],
        roles: [],
        status: 'active',
      };
      const [action, resource] = [
        { name: 'a', properties: {} },
        { type: 't', id: 'r', properties: {} },
      ];
      await writeFile(
        file,
        JSON.stringify({ subject, actors: [], action, resource, context: old, grant: null }),
      );
      const ours = await mandate(['--json', 'policy', 'eval', into, '-i', file, '--engine', 'all']);
      const answer = JSON.parse(ours.stdout) as {
        same: boolean;
        engines: { ours: { result: { outcome: string } } };
      };
      const isAllowed = answer.engines.ours.result.outcome === 'allow';
      expect([answer.same, isAllowed], JSON.stringify(old)).toEqual([
        true,
        result?.[0].expressions[0].value === true,
      ]);
    }
  });

  test('whose decision is not plain is asked for it', async () => {
    const two = { ...REPOSITORY, 'more.rego': 'package shop.more\n\nallow := true\n' };
    const asked = await imported(await repository(two));
    expect([asked.code, asked.stderr]).toEqual([
      2,
      expect.stringContaining('data.shop.authz.allow, data.shop.more.allow'),
    ]);
    const told = await imported(await repository(two), '--decision', 'data.shop.more.allow');
    expect([told.code, told.lines]).toEqual([0, expect.arrayContaining(['decision   data.shop.more.allow'])]);
    const wrong = await imported(await repository(two), '--decision', 'data.shop.mor.allow');
    expect([wrong.code, existsSync(wrong.into), wrong.stderr]).toEqual([
      2,
      false,
      expect.stringContaining('there is no rule data.shop.mor.allow; there are data.shop.authz.allow'),
    ]);
  });

  test('that only denies allows the rest, where that is said, and tells why not', async () => {
    const files = {
      'main.rego':
        'package main\n\ndeny contains "no root" if input.user == "root"\n\ndeny contains {"msg": "no shell", "n": 1} if input.shell\n\ndeny contains 7 if input.odd\n',
    };
    const place = await repository(files);
    expect(await imported(place)).toMatchObject({ code: 2, stderr: expect.stringContaining('--denials') });
    expect(await imported(place, '--denials', 'data.main.no')).toMatchObject({ code: 2 });
    const { code, into } = await imported(place, '--denials', 'data.main.deny');
    expect(code).toBe(0);
    const row = (name: string, context: string, expected: string): string =>
      `  - { name: ${name}, subject: { class: user, id: u }, action: a, resource: t:r, context: ${context}, expect: ${expected} }\n`;
    const table = `tests:\n${row('rest', '{ user: ann }', 'allow')}${row('root', '{ user: root, shell: true }', 'deny, reasons: [denied, denied]')}${row('odd', '{ odd: true }', 'deny, reasons: [denied]')}`;
    await writeFile(path.join(into, 'more_test.yaml'), table);
    expect(await mandate(['policy', 'test', into])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('PASS: 5/5'),
    });
  });

  test('of before OPA 1.0 is rewritten where that is wanted, and its tests pass', async () => {
    const old = {
      'authz.rego':
        'package old\n\ndefault allow = false\n\nallow { input.user == "ann"; not denied }\n\ndenied { input.bad }\n',
      'test_authz.rego': 'package old\n\ntest_ann { allow with input as {"user": "ann"} }\n',
    };
    expect((await refusedOf(old)).join('\n')).toMatch(/authz.rego {2}it is Rego of before OPA 1.0; --v0/);
    const { code, lines } = await imported(await repository(old), '--v0');
    expect(code).toBe(0);
    expect(lines).toEqual(
      expect.arrayContaining(['taken    test_authz.rego  as test_authz_test.rego', 'PASS: 3/3']),
    );
    const manifest = { ...old, '.manifest': '{"rego_version": 0}' };
    expect(await imported(await repository(manifest))).toMatchObject({ code: 0 });
  });
});

describe('is not taken, and nothing is written', () => {
  test.each([
    [
      'a built-in that no decision has',
      { 'x.rego': 'package shop.x\n\ny := http.send({"url": "u"})\n' },
      /http.send/,
    ],
    [
      'and by another name',
      { 'x.rego': 'package shop.x\n\nimport rego.v1\n\ny if opa.runtime().env\n' },
      /opa.runtime/,
    ],
    [
      "the platform's package",
      { 'x.rego': 'package mandate.decide\n\nresult := "allow"\n' },
      /mandate is the platform's/,
    ],
    ['one of OPA itself', { 'x.rego': 'package system.authz\n\nallow := true\n' }, /system is OPA's own/],
    [
      'a package that means something here',
      { 'x.rego': 'package audit\n\nmask := set()\n' },
      /audit has a meaning here/,
    ],
    ['the mapping', { 'x.rego': 'package mapping\n\nasked := {}\n' }, /mapping has a meaning here/],
    ['a package outside of the roots', { 'x.rego': 'package other\n\ny := 1\n' }, /outside of the roots/],
    ['data outside of the roots', { 'other/data.json': '{}' }, /outside of the roots/],
    ['data of the platform', { 'mandate/data.json': '{}' }, /data.mandate/],
    ['what would be a table', { 'x_test.yaml': 'tests: []\n' }, /table of tests/],
    ['what the import writes', { 'tenant.yaml': 'id: x\n' }, /written by the import/],
    ['what does not parse', { 'x.rego': 'package shop.x\n\ny := \n' }, /rego_parse_error/],
    ['what is no UTF-8', { 'x.rego': Buffer.from([0x70, 0xff]) }, /not UTF-8/],
  ])('%s', async (_what, files, why) => {
    expect((await refusedOf({ ...REPOSITORY, ...files })).join('\n')).toMatch(why);
  });

  test('but what is left out by name', async () => {
    const files = { ...REPOSITORY, 'extra/x.rego': 'package system.main\n\nmain := true\n' };
    const { code, lines } = await imported(await repository(files), '--without', 'extra');
    expect([code, lines]).toEqual([
      0,
      expect.arrayContaining(['left     extra/x.rego  left out by --without']),
    ]);
  });

  test('a link, whatever it leads to', async () => {
    const place = await repository(REPOSITORY);
    await symlink('/etc/passwd', path.join(place, 'data.json'));
    const { code, into, stdout } = await imported(place);
    expect([code, existsSync(into), stdout]).toEqual([
      1,
      false,
      expect.stringContaining('refused  data.json  it is a link'),
    ]);
  });

  test('into a folder that is there', async () => {
    const place = await repository(REPOSITORY);
    expect(await mandate(['policy', 'import', place, '--into', place, '--id', 'x'])).toMatchObject({
      code: 2,
    });
  });
});

describe('a bundle', () => {
  const entries = Object.entries(REPOSITORY).map(([name, body]) => ({
    name: `/${name}`,
    body: String(body),
  }));
  const bundle = async (list: Parameters<typeof tarOf>[0]): Promise<string> => {
    count += 1;
    const file = path.join(folder, `bundle-${count}.tar.gz`);
    await writeFile(file, await tarOf(list));
    return file;
  };

  test('is taken like the folder that it was made from', async () => {
    const { code, lines } = await imported(await bundle(entries));
    expect([code, lines]).toEqual([
      0,
      expect.arrayContaining(['decision   data.shop.authz.allow', 'PASS: 4/4']),
    ]);
  });

  test('writes nothing out of its folder, and follows no link', async () => {
    const before = await readdir(folder);
    for (const [entry, why] of [
      [{ name: '../escaped.rego', body: 'package shop.e\n' }, 'its name leads out of the bundle'],
      [{ name: 'a/../../escaped.rego', body: 'package shop.e\n' }, 'its name leads out of the bundle'],
      [{ name: 'x.rego', type: 'symlink', linkname: '/etc/passwd' }, 'it is a link'],
      [{ name: 'authz.rego', body: 'package shop.authz\n\nallow := true\n' }, 'its name stands twice'],
      [{ name: 'a\u202e.rego', body: 'package shop.e\n' }, 'control character'],
    ] as const) {
      const { code, into, stdout } = await imported(await bundle([...entries, entry]));
      expect([code, existsSync(into), stdout]).toEqual([1, false, expect.stringContaining(why)]);
    }
    expect(
      (await readdir(folder)).filter((each) => !before.includes(each) && !each.startsWith('bundle')),
    ).toEqual([]);
  });

  test('that unpacks to more than it may, or is none, is refused', async () => {
    const file = path.join(folder, 'bomb.tar.gz');
    for (const bytes of [gzipSync(Buffer.alloc(200 * 1024 * 1024)), Buffer.from('no bundle')]) {
      await writeFile(file, bytes);
      expect(await imported(file)).toMatchObject({
        code: 2,
        stderr: expect.stringContaining('is no bundle'),
      });
    }
  });

  test('that is signed is verified, and no byte of it may be another', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const key = async (name: string, of: typeof publicKey) => {
      const file = path.join(folder, name);
      await writeFile(file, of.export({ type: 'spki', format: 'pem' }));
      return file;
    };
    const pub = await key('pub.pem', publicKey);
    const other = await key('other.pem', generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey);
    const pem = path.join(folder, 'key.pem');
    await writeFile(pem, privateKey.export({ type: 'sec1', format: 'pem' }));
    const unsigned = await bundle(entries);
    const signed = await run(path.resolve('bin/opa'), [
      'sign',
      '--signing-alg',
      'ES256',
      '--signing-key',
      pem,
      '--bundle',
      unsigned,
      '-o',
      folder,
    ]);
    expect(signed.stderr).toBe('');
    const { readFile } = await import('node:fs/promises');
    const signatures = {
      name: '/.signatures.json',
      body: await readFile(path.join(folder, '.signatures.json'), 'utf8'),
    };
    const whole = await bundle([...entries, signatures]);
    const verified = await imported(whole, '--verification-key', pub);
    expect([verified.code, verified.lines]).toEqual([0, expect.arrayContaining(['signature  verified'])]);
    expect(await imported(whole, '--skip-verification')).toMatchObject({ code: 0 });
    const changed = entries.map((each) =>
      each.name === '/roles.rego' ? { ...each, body: `${each.body}\n# more\n` } : each,
    );
    const added = [...entries, { name: '/more.rego', body: 'package shop.more\n\nx := 1\n' }];
    for (const [place, options, why] of [
      [whole, [], 'it is signed: give --verification-key'],
      [whole, ['--verification-key', other], 'OPA does not take its signature'],
      [
        await bundle([...changed, signatures]),
        ['--verification-key', pub],
        'OPA does not take its signature',
      ],
      [await bundle([...added, signatures]), ['--verification-key', pub], 'OPA does not take its signature'],
      [unsigned, ['--verification-key', pub], 'it is not signed'],
      [whole, ['--verification-key', whole], 'no public key'],
    ] as const) {
      const ran = await imported(place, ...options);
      expect([ran.code, existsSync(ran.into), ran.stderr]).toEqual([2, false, expect.stringContaining(why)]);
    }
  });
});
