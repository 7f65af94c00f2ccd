import { describe, expect, test } from 'vitest';
import { readConfig } from '../../src/config.ts';
import type { Bundle } from '../../src/policy/bundle.ts';
import { PolicyInvalid } from '../../src/policy/diagnostics.ts';
import { PolicyModule } from '../../src/policy/engine/module.ts';
import { limitsFor, prove } from '../../src/policy/proof.ts';
import { parseManifest } from '../../src/tenancy/manifest.ts';
import { compile, compiler, diagnosed, read, withFolder } from './sources.ts';

/** What the bytes of a tenant's files say is what decides. */

type Files = Readonly<Record<string, string | Buffer>>;

const limits = { fuel: 20_000_000, memoryPages: 1_024 };

/** What an entry point answers with these files beside. */
async function answer(files: Files, entry = 'authz/v', input = '{}'): Promise<unknown> {
  const manifest = parseManifest({ id: 'acme', entrypoints: [entry] }, 'tenant.yaml');
  return withFolder(files, async (folder) => {
    const bundle = await compiler().compile(await read(folder, manifest));
    const instance = PolicyModule.compile(bundle.wasm).instantiate(bundle.data, limits);
    return instance.evaluate(entry, input, { nowMs: 0, seed: '' }).result;
  });
}

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');

describe('Rego', () => {
  test.each(['x.rego', 'x_test.rego'])('that is not UTF-8 is refused with its line: %s', async (name) => {
    const text = latin1('package authz.x\n\ndeny contains "a" if input.subject.id == "andr\u00e9"\n');
    const wrong = withFolder({ 'a.rego': 'package authz\n', [name]: text }, read);
    await expect(wrong).rejects.toThrow(`${name}:3: this is not UTF-8`);
  });

  test.each([
    ['a surrogate', [0xed, 0xa0, 0x80]],
    ['an overlong form', [0xc0, 0xaf]],
    ['a sequence cut short', [0xe2, 0x82]],
    ['UTF-16', [0xff, 0xfe, 0x70, 0x00]],
  ])('of %s is not UTF-8', async (_name, bytes) => {
    const text = Buffer.concat([Buffer.from('package authz # '), Buffer.from(bytes), Buffer.from('\n')]);
    await expect(withFolder({ 'x.rego': text }, read)).rejects.toThrow('x.rego:1: this is not UTF-8');
  });

  test('in UTF-8 compares as it is written', async () => {
    const rego = 'package authz\n\nv if input.id == "andr\u00e9"\n';
    expect(await answer({ 'x.rego': rego }, 'authz/v', '{"id":"andr\u00e9"}')).toBe(true);
  });

  test('may begin with a byte-order mark; elsewhere OPA refuses one by its line', async () => {
    expect(await answer({ 'x.rego': '\ufeffpackage authz\n\nv := 7\n' })).toBe(7);
    expect(await diagnosed({ 'x.rego': 'package authz.x\n\nv := "a\ufeffb"\n' })).toContainEqual({
      file: 'x.rego',
      line: 3,
      column: 6,
      message: 'rego_parse_error: illegal byte-order mark',
    });
  });
});

describe('what the compiler takes', () => {
  // The compiler's own function that parses for the boundary does not take all of it.
  test.each([
    ['"\\ufeff"', '\ufeff'],
    ['"a\\ufeffb"', 'a\ufeffb'],
    ['"a\\u0000b"', 'a\u0000b'],
    ['{"\\ufeff": 1}', { '\ufeff': 1 }],
    ['1e-7', 1e-7],
    ['$"{1}\\ufeff"', '1\ufeff'],
  ])('compiles: %s', async (literal, value) => {
    expect(await answer({ 'x.rego': `package authz\n\nv := ${literal}\n` })).toEqual(value);
  });

  test('is looked at all the same', async () => {
    const rego = 'package authz.x\n\nv := "\\ufeff"\n\nw := data.mandate.tenant\n';
    expect(await diagnosed({ 'x.rego': rego, 'y.rego': 'package authz.y\n' })).toMatchObject([
      { file: 'x.rego', line: 5, message: expect.stringContaining("is the platform's") as string },
    ]);
  });
});

