import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, realpath, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { ServiceError } from '../../src/errors.ts';
import { sourcesOf } from '../../src/policy/sources.ts';
import { readTenantFiles } from '../../src/tenancy/folder/read.ts';
import { readTenant } from '../../src/tenancy/tenants.ts';

/**
 * Folders of tenants made at random: links, pipes, names, sizes, encodings, bytes. Whatever is in one, it is read or
 * refused by name, in bounded time and memory, and nothing comes out of it that does not stand within its bounds.
 */

const SEEDS = Array.from({ length: 150 }, (_, at) => at + 1);
const SECRET = 'the-secret-of-beta';

/** Numbers below a bound, the same for the same seed. */
function randomFrom(seed: number): (bound: number) => number {
  let state = Math.imul(seed, 0x9e3779b1) >>> 0;
  return (bound) => {
    state = (Math.imul(state ^ (state >>> 15), 0x85ebca6b) + 0x6d2b79f5) >>> 0;
    return ((state ^ (state >>> 13)) >>> 0) % bound;
  };
}

const bases = [
  'a.rego',
  'deny.rego',
  'a_test.rego',
  'data.json',
  'data.yaml',
  'tenant.yaml',
  'notes.txt',
  'lib',
];
const oddities: readonly (string | Buffer)[] = [
  '..data',
  '..x.rego',
  '.#a.rego',
  '.git',
  '__proto__.rego',
  'constructor',
  'a\nb.rego',
  'tab\t.rego',
  '\u202e.rego',
  'e\u0301.rego',
  '\u00e9.rego',
  '-f.rego',
  '$(x).rego',
  'tenant',
  'platform',
  'x'.repeat(250) + '.rego',
  Buffer.from([0xff, 0xfe, 0x2e, 0x72, 0x65, 0x67, 0x6f]),
];
const targets = [
  '/dev/zero',
  '/etc/passwd',
  '/proc/self/environ',
  '..',
  '../..',
  '../beta',
  '../beta/data.json',
  '../beta/tenant.yaml',
  '../shared',
  '../shared/s.rego',
  '../../outside.rego',
  '.',
  'a.rego',
  'lib',
  'lib/a.rego',
  'deny.rego',
  'nowhere',
  '..data',
  '/',
];
const contents: readonly (string | Buffer)[] = [
  'package authz\n\nallow := true\n',
  '{"a": 9007199254740993, "__proto__": {"b": 1.50}}',
  'id: acme\nprincipals: []\n',
  'id: beta\n',
  '\ufeffpackage authz\n',
  Buffer.from([0x70, 0xe9, 0x0a]),
  Buffer.from('package authz\n', 'utf16le'),
  Buffer.alloc(2_000),
  '[',
  '[[[['.repeat(3_000),
  '{"a":'.repeat(3_000),
  '- '.repeat(4_000),
  'a: &a [*a]\n',
  '? '.repeat(2_000),
  '%YAML 1.1\n---\na: !!binary x\n<<: {b: yes}\n',
  `a: ${'x: '.repeat(3_000)}`,
  '\u0000\u001b[2J',
  '',
];

async function made(top: string, pick: (bound: number) => number): Promise<string> {
  const own = path.join(top, 'tenants', 'acme');
  await mkdir(path.join(own, 'lib'), { recursive: true });
  for (const [name, text] of [
    ['outside.rego', SECRET],
    ['tenants/beta/tenant.yaml', `id: beta\ndisplay_name: ${SECRET}\n`],
    ['tenants/beta/data.json', `{"x":"${SECRET}"}`],
    ['tenants/beta/deep/b.rego', SECRET],
    ['tenants/shared/s.rego', 'package authz.s\n'],
  ] as const) {
    await mkdir(path.dirname(path.join(top, name)), { recursive: true });
    await writeFile(path.join(top, name), text);
  }
  await writeFile(path.join(own, 'tenant.yaml'), 'id: acme\n');
  const of = <T>(list: readonly T[]): T => list[pick(list.length)] as T;
  for (let left = 1 + pick(8); left > 0; left -= 1) {
    const name = Buffer.from(pick(3) === 0 ? of(oddities) : of(bases));
    const place = Buffer.concat([Buffer.from(`${own}/${pick(3) === 0 ? 'lib/' : ''}`), name]);
    const kind = pick(10);
    // Where something stands already, it stays.
    try {
      if (kind < 4) await symlink(of(targets), place);
      else if (kind < 8) await writeFile(place, of(contents), { flag: 'wx' });
      else if (kind === 8) await mkdir(place);
      else if (!name.includes(0xff)) execFileSync('mkfifo', [place.toString()], { stdio: 'ignore' });
      if (kind === 4) await truncate(place, of([2 ** 20 + 1, 2 ** 26 + 1, 2 ** 40]));
    } catch {
      continue;
    }
  }
  return own;
}

describe('a folder of anything', () => {
  test.each([0, 1, 2])('is read within its bounds or refused by name (%i)', async (third) => {
    for (const seed of SEEDS.filter((each) => each % 3 === third)) {
      const top = await realpath(await mkdtemp(path.join(tmpdir(), 'mandate-fuzz-')));
      try {
        const folder = await made(top, randomFrom(seed));
        const before = process.memoryUsage().rss;
        const read = await readTenantFiles({ folder, root: path.join(top, 'tenants') });
        for (const { file, problem } of read.faults) {
          expect(file, `seed ${seed}`).not.toMatch(/\p{Cc}/u);
          expect(problem).not.toBe('');
        }
        for (const [name, bytes] of read.files) {
          expect(bytes.includes(SECRET), `seed ${seed}: ${name}`).toBe(false);
          expect(bytes.includes('root:')).toBe(false);
          // By its name it is found again: what is shown is what was read.
          expect(bytes.equals(await readFile(path.join(folder, name))), `seed ${seed}: ${name}`).toBe(true);
        }
        expect(read.manifest?.includes(SECRET) ?? false).toBe(false);
        expect([...read.files.keys()]).toEqual([...read.files.keys()].toSorted());
        const made_ = await readTenant(read)
          .then(({ manifest }) => sourcesOf(read, manifest))
          .catch((error: unknown) => error);
        if (made_ instanceof Error) {
          expect(made_, `seed ${seed}: ${made_.stack}`).toBeInstanceOf(ServiceError);
          expect((made_ as ServiceError).code).toMatch(/^(?:config|policy)_invalid$/);
        } else {
          const { data, files, modules, tests } = made_ as Awaited<ReturnType<typeof sourcesOf>>;
          expect(read.faults).toEqual([]);
          expect(Object.keys(JSON.parse(data) as object)).toContain('mandate');
          expect(files.map((each) => each.path)).toEqual([...read.files.keys()]);
          for (const name of modules.keys()) expect(tests.has(name)).toBe(false);
        }
        expect(process.memoryUsage().rss - before).toBeLessThan(512 * 1024 * 1024);
      } finally {
        await rm(top, { recursive: true, force: true });
      }
    }
  });
});
