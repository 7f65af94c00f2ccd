import { execFileSync } from 'node:child_process';
import { link, mkdir, mkdtemp, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readRegular } from '../../src/tenancy/folder/open.ts';
import { tenantPlaces } from '../../src/tenancy/folder/places.ts';
import { readTenantFiles } from '../../src/tenancy/folder/read.ts';

/** A tenant's folder holds what stands in it and what its links lead to within the root; nothing is left out in silence. */

let top: string;
let root: string;

beforeEach(async () => {
  top = await mkdtemp(path.join(tmpdir(), 'mandate-folder-'));
  root = path.join(top, 'tenants');
  await put('outside.rego', 'OUT');
  await put('tenants/acme/tenant.yaml', 'id: acme\n');
  await put('tenants/acme/allow.rego', 'A');
  await put('tenants/beta/tenant.yaml', 'id: beta\n');
  await put('tenants/beta/data.json', '{"secret":1}');
  await put('tenants/shared/lib/deny.rego', 'D');
});
afterEach(() => rm(top, { recursive: true, force: true }));

const at = (name: string): string => path.join(top, name);

async function put(name: string, text: string | Buffer): Promise<void> {
  await mkdir(path.dirname(at(name)), { recursive: true });
  await writeFile(at(name), text);
}

const linked = (target: string, name: string): Promise<void> => symlink(target, at(name));

/** The names and texts of acme's files, and what was not taken. */
async function seen(folder = path.join(root, 'acme'), within = root) {
  const { files, faults, manifest } = await readTenantFiles({ folder, root: within });
  return {
    manifest: manifest?.toString(),
    files: Object.fromEntries([...files].map(([name, bytes]) => [name, bytes.toString()])),
    faults: Object.fromEntries(faults.map(({ file, problem }) => [file, problem])),
  };
}

/** The same without the manifest. */
async function taken(...place: Parameters<typeof seen>) {
  const { files, faults } = await seen(...place);
  return { files, faults };
}

describe('a link', () => {
  test('to a file or a folder within the root is followed', async () => {
    await linked('../shared/lib/deny.rego', 'tenants/acme/deny.rego');
    await linked('../shared', 'tenants/acme/more');
    expect(await taken()).toEqual({
      files: { 'allow.rego': 'A', 'deny.rego': 'D' },
      faults: {},
    });
    await rm(at('tenants/acme/deny.rego'));
    expect(await taken()).toEqual({
      files: { 'allow.rego': 'A', 'more/lib/deny.rego': 'D' },
      faults: {},
    });
  });

  test('within the folder is followed, also where the folder is all the root there is', async () => {
    await put('tenants/acme/.kept/deny', 'D');
    await linked('.kept/deny', 'tenants/acme/deny.rego');
    const expected = { files: { 'allow.rego': 'A', 'deny.rego': 'D' }, faults: {} };
    expect(await taken()).toEqual(expected);
    expect(await taken(path.join(root, 'acme'), path.join(root, 'acme'))).toEqual(expected);
  });

  const refused: readonly (readonly [string, string, string, RegExp])[] = [
    ['out of the root', '../../outside.rego', 'x.rego', /links out of/],
    ['to a file of the system', '/etc/passwd', 'data.json', /links out of/],
    ['to a device', '/dev/zero', 'data.json', /links out of/],
    ['to the folder of everything', '/', 'x', /links out of/],
    ['above the root', '../..', 'x', /links out of/],
    ["to another tenant's data", '../beta/data.json', 'data.json', /another tenant/],
    ["to another tenant's folder", '../beta', 'x', /another tenant/],
    ['to the folder of all tenants', '..', 'x', /another tenant/],
    ['to nothing', 'nowhere.rego', 'x.rego', /not there/],
    ['to itself', 'x.rego', 'x.rego', /links to itself/],
    ['that makes a test of what decides', 'allow.rego', 'x_test.rego', /read in another way/],
  ];
  test.each(refused)('%s is refused by name', async (_name, target, name, problem) => {
    await linked(target, `tenants/acme/${name}`);
    const { faults, files } = await seen();
    expect(Object.values(faults)).toHaveLength(1);
    expect(Object.keys(faults)[0]).toMatch(new RegExp(`^${RegExp.escape(name)}`));
    expect(Object.values(faults)[0]).toMatch(problem);
    expect(JSON.stringify(files)).not.toMatch(/OUT|secret|root:/);
  });

  test('is refused as tenant.yaml like any other', async () => {
    await rm(at('tenants/acme/tenant.yaml'));
    await linked('/dev/zero', 'tenants/acme/tenant.yaml');
    expect(await seen()).toMatchObject({
      manifest: undefined,
      faults: { 'tenant.yaml': expect.stringMatching(/links out/) as string },
    });
    await rm(at('tenants/acme/tenant.yaml'));
    await linked('../beta/tenant.yaml', 'tenants/acme/tenant.yaml');
    expect(await seen()).toMatchObject({
      manifest: undefined,
      faults: { 'tenant.yaml': expect.stringMatching(/another tenant/) as string },
    });
  });

  test('that leads in circles shows each file once', async () => {
    await linked('.', 'tenants/acme/again');
    await linked('../shared', 'tenants/acme/s');
    await linked('../acme', 'tenants/shared/back');
    await linked('lib', 'tenants/shared/lib2');
    expect(await taken()).toEqual({ files: { 'allow.rego': 'A', 's/lib/deny.rego': 'D' }, faults: {} });
  });

  test('that Emacs locks a file by is no file, unless it is one', async () => {
    await linked('somebody@host.1:2', 'tenants/acme/.#allow.rego');
    expect(await taken()).toEqual({ files: { 'allow.rego': 'A' }, faults: {} });
    await rm(at('tenants/acme/.#allow.rego'));
    await linked('/etc/passwd', 'tenants/acme/.#allow.rego');
    expect(Object.keys((await seen()).faults)).toEqual(['.#allow.rego']);
  });

  test('of a kind that nobody reads hinders nothing', async () => {
    await linked('/etc/passwd', 'tenants/acme/notes.txt');
    expect((await seen()).faults).toEqual({});
  });
});

