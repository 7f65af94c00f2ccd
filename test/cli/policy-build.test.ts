import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { cp, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { unpackTar } from 'modern-tar';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { packed } from '../../src/policy/exported.ts';
import { mandate } from './run.ts';

/** `mandate policy build`: OPA is who takes the bundle, so OPA says whether it is one. */

const { opa } = readConfig({ MANDATE_OPA: process.env['MANDATE_OPA'] });
let root: string;

beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'mandate-policy-build-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const build = (name: string, ...more: string[]) =>
  mandate(['policy', 'build', 'policies/acme', '-o', path.join(root, name), ...more]);

const contents = async (name: string): Promise<Map<string, string>> =>
  new Map(
    (await unpackTar(gunzipSync(await readFile(path.join(root, name))))).map(({ header, data }) => [
      header.name,
      Buffer.from(data ?? []).toString('utf8'),
    ]),
  );

const runOpa = (...args: string[]): string => {
  try {
    return execFileSync(opa, args, { cwd: root, encoding: 'utf8', stdio: 'pipe' });
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(stdout + stderr, { cause: error });
  }
};

describe('a bundle', () => {
  test('is the same bytes from another copy at another time, and holds no test', async () => {
    const copy = path.join(root, 'copy');
    await cp('policies/acme', copy, { recursive: true });
    await utimes(path.join(copy, 'authz/agents.rego'), 1, 1);
    const [one, other] = await Promise.all([
      build('one.tar.gz'),
      mandate(['policy', 'build', copy, '-o', path.join(root, 'other.tar.gz')], { TZ: 'Asia/Tokyo' }),
    ]);
    expect([one.code, other.code]).toEqual([0, 0]);
    expect(await readFile(path.join(root, 'one.tar.gz'))).toEqual(
      await readFile(path.join(root, 'other.tar.gz')),
    );
    const files = [...(await contents('one.tar.gz')).keys()];
    expect(files).toEqual(files.toSorted());
    expect(files).toEqual(
      expect.arrayContaining([
        '/.manifest',
        '/data.json',
        '/platform/decision.rego',
        '/tenant/authz/agents.rego',
      ]),
    );
    expect(files.filter((name) => name.includes('_test'))).toEqual([]);
    const { stdout } = await mandate(['--json', 'policy', 'check', 'policies/acme']);
    const { revision } = JSON.parse(stdout) as { revision: string };
    expect(JSON.parse((await contents('one.tar.gz')).get('/.manifest') ?? '')).toEqual({
      revision,
      roots: [''],
      rego_version: 1,
      metadata: { tenant: 'acme' },
    });
    expect(one.stdout).toContain(`ok  ${revision}`);
  });

  test('decides in OPA what the tenant’s own tests say', async () => {
    await build('decides.tar.gz');
    const subject = (status: string) => ({
      class: 'user',
      type: 'user',
      id: 'carol',
      status,
      groups: ['compliance'],
      roles: [],
      properties: {},
    });
    const ask = async (status: string): Promise<unknown> => {
      const input = {
        subject: subject(status),
        actors: [],
        action: { name: 'document.read', properties: {} },
        resource: { type: 'document', id: 'a', properties: { sensitivity: 'internal' } },
        context: {},
        grant: null,
      };
      await writeFile(path.join(root, `${status}.json`), JSON.stringify(input));
      const said = runOpa(
        'eval',
        '-b',
        'decides.tar.gz',
        '-i',
        `${status}.json`,
        '-f',
        'raw',
        'data.mandate.decision',
      );
      return JSON.parse(said.startsWith('{') ? said : JSON.stringify(said.trim()));
    };
    expect(await ask('active')).toBe('allow');
    expect(await ask('disabled')).toMatchObject({
      outcome: 'deny',
      guarded: [{ code: 'principal_disabled' }],
    });
  });
});

describe('--signing-key', () => {
  const keys = {
    ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
    RS256: generateKeyPairSync('rsa', { modulusLength: 2_048 }),
  };

  test.each(['ES256', 'RS256'] as const)(
    'signs as OPA verifies, by %s; what was changed it does not take',
    async (algorithm) => {
      const { privateKey, publicKey } = keys[algorithm];
      const other = generateKeyPairSync('rsa', { modulusLength: 2_048 }).publicKey;
      await writeFile(
        path.join(root, `${algorithm}.pem`),
        privateKey.export({ format: 'pem', type: 'pkcs8' }),
      );
      await writeFile(path.join(root, `${algorithm}.pub`), publicKey.export({ format: 'pem', type: 'spki' }));
      await writeFile(path.join(root, 'other.pub'), other.export({ format: 'pem', type: 'spki' }));
      const { code, stdout } = await build(
        `${algorithm}.tar.gz`,
        '--signing-key',
        path.join(root, `${algorithm}.pem`),
      );
      expect(stdout).toMatch(/ {2}signed\n$/);
      expect(code).toBe(0);
      const verify = (bundle: string, key = `${algorithm}.pub`): string =>
        runOpa(
          'build',
          '--verification-key',
          key,
          '--signing-alg',
          algorithm,
          '--signing-key',
          `${algorithm}.pem`,
          '-b',
          bundle,
          '-o',
          'out.tar.gz',
        );
      expect(() => verify(`${algorithm}.tar.gz`)).not.toThrow();
      expect(() => verify(`${algorithm}.tar.gz`, 'other.pub')).toThrow(/verif|key/i);
      const files = await contents(`${algorithm}.tar.gz`);
      files.set('/tenant/authz/agents.rego', 'package authz\n\nallow := true\n');
      await writeFile(path.join(root, 'changed.tar.gz'), await packed([...files]));
      expect(() => verify('changed.tar.gz')).toThrow(/agents\.rego: digest mismatch/);
      files.delete('/.signatures.json');
      await writeFile(path.join(root, 'unsigned.tar.gz'), await packed([...files]));
      expect(() => verify('unsigned.tar.gz')).toThrow(/signature/i);
    },
  );

  test('takes no other key, writes nothing then, and leaves no key behind', async () => {
    const weak = generateKeyPairSync('rsa', { modulusLength: 1_024 }).privateKey.export({
      format: 'pem',
      type: 'pkcs8',
    });
    const curve = generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' });
    const locked = keys.RS256.privateKey.export({
      format: 'pem',
      type: 'pkcs8',
      cipher: 'aes-256-cbc',
      passphrase: 'x',
    });
    for (const [name, pem, said] of [
      ['weak', weak, '2,048 bits'],
      ['curve', curve, 'RSA, P-256 or P-384'],
      ['locked', locked, 'without a passphrase'],
      ['public', keys.ES256.publicKey.export({ format: 'pem', type: 'spki' }), 'no private key'],
    ] as const) {
      await writeFile(path.join(root, `${name}.pem`), pem);
      const { code, stderr } = await build(`${name}.tar.gz`, '--signing-key', path.join(root, `${name}.pem`));
      expect(stderr).toContain(said);
      expect(code).toBe(2);
    }
    expect((await readdir(root)).filter((name) => /^(?:weak|curve|locked|public)\.tar/.test(name))).toEqual(
      [],
    );
    expect((await readdir(tmpdir())).filter((name) => name.startsWith('mandate-sign-'))).toEqual([]);
  });
});

test('what does not compile is no bundle, and what cannot be written is said', async () => {
  const place = path.join(root, 'broken');
  await cp('policies/acme', place, { recursive: true });
  await writeFile(path.join(place, 'x.rego'), 'package authz\n\nallow := nosuch(1)\n');
  const ran = await mandate(['policy', 'build', place, '-o', path.join(root, 'broken.tar.gz')]);
  expect(ran).toMatchObject({ code: 1, stdout: expect.stringContaining('x.rego:3:10: ') as string });
  expect(await readdir(root)).not.toContain('broken.tar.gz');
  expect(await build('no/such/folder.tar.gz')).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('--output: ENOENT') as string,
  });
});
