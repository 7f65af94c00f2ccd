import { describe, expect, test } from 'vitest';
import { PolicyModule } from '../../src/policy/engine/module.ts';
import { compile, diagnosed, read, withFolder } from './sources.ts';

const revisionOf = async (files: Record<string, string>): Promise<string> => (await compile(files)).revision;

describe('a revision', () => {
  test('is the same for the same sources, wherever and whenever they are compiled', async () => {
    const extra = { 'z.rego': 'package authz\n\nreasons contains "z"\n' };
    const [one, two] = await Promise.all([revisionOf(extra), revisionOf(extra)]);
    expect(one).toBe(two);
    expect(one).toMatch(/^sha256:[0-9a-f]{64}$/);
  });

  test('is another one for other Rego and for other data', async () => {
    const revisions = await Promise.all([
      revisionOf({}),
      revisionOf({ 'z.rego': 'package authz\n\ndeny contains "z" if input.context.z\n' }),
      revisionOf({ 'data.json': '{"departments":["sales"]}' }),
    ]);
    expect(new Set(revisions).size).toBe(3);
  });
});

describe('diagnostics', () => {
  test('name file, line and what the compiler says', async () => {
    const file = 'deep/folder/broken.rego';
    expect(await diagnosed({ [file]: 'package authz\n\nallow if {\n\tnosuch(1)\n}\n' })).toEqual([
      { file, line: 4, column: 2, message: expect.stringContaining('undefined function nosuch') as string },
    ]);
    expect(await diagnosed({ [file]: 'package authz\n\nallow if {\n' })).toMatchObject([{ file }]);
    expect(await diagnosed({ [file]: 'package authz\n\nallow { true }\n' })).toMatchObject([
      { file, line: 3 },
    ]);
  });

  test("find an author's typo in the input, and say what there is", async () => {
    const [found] = await diagnosed({ 'typo.rego': 'package authz.x\n\ny if input.subject.rolse\n' });
    expect(found).toMatchObject({ file: 'typo.rego', line: 3 });
    expect(found?.message).toContain('roles');
  });

  test('name every broken file, at most twenty mistakes', async () => {
    const broken = Object.fromEntries(
      Array.from({ length: 30 }, (_, at) => [`b${at}.rego`, 'package authz.x\n\ny := nosuch(1)\n']),
    );
    const found = await diagnosed(broken);
    expect(found.length).toBeGreaterThan(1);
    expect(found.length).toBeLessThanOrEqual(20);
  });

  test('are short, however long the name that they name', async () => {
    const name = 'n'.repeat(100_000);
    for (const rego of [`x := ${name}(1)`, `x := data.mandate.${name}`, `x := "${name}`, `x := ${name}`]) {
      const found = await diagnosed({ 'long.rego': `package authz.x\n\n${rego}\n` });
      expect(found.length).toBeGreaterThan(0);
      for (const { message } of found) expect(message.length).toBeLessThanOrEqual(1_000);
    }
  });

  test('two modules that define allow as different constants are a conflict that compiles, and decides nothing', async () => {
    expect(await diagnosed({ 'b.rego': 'package authz\n\nallow := false\n' })).toEqual([]);
  });
});

describe("a tenant's sources", () => {
  test('are its Rego by path, tests apart, and nothing else', () =>
    withFolder({ 'b/x.rego': 'B', 'a.rego': 'A', 'a_test.rego': 'T', 'notes.txt': 'N' }, async (folder) => {
      const { modules, tests } = await read(folder);
      expect([...modules]).toEqual([
        ['a.rego', 'A'],
        ['b/x.rego', 'B'],
      ]);
      expect([...tests.keys()]).toEqual(['a_test.rego']);
    }));

  test("are refused where data.json would write into the platform's data, or is no object", async () => {
    for (const text of ['{"mandate":{}}', '[]', 'null', '{', '"x"'])
      await withFolder({ 'data.json': text }, async (folder) => {
        await expect(read(folder)).rejects.toMatchObject({ code: 'policy_invalid' });
      });
  });
});

describe('a module decides whatever its file is called:', () => {
  const names = [
    '.hidden.rego',
    '.folder/x.rego',
    '-f.rego',
    'a b.rego',
    'a:b.rego',
    'c:/d.rego',
    '*.rego',
    '[a].rego',
    'q\'"uote.rego',
    '日本/ħ.rego',
    'tenant/tenant/x.rego',
    'platform/decision.rego',
    'data.json/x.rego',
    'x.rego/y.rego',
    '__proto__.rego',
    'http:/host/x.rego',
    '%2e%2e/x.rego',
    'bundle.tar.gz/x.rego',
    '.manifest/x.rego',
    `${'n'.repeat(200)}.rego`,
  ];

  test('each of them is compiled, and its mistakes are told by its name', async () => {
    const denies = Object.fromEntries(
      names.map((name, at) => [name, `package authz\n\ndeny contains "n${at}"\n`]),
    );
    const { wasm, data, files } = await compile(denies);
    expect(files).toEqual(expect.arrayContaining(names));
    const instance = PolicyModule.compile(wasm).instantiate(data, { fuel: 20_000_000, memoryPages: 512 });
    const { result } = instance.evaluate('mandate/decision', '{}', { nowMs: 0, seed: '' });
    expect((result as { denied: string[] }).denied.toSorted()).toEqual(
      names.map((_, at) => `n${at}`).toSorted(),
    );
  });

  test.concurrent.each(names)('%s', async (name) => {
    expect(await diagnosed({ [name]: 'package authz.x\n\nx := nosuch(1)\n' })).toMatchObject([
      { file: name, line: 3 },
    ]);
    expect(await diagnosed({ [name]: 'package other\n' })).toMatchObject([{ file: name, line: 1 }]);
  });
});
