import { describe, expect, test } from 'vitest';
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
      { file, line: 4, message: expect.stringContaining('undefined function nosuch') as string },
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