describe('data', () => {
  test('in folders and in YAML is where OPA has it', async () => {
    const files = {
      'x.rego': 'package authz\n\nv := [data.users.alice, data.groups[0], data.k, data.big + 1]\n',
      'users/data.json': '{"alice":true}',
      'groups/data.yaml': '- staff\n',
      'data.yml': 'k: yes\nbig: 9007199254740993\n',
    };
    expect(await answer(files)).toEqual([true, 'staff', 'yes', expect.anything()]);
  });

  test('is exact', async () => {
    const files = {
      'x.rego': 'package authz\n\nv := [data.n == 9007199254740993, data.n == 9007199254740992]\n',
      'data.json': '{"n":9007199254740993}',
    };
    expect(await answer(files)).toEqual([true, false]);
  });

  test('may lie beside a rule, and not in its place', async () => {
    const rego = 'package authz\n\nv := data.authz.roles\n\ndeny contains "d"\n';
    expect(await answer({ 'x.rego': rego, 'authz/data.json': '{"roles":[1]}' })).toEqual([1]);
    for (const [name, text] of [
      ['authz/data.json', '{"deny":["all"]}'],
      ['data.json', '{"authz":{"deny":{"x":1}}}'],
      ['authz/deny/data.yaml', 'a: 1'],
      ['authz/data.json', '7'],
    ] as const)
      await expect(answer({ 'x.rego': rego, [name]: text }), text).rejects.toThrow(
        /^x\.rego:\d+: rego_compile_error: conflicting rule for data path authz\/(?:deny|v) found/,
      );
  });

  test('that is not UTF-8, or not JSON, is refused by name', async () => {
    for (const [name, text, problem] of [
      ['users/data.json', latin1('{"a":"\u00e9"}'), 'users/data.json:1: this is not UTF-8'],
      ['data.yaml', latin1('a: \u00e9'), 'data.yaml:1: this is not UTF-8'],
      ['users/data.json', '{', 'users/data.json: '],
    ] as const)
      await expect(withFolder({ [name]: text }, read)).rejects.toThrow(problem);
  });
});

describe('an entry point', () => {
  test('without its rule says which', async () => {
    const failing = answer({ 'x.rego': 'package authz\n\nv := 1\n' }, 'authz/nosuch');
    await expect(failing).rejects.toSatisfy(
      (error) =>
        error instanceof PolicyInvalid &&
        error.diagnostics.length === 1 &&
        error.message === 'policy: there is no rule authz/nosuch, which tenant.yaml names as an entry point',
    );
  });

  test('whose rule a test alone has is without it', async () => {
    const files = { 'x.rego': 'package authz\n\nv := 1\n', 'x_test.rego': 'package authz\n\nw := 1\n' };
    await expect(answer(files, 'authz/w')).rejects.toThrow('there is no rule authz/w');
  });
});

describe('a bundle is proven in the memory it will have', () => {
  const manifest = (limit?: number) =>
    parseManifest({ id: 'acme', limits: limit ? { memory_mib: limit } : {} }, 'tenant.yaml');
  const { fuel, memory_mib: memoryMib } = readConfig({});
  const allowance = { fuel, memoryMib };
  const rows = (count: number): string =>
    JSON.stringify({ rows: Array.from({ length: count }, (_, id) => ({ id, name: `user ${id}` })) });

  let large: Promise<Bundle>;
  const bundle = (): Promise<Bundle> => (large ??= compile({ 'data.json': rows(160_000) }));

  test('and is refused, with what it needs to know, where its data does not fit', async () => {
    const made = await bundle();
    expect(() => prove(made, limitsFor(manifest(16), allowance))).toThrow(
      /^data: the policy and \d+ bytes of data need more than 16 MiB of memory/,
    );
    expect(prove(made, limitsFor(manifest(), allowance)).data).toBe(made.data);
  });

  test('also where the data fits and no question does', async () => {
    const made = await compile({ 'data.json': rows(10_000) });
    const module = PolicyModule.compile(made.wasm);
    const fits = (memoryPages: number): boolean => {
      try {
        module.instantiate(made.data, { fuel, memoryPages });
        return true;
      } catch {
        return false;
      }
    };
    let [least, most] = [16, 1_024];
    while (least < most) {
      const middle = (least + most) >> 1;
      if (fits(middle)) most = middle;
      else least = middle + 1;
    }
    expect(fits(least)).toBe(true);
    const proven = (memoryPages: number): boolean => {
      try {
        prove(made, { fuel, memoryPages }, module);
        return true;
      } catch (error) {
        expect(error).toBeInstanceOf(PolicyInvalid);
        return false;
      }
    };
    // Whatever is proven answers.
    for (const pages of [least, least + 1, least + 2, least + 8, least + 64])
      if (proven(pages)) {
        const instance = module.instantiate(made.data, { fuel, memoryPages: pages });
        expect(() => instance.evaluate('mandate/decision', '{}', { nowMs: 0, seed: '' })).not.toThrow();
      }
    expect(proven(least + 64)).toBe(true);
  });
});
