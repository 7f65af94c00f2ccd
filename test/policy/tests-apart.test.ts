import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { Compiler } from '../../src/policy/compiler.ts';
import { PolicyInvalid } from '../../src/policy/diagnostics.ts';
import { passed } from '../../src/policy/testing/report.ts';
import { compile, diagnosed, read, tested as run, withFolder } from './sources.ts';

/** What decides is exactly what the author wrote and tested: tests are of the revision, and decide nothing. */

const base = {
  'authz.rego': 'package authz\n\nallow := true\n',
  'delegation.rego': 'package delegation\n\nallow := true\n',
};

type Files = Readonly<Record<string, string>>;

/** What a run of the tests says: whether all passed, or what was refused of them. */
const tested = (files: Files): Promise<{ passed: boolean; refused: string[] }> =>
  withFolder({ ...base, ...files }, async (folder) => {
    try {
      const report = await run(folder);
      return { passed: 'tests' in report && passed(report.tests), refused: [] };
    } catch (error) {
      if (!(error instanceof PolicyInvalid)) throw error;
      return { passed: false, refused: error.diagnostics.map(({ file, line }) => `${file}:${line}`) };
    }
  });

describe('a test file', () => {
  test.concurrent.each([
    ['that undoes a guardrail', 'package mandate.guardrails\n\nclear if true\n'],
    ['that allows everything', 'package authz\n\nallow if true\n'],
    ['that is another policy', 'package authz\n\ndeny contains "all"\n\ndefault challenge := {"a": 1}\n'],
    ['that is nothing of the kind', 'no Rego at all {{{'],
    [
      'that names what no decision may',
      'package authz_test\n\nx := http.send({"url": "http://127.0.0.1"})\n',
    ],
  ])('%s changes nothing of what decides, and hinders nothing', async (_name, rego) => {
    const [plain, beside] = await Promise.all([compile({}), compile({ 'evil_test.rego': rego })]);
    expect(Buffer.from(beside.wasm).equals(plain.wasm)).toBe(true);
    expect(beside.data).toBe(plain.data);
    expect(beside.files).toEqual(plain.files);
  });

  test('is part of the revision all the same', async () => {
    const revisions = await Promise.all(
      ['1', '2'].map((n) => compile({ 'x_test.rego': `package authz_test\n\ntest_x if ${n} == ${n}\n` })),
    );
    expect(new Set([(await compile({})).revision, ...revisions.map(({ revision }) => revision)]).size).toBe(
      3,
    );
  });

  test('is told by its name alone, in any folder', async () => {
    const rego = 'package mandate.guardrails\n\nclear if true\n';
    for (const name of ['a/evil_test.rego', '_test.rego', 'x_test.rego/y_test.rego'])
      expect(await diagnosed({ [name]: rego }), name).toEqual([]);
    for (const name of ['evil_test.rego/y.rego', 'evil_Test.rego', 'test_evil.rego', 'evil-test.rego'])
      expect(
        (await diagnosed({ [name]: rego })).map(({ file }) => file),
        name,
      ).toContain(name);
  });

  test('may replace what no decision has, and asks no host in earnest', async () => {
    const mocked =
      'package authz_test\n\nsend(_) := {"status_code": 200}\n\nfetch(url) := http.send({"method": "get", "url": url})\n\n' +
      'test_mocked if fetch("http://127.0.0.1:1/").status_code == 200 with http.send as send\n';
    expect(await tested({ 'a_test.rego': mocked })).toEqual({ passed: true, refused: [] });
    const earnest = `${mocked}\ntest_earnest if fetch("http://127.0.0.1:1/").status_code\n`;
    expect(await tested({ 'a_test.rego': earnest })).toEqual({ passed: false, refused: [] });
  });
});

describe('tests are refused that would test something else than what decides:', () => {
  const helper = { 'own.rego': 'package authz.own\n\nrole.reader := 1\n' };
  test.concurrent.each([
    ['a rule of a module added to', 'package authz\n\nallow := true\n\ntest_x if allow\n', 'a_test.rego:3'],
    [
      'a rule added within a rule',
      'package authz.own\n\nrole.admin := 2\n\ntest_x if true\n',
      'a_test.rego:3',
    ],
    ['a rule of the platform', 'package mandate.guardrails\n\nclear if true\n', 'a_test.rego:1'],
    ['a package of the platform', 'package mandate.more\n\ntest_x if true\n', 'a_test.rego:1'],
  ])('%s', async (_name, rego, place) => {
    expect((await tested({ ...helper, 'a_test.rego': rego })).refused).toContain(place);
  });

  test('what decides reads what a test alone defines', async () => {
    const files = {
      'own.rego': 'package authz.own\n\nimport data.fixtures.roles\n\nx if roles.admin\n',
      'a_test.rego': 'package fixtures\n\nroles := {"admin": true}\n\ntest_x if data.authz.own.x\n',
    };
    expect((await tested(files)).refused).toContain('own.rego:3');
  });

  test('and none that has helpers of its own, also in the package that it tests', async () => {
    const rego = 'package authz\n\nhelper := 1\n\ntest_x if {\n\thelper == 1\n\tallow\n}\n';
    expect(await tested({ ...helper, 'a_test.rego': rego })).toEqual({ passed: true, refused: [] });
  });
});

