import { describe, expect, test } from 'vitest';
import { composeData, parseManifestText } from '../../src/tenancy/folder/parser.ts';
import { ManifestInvalid } from '../../src/tenancy/manifest-invalid.ts';

/** What a tenant's author wrote is parsed exactly, in bounds, and when it is large not where requests are answered. */

/** How often this thread came to something else meanwhile. */
async function turnsDuring<T>(work: () => Promise<T>): Promise<{ value: T; turns: number }> {
  let [turns, over] = [0, false];
  const count = (): void => {
    turns += 1;
    if (!over) setImmediate(count);
  };
  setImmediate(count);
  const value = await work();
  over = true;
  return { value, turns };
}

const problemOf = (text: string): Promise<unknown> =>
  parseManifestText(text, 'tenant.yaml').then(
    () => 'taken',
    (error: unknown) => (error instanceof ManifestInvalid ? `${error.line}: ${error.problem}` : error),
  );

describe('a large tenant.yaml', () => {
  test('is taken while this thread goes on', async () => {
    const lines = Array.from({ length: 5_000 }, (_, n) => `  - {class: user, id: u${n}, roles: [reader]}`);
    const text = `id: acme\nprincipals:\n${lines.join('\n')}\n`;
    const { value, turns } = await turnsDuring(() => parseManifestText(text, 'tenant.yaml'));
    expect(value.principals.map(({ id }) => id)).toEqual(lines.map((_, n) => `u${n}`));
    expect(turns).toBeGreaterThan(20);
  });

  test('of as many keys as it can hold is parsed, or refused, to the last one', async () => {
    const keys = Array.from({ length: 20_000 }, (_, n) => `  k${n}: {}`);
    const manifest = await parseManifestText(`id: acme\nroles:\n${keys.join('\n')}\n`, 'tenant.yaml');
    expect(Object.keys(manifest.roles)).toHaveLength(20_000);
    expect(await problemOf(`id: acme\nroles:\n${keys.join('\n')}\n  k7: {}\n`)).toMatch(
      /^20003: Map keys must be unique at line 20003, column 3$/,
    );
  });

  test('of nothing but mistakes is refused, and the next one is taken', async () => {
    for (const text of [']'.repeat(60_000), '['.repeat(60_000), '- '.repeat(60_000), '%a\n'.repeat(20_000)])
      expect(await problemOf(text)).toMatch(/^\d+: \S/);
    expect(await problemOf(`id: acme\n${'#\n'.repeat(30_000)}`)).toBe('taken');
  });

  test('is refused with the same words as a small one', async () => {
    for (const mistake of [
      'roles: [',
      'id: acme',
      'unknown: 1',
      'a: *b',
      'display_name: \u0007',
      'actions: {a: {}, a: {}}',
    ]) {
      const texts = [1, 20_000].map((length) => `# ${'x'.repeat(length)}\nid: acme\n${mistake}\n`);
      const [small, large] = await Promise.all(texts.map(problemOf));
      expect(large).toBe(small);
      expect(small).not.toBe('taken');
    }
  });

  test('is no deeper than who reads it can go', async () => {
    const deep = (levels: number): string =>
      `id: acme\nprincipals: [{class: user, id: a, properties: {p: ${'['.repeat(levels)}${']'.repeat(levels)}}}]\n`;
    expect(await problemOf(deep(40))).toBe('taken');
    expect(await problemOf(deep(100))).toBe('0: more than 64 levels deep');
  });
});

const composed = async (...documents: (readonly [string, string])[]): Promise<string> => {
  const answer = await composeData(documents, 0);
  return 'data' in answer ? answer.data : `${answer.file}:${answer.line}: ${answer.problem}`;
};