describe('a volume of Kubernetes', () => {
  const version = async (name: string, texts: Record<string, string>): Promise<void> => {
    for (const [file, text] of Object.entries(texts)) await put(`tenants/kube/${name}/${file}`, text);
  };
  const texts = { 'tenant.yaml': 'id: kube\n', 'allow.rego': '1', 'authz/deny.rego': '1' };

  beforeEach(async () => {
    await version('..2026_01', texts);
    await linked('..2026_01', 'tenants/kube/..data');
    for (const name of ['tenant.yaml', 'allow.rego', 'authz'])
      await linked(`..data/${name}`, `tenants/kube/${name}`);
  });

  test('shows each file once, by the name that does not change', async () => {
    const { manifest, files, faults } = await seen(path.join(root, 'kube'));
    expect({ manifest, files, faults }).toEqual({
      manifest: 'id: kube\n',
      files: { 'allow.rego': '1', 'authz/deny.rego': '1' },
      faults: {},
    });
  });

  test('is never seen half swapped', async () => {
    let version_ = 1;
    const swap = async (): Promise<void> => {
      version_ += 1;
      const name = `..2026_${String(version_).padStart(2, '0')}`;
      await version(name, { ...texts, 'allow.rego': `${version_}`, 'authz/deny.rego': `${version_}` });
      await symlink(name, at('tenants/kube/..new'));
      await rename(at('tenants/kube/..new'), at('tenants/kube/..data'));
    };
    for (let round = 0; round < 40; round += 1) {
      const [, read] = await Promise.all([swap(), seen(path.join(root, 'kube'))]);
      expect(new Set(Object.values(read.files)).size).toBe(1);
      expect(read.faults).toEqual({});
    }
  });
});

describe('what is no regular file', () => {
  test('is refused by name, and hangs nothing', async () => {
    execFileSync('mkfifo', [
      at('tenants/acme/data.json'),
      at('tenants/acme/x.rego'),
      at('tenants/acme/pipe'),
    ]);
    expect(await seen()).toMatchObject({
      faults: { 'data.json': 'it is not a regular file', 'x.rego': 'it is not a regular file' },
    });
    await rm(at('tenants/acme/tenant.yaml'));
    execFileSync('mkfifo', [at('tenants/acme/tenant.yaml')]);
    expect(await seen()).toMatchObject({ faults: { 'tenant.yaml': 'it is not a regular file' } });
  });

  test('is not read by a name that was a file when it was looked at', async () => {
    execFileSync('mkfifo', [at('pipe.rego')]);
    await expect(readRegular(at('pipe.rego'), 100)).rejects.toThrow('it is not a regular file');
    await linked('outside.rego', 'link.rego');
    await expect(readRegular(at('link.rego'), 100)).rejects.toMatchObject({ code: 'ELOOP' });
    // A folder on the way was swapped for a link.
    await linked('tenants/shared/lib', 'swapped');
    await expect(readRegular(at('swapped/deny.rego'), 100)).rejects.toThrow('it was put elsewhere');
    expect((await readRegular(at('tenants/shared/lib/deny.rego'), 100)).bytes.toString()).toBe('D');
  });
});