describe('compiled modules on disk', () => {
  const made = async (cache: string, tenant: string, files: Files): Promise<Uint8Array> => {
    const { opa, home } = readConfig({ MANDATE_OPA: process.env['MANDATE_OPA'] });
    const own = new Compiler({ opa, policies: path.join(home, 'policies'), cache });
    return withFolder({ ...base, ...files }, async (folder) => {
      const { wasm } = await own.compile({ ...(await read(folder)), tenant });
      return wasm;
    });
  };
  const withCache = async (use: (cache: string) => Promise<void>): Promise<void> => {
    const cache = await mkdtemp(path.join(tmpdir(), 'mandate-cache-'));
    try {
      await use(cache);
    } finally {
      await rm(cache, { recursive: true });
    }
  };
  const entriesOf = async (cache: string): Promise<string[]> =>
    (await readdir(cache, { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile())
      .map((entry) => path.join(entry.parentPath, entry.name));

  test('are told apart by what they are made from, however it is split into files and names', () =>
    withCache(async (cache) => {
      // One file that is named and written like two.
      const [a, b] = ['package authz.x\n\nx := 1\n', 'package authz.y\n\ny := 2\n'];
      const joined = `${a}b.rego ${b.length}\n${b}`;
      expect(await made(cache, 'acme', { 'a.rego': a, 'b.rego': b })).toBeDefined();
      await expect(made(cache, 'acme', { 'a.rego': joined })).rejects.toMatchObject({
        code: 'policy_invalid',
      });
      await expect(made(cache, 'acme', { [`a.rego ${a.length}\n${a}b.rego`]: b })).rejects.toMatchObject({
        code: 'policy_invalid',
      });
    }));

  test('are the tenant’s own: another with the same sources has no use of a poisoned one', () =>
    withCache(async (cache) => {
      await made(cache, 'evil', {});
      await made(cache, 'acme', {});
      const folders = new Set((await entriesOf(cache)).map((file) => path.basename(path.dirname(file))));
      expect(folders).toEqual(new Set(['evil', 'acme']));
    }));

  test('are taken only whole, and where they belong', () =>
    withCache(async (cache) => {
      const plain = await made(cache, 'acme', {});
      const [entry = ''] = await entriesOf(cache);
      const other = await made(cache, 'acme', { 'x.rego': 'package authz\n\ndeny contains "x"\n' });
      expect(Buffer.from(other).equals(plain)).toBe(false);
      const [second = ''] = (await entriesOf(cache)).filter((each) => each !== entry);
      const good = await readFile(entry);
      for (const bad of [
        await readFile(second),
        good.subarray(0, good.length - 9),
        Buffer.from(''),
        Buffer.from(good).fill(0, good.length - 40, good.length - 30),
      ]) {
        await writeFile(entry, bad);
        expect(Buffer.from(await made(cache, 'acme', {})).equals(plain)).toBe(true);
      }
    }));

  test('are made from the platform that their key names, also when it is replaced under a compiler that runs', () =>
    withCache(async (cache) => {
      const { opa, home } = readConfig({ MANDATE_OPA: process.env['MANDATE_OPA'] });
      const policies = path.join(cache, 'policies');
      await cp(path.join(home, 'policies'), policies, { recursive: true });
      const own = new Compiler({ opa, policies, cache: path.join(cache, 'kept') });
      await withFolder(base, async (folder) => {
        const sources = await read(folder);
        const before = await own.compile(sources);
        await writeFile(
          path.join(policies, 'platform/guardrails.rego'),
          'package mandate.guardrails\n\nclear if true\n\ndenials := set()\n\nacting_denials := set()\n',
        );
        const more = {
          ...sources,
          modules: new Map([...sources.modules, ['x.rego', 'package authz\n\nx := 1\n']]),
        };
        await own.compile(more);
        // As a server that is started again finds it.
        await cp(path.join(home, 'policies'), policies, { recursive: true });
        const again = new Compiler({ opa, policies, cache: path.join(cache, 'kept') });
        const after = await again.compile(more);
        expect(Buffer.from(after.wasm).equals(before.wasm)).toBe(true);
      });
    }));

  test('of the form before are not taken, and go', () =>
    withCache(async (cache) => {
      const old = path.join(cache, `${'ab'.repeat(32)}.tar.gz`);
      await writeFile(old, 'x');
      await made(cache, 'acme', {});
      expect(await entriesOf(cache)).not.toContain(old);
    }));

  test('are kept of tenants that are served, and of no other', () =>
    withCache(async (cache) => {
      for (const tenant of ['acme', 'gone']) await made(cache, tenant, {});
      const { opa, home } = readConfig({ MANDATE_OPA: process.env['MANDATE_OPA'] });
      await new Compiler({ opa, policies: path.join(home, 'policies'), cache }).keepOnly(['acme', 'new']);
      expect((await entriesOf(cache)).map((file) => path.basename(path.dirname(file)))).toEqual(['acme']);
    }));

  test('are few, however often an author saves', () =>
    withCache(async (cache) => {
      for (let n = 0; n < 7; n += 1)
        await made(cache, 'acme', { 'n.rego': `package authz.n\n\nx := ${n}\n` });
      expect((await entriesOf(cache)).length).toBeLessThanOrEqual(4);
    }));
});