describe('data', () => {
  test('lies where its folder says, from JSON and from YAML', async () => {
    expect(
      await composed(
        ['data.json', '{"k":1,"users":{"a":1}}'],
        ['groups/data.yaml', 'staff: [a, b]\n'],
        ['users/data.json', '{"b":2}'],
        ['users/deep/er/data.json', '[1,2]'],
        ['x/data.yml', 'true'],
      ),
    ).toBe(
      '{"k":1,"users":{"a":1,"b":2,"deep":{"er":[1,2]}},"groups":{"staff":["a","b"]},"x":true,"mandate":0}',
    );
  });

  test('has its numbers as they are written', async () => {
    const numbers =
      '[9007199254740993,1.0,1e400,-0,0.1000000000000000055511151231257827,12345678901234567890123]';
    expect(await composed(['n/data.json', numbers])).toBe(`{"n":${numbers},"mandate":0}`);
    expect(await composed(['data.yaml', 'big: 12345678901234567890\nhex: 0x1f\nhalf: 0.50\n'])).toBe(
      '{"big":12345678901234567890,"hex":31,"half":0.5,"mandate":0}',
    );
  });

  test('may have any names, as they are', async () => {
    expect(
      await composed(
        ['__proto__/data.json', '{"a":1}'],
        ['data.json', '{"__proto__":{"b":2},"constructor":3,"mandat":4}'],
      ),
    ).toBe('{"__proto__":{"a":1,"b":2},"constructor":3,"mandat":4,"mandate":0}');
    expect(({} as { a?: number }).a).toBeUndefined();
  });

  test.each([
    [
      'is defined twice',
      [
        ['a/data.json', '1'],
        ['a/data.yaml', '1'],
      ],
      'a/data.yaml:0: data.a is defined twice',
    ],
    [
      'is defined twice deep within',
      [
        ['data.json', '{"a":{"b":1}}'],
        ['a/data.json', '{"b":{}}'],
      ],
      'a/data.json:0: data.a.b is defined twice',
    ],
    [
      'lies within what is no object',
      [
        ['data.json', '{"a":1}'],
        ['a/b/data.json', '{}'],
      ],
      'a/b/data.json:0: data.a is defined twice',
    ],
    [
      "is in the platform's folder",
      [['mandate/data.json', '{}']],
      "mandate/data.json:0: data.mandate is the platform's",
    ],
    [
      "is below the platform's folder",
      [['mandate/lib/data.json', '{}']],
      "mandate/lib/data.json:0: data.mandate is the platform's",
    ],
    ["has the platform's name", [['data.yaml', 'mandate: 1']], "data.yaml:0: data.mandate is the platform's"],
    ['is no object at the root', [['data.json', '[]']], 'data.json:0: it is not an object'],
    [
      'has a key twice in YAML',
      [['data.yaml', 'a: 1\nb: 1\na: 2\n']],
      'data.yaml:3: Map keys must be unique at line 3, column 1',
    ],
    [
      'is not JSON',
      [['a/data.json', '{"a":1}x']],
      'a/data.json:0: Unexpected non-whitespace character after JSON at position 7 (line 1 column 8)',
    ],
    [
      'has a number that JSON has not',
      [['data.yaml', 'a: .inf\n']],
      'data.yaml:0: a number that JSON does not have',
    ],
  ] as const)('is refused that %s', async (_name, documents, problem) => {
    expect(await composed(...documents)).toBe(problem);
  });

  test('that is large is read while this thread goes on, again and again', async () => {
    const rows = JSON.stringify(Array.from({ length: 40_000 }, (_, n) => ({ id: n, name: `user ${n}` })));
    for (let round = 0; round < 2; round += 1) {
      const { value, turns } = await turnsDuring(() => composed(['rows/data.json', rows]));
      expect(value).toBe(`{"rows":${rows},"mandate":0}`);
      expect(turns).toBeGreaterThan(5);
    }
    expect(await composed(['deep/data.json', '['.repeat(400_000)])).toMatch(/^deep\/data\.json:0: /);
  });

  test('of YAML whose aliases stand for more than there is is refused', async () => {
    let bomb = 'a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n';
    for (let n = 1; n < 9; n += 1)
      bomb += `a${n}: &a${n} [${Array(10)
        .fill(`*a${n - 1}`)
        .join(', ')}]\n`;
    expect(await composed(['data.yaml', bomb])).toMatch(/^data\.yaml:0: Excessive alias count/);
  });
});