describe('sizes', () => {
  test('of a tenant.yaml, of all Rego and of all data are bounded before they are read', async () => {
    await put('tenants/acme/a.rego', '');
    for (const [name, bytes, problem] of [
      ['a.rego', 2 ** 33, /bytes of Rego in all/],
      ['data.json', 2 ** 40, /bytes of data in all/],
      ['tenant.yaml', 2 ** 40, /larger than \d+ bytes/],
    ] as const) {
      await put(`tenants/acme/${name}`, '');
      // Sparse: it has the length and takes no room.
      await truncate(at(`tenants/acme/${name}`), bytes);
      expect((await seen()).faults[name], name).toMatch(problem);
      await put(`tenants/acme/${name}`, name === 'tenant.yaml' ? 'id: acme' : '');
    }
  });

  test('of folders are bounded, in breadth and in depth', async () => {
    await put(`tenants/acme/${Array(40).fill('d').join('/')}/x.rego`, 'x');
    expect(Object.values((await seen()).faults)).toEqual(['it is more than 32 folders deep']);
    await rm(at('tenants/acme/d'), { recursive: true });
    for (let n = 0; n < 1_001; n += 1) await writeFile(at(`tenants/acme/${n}.rego`), '');
    expect(Object.values((await seen()).faults)).toEqual(['more than 1000 Rego files']);
  });

  test('count over all files of a kind', async () => {
    for (const name of ['a', 'b', 'c']) await put(`tenants/acme/${name}.rego`, Buffer.alloc(400_000, 0x20));
    expect((await seen()).faults).toEqual({ 'c.rego': 'more than 1048576 bytes of Rego in all' });
  });
});

describe('names', () => {
  test('with control characters, out of UTF-8 or too long are refused, in a form that a terminal can show', async () => {
    await put('tenants/acme/a\nb.rego', 'x');
    await put('tenants/acme/\u001b[2J/c.rego', 'x');
    await put('tenants/acme/\u202eoger.rego', 'x');
    await put(`tenants/acme/${Array(5).fill('d'.repeat(120)).join('/')}/e.rego`, 'x');
    await writeFile(
      Buffer.concat([Buffer.from(`${at('tenants/acme')}/`), Buffer.from([0xff]), Buffer.from('.rego')]),
      'x',
    );
    const { faults, files } = await seen();
    expect(Object.keys(files)).toEqual(['allow.rego']);
    expect(Object.keys(faults)).toHaveLength(5);
    for (const [name, problem] of Object.entries(faults)) {
      expect(name).not.toMatch(/[\p{Cc}\u202e]/u);
      expect(problem).toMatch(/^its name /);
    }
  });

  test('with spaces, colons, quotes and letters of any script are as good as others', async () => {
    const names = [
      'a b.rego',
      'c:d.rego',
      'e\'f".rego',
      '-g.rego',
      'ħ/日本.rego',
      '..rego.rego'.slice(1),
      '*.rego',
    ];
    for (const name of names) await put(`tenants/acme/${name}`, 'x');
    const { files, faults } = await seen();
    expect(faults).toEqual({});
    expect(Object.keys(files).toSorted()).toEqual(['allow.rego', ...names].toSorted());
  });
});

describe('the folders of tenants', () => {
  test('are those with a tenant.yaml, each once, also by a link within their root', async () => {
    await put('tenants/.src/gamma/tenant.yaml', 'id: gamma\n');
    await linked('.src/gamma', 'tenants/gamma');
    await linked('acme', 'tenants/acme-too');
    await linked('beta', 'tenants/a-beta');
    await linked('shared', 'tenants/zz-no-tenant');
    expect(tenantPlaces(root).map(({ folder }) => path.basename(folder))).toEqual(['acme', 'beta', 'gamma']);
    expect(await seen(path.join(root, 'gamma'))).toEqual({ manifest: 'id: gamma\n', files: {}, faults: {} });
  });

  test('are refused by a link that leads out of their root, or nowhere', async () => {
    await put('elsewhere/tenant.yaml', 'id: delta\n');
    await linked('../elsewhere', 'tenants/delta');
    expect(() => tenantPlaces(root)).toThrow(/tenants\/delta links out of/);
    await rm(at('tenants/delta'));
    await linked('nowhere', 'tenants/delta');
    expect(() => tenantPlaces(root)).toThrow(/tenants\/delta links to what is not there/);
  });

  test('may be reached by a link that the operator named, swapped as git-sync does', async () => {
    await put('git/one/tenant.yaml', 'id: acme\n');
    await put('git/one/a.rego', '1');
    await linked('git/one', 'current');
    const [place] = tenantPlaces(at('current'));
    expect(place).toEqual({ folder: at('current'), root: at('current') });
    expect(await taken(at('current'), at('current'))).toEqual({ files: { 'a.rego': '1' }, faults: {} });
  });

  test('that became a link out of the root are not read any more', async () => {
    await put('elsewhere/tenant.yaml', 'id: acme\n');
    await rm(at('tenants/acme'), { recursive: true });
    await linked('../elsewhere', 'tenants/acme');
    await expect(seen()).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringMatching(/links out of/) as string,
    });
  });
});

test('a file of two names that are no links is read as both', async () => {
  await link(at('tenants/acme/allow.rego'), at('tenants/acme/b.rego'));
  expect((await seen()).files).toEqual({ 'allow.rego': 'A', 'b.rego': 'A' });
});
