import { execFileSync } from 'node:child_process';
import { createHash, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { gunzip, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { CompactSign } from 'jose';
import { packTar, unpackTar } from 'modern-tar';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { tenantId } from '../../../src/ids.ts';
import { unpackedBundle } from '../../../src/policy/pulling/archive.ts';
import { type Verification, verificationOf } from '../../../src/policy/pulling/signatures.ts';
import { canonicalJson } from '../../../src/tenancy/folder/canonical.ts';
import { built, type Files, write } from '../../e2e/bundles/stage.ts';

/** Signatures of bundles: those that OPA makes are taken, and nothing that differs from what was signed. */

const ACME = tenantId('acme');
let folder: string;
const keys = {
  rsa: generateKeyPairSync('rsa', { modulusLength: 2_048 }),
  other: generateKeyPairSync('rsa', { modulusLength: 2_048 }),
  p256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  p384: generateKeyPairSync('ec', { namedCurve: 'P-384' }),
};
const pem = (key: KeyObject): string => key.export({ format: 'pem', type: 'spki' }).toString();
const by = (key: KeyObject, algorithm?: string, scope = ''): Verification =>
  verificationOf(pem(key), algorithm, scope);

const FILES: Files = {
  'authz/a.rego': 'package authz\n\nallow := data.n > 1\n',
  'authz/data.json':
    '{ "z": [1.50, 1e3, -0, 12345678901234567890123], "a\\u2028": "<&>\\u2028\\u0001\\b\\f\\ud83d\\ude00",\n "\\uffff": null, "\\ud83d\\ude00": true, "__proto__": {"b": 1, "a": {}} }',
  'data.json': '{"n": 2}',
};

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'mandate-signed-'));
  for (const [name, { privateKey }] of Object.entries(keys)) {
    const type = privateKey.asymmetricKeyType === 'rsa' ? 'pkcs1' : 'sec1';
    writeFileSync(path.join(folder, `${name}.pem`), privateKey.export({ format: 'pem', type }));
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Signed by `opa sign`: the archive as its files, by name, to be changed. */
async function signed(files: Files, key: keyof typeof keys, algorithm: string, more: readonly string[] = []) {
  const at = mkdtempSync(path.join(folder, 'of-'));
  await write(at, files);
  const parameters = ['sign', '--bundle', '.', '--signing-key', path.join(folder, `${key}.pem`)];
  execFileSync(path.resolve('bin/opa'), [...parameters, '--signing-alg', algorithm, ...more], { cwd: at });
  return new Map<string, string>([
    ...Object.entries(files),
    ['.signatures.json', readFileSync(path.join(at, '.signatures.json'), 'utf8')],
  ]);
}

async function packed(files: ReadonlyMap<string, string>, twice?: string): Promise<Uint8Array> {
  const all = [...files, ...(twice === undefined ? [] : [[twice, files.get(twice) ?? ''] as const])];
  const entries = all.map(([name, text]) => {
    const body = Buffer.from(text);
    return { header: { name, size: body.length, type: 'file' as const }, body };
  });
  return gzipSync(await packTar(entries));
}

const taken = async (files: ReadonlyMap<string, string>, verification: Verification | undefined) =>
  unpackedBundle(await packed(files), ACME, verification);

describe('what OPA signs', () => {
  test.each([
    ['rsa', 'RS256', undefined],
    ['rsa', 'RS512', 'RS512'],
    ['rsa', 'PS256', 'PS256'],
    ['p256', 'ES256', undefined],
    ['p384', 'ES384', undefined],
  ] as const)('%s, %s is taken, its data as they were hashed', async (key, algorithm, asked) => {
    const { files } = await taken(await signed(FILES, key, algorithm), by(keys[key].publicKey, asked));
    expect(files.map((each) => each.path).sort()).toEqual(['authz/a.rego', 'authz/data.json', 'data.json']);
    const data = files.find((each) => each.path === 'authz/data.json');
    expect(Buffer.from(data?.bytes ?? []).toString()).toContain('12345678901234567890123');
  });

  test('a whole bundle of opa build --signing-key is taken, manifest and all', async () => {
    const by256 = ['--signing-key', path.join(folder, 'p256.pem'), '--signing-alg', 'ES256'];
    const bytes = await built(FILES, [...by256, '--revision', 'release 7']);
    const { files, label } = await unpackedBundle(bytes, ACME, by(keys.p256.publicKey));
    expect(label).toBe('release 7');
    expect(files.map((each) => each.path)).toContain('authz/a.rego');
  });

  test('documents of any form are hashed as OPA hashes them', async () => {
    // One signature holds the hashes of many documents.
    const documents = fc.sample(fc.json({ maxDepth: 4, stringUnit: 'binary' }), { numRuns: 150, seed: 7 });
    const files = Object.fromEntries(documents.map((text, at) => [`d${at}/data.json`, text] as const));
    const { authz } = { authz: { 'authz/a.rego': FILES['authz/a.rego'] ?? '' } };
    await taken(await signed({ ...files, ...authz }, 'rsa', 'RS256'), by(keys.rsa.publicKey));
  });

  test('for a scope is taken for that scope alone', async () => {
    const claims = path.join(folder, 'claims.json');
    writeFileSync(claims, '{"scope": "write"}');
    const files = await signed(FILES, 'rsa', 'RS256', ['--claims-file', claims]);
    await taken(files, by(keys.rsa.publicKey, undefined, 'write'));
    await expect(taken(files, by(keys.rsa.publicKey))).rejects.toThrow('another scope');
    await expect(taken(files, by(keys.rsa.publicKey, undefined, 'read'))).rejects.toThrow('another scope');
  });
});

/** A signature of whatever is said, as somebody makes it who has the key. */
async function resigned(
  files: Map<string, string>,
  payload: object,
  key = keys.rsa.privateKey,
  alg = 'RS256',
) {
  const token = await new CompactSign(Buffer.from(JSON.stringify(payload)))
    .setProtectedHeader({ alg })
    .sign(alg.startsWith('HS') ? Buffer.from(pem(keys.rsa.publicKey)) : key);
  return new Map(files).set('.signatures.json', JSON.stringify({ signatures: [token] }));
}

const hashesOf = (files: ReadonlyMap<string, string>, algorithm = 'SHA-256') =>
  [...files]
    .filter(([name]) => name !== '.signatures.json')
    .map(([name, text]) => {
      const form = name.endsWith('.json') ? canonicalJson(text) : text;
      const hash = algorithm === 'MD5' ? 'md5' : 'sha256';
      return { name, algorithm, hash: createHash(hash).update(form).digest('hex') };
    });

describe('what is not what was signed', () => {
  let good: Map<string, string>;
  const verification = by(keys.rsa.publicKey);
  beforeAll(async () => {
    good = await signed(FILES, 'rsa', 'RS256');
  });
  const with_ = (name: string, text: string): Map<string, string> => new Map(good).set(name, text);
  const without = (name: string): Map<string, string> => {
    const rest = new Map(good);
    rest.delete(name);
    return rest;
  };

  test.each([
    [
      'Rego that was changed',
      () => with_('authz/a.rego', 'package authz\n\nallow := true\n'),
      /authz\/a\.rego is not what was signed/,
    ],
    ['data that were changed', () => with_('data.json', '{"n": 3}'), /data\.json is not what was signed/],
    [
      'a file more',
      () => with_('authz/b.rego', 'package authz\n\nallow := true\n'),
      /authz\/b\.rego is not signed/,
    ],
    ['a manifest more', () => with_('.manifest', '{"roots": [""]}'), /\.manifest is not signed/],
    ['a file less', () => without('data.json'), /data\.json was signed and is not there/],
    ['no signature', () => without('.signatures.json'), /it is not signed/],
    [
      'an empty signature',
      () => with_('.signatures.json', '{"signatures": []}'),
      /there has to be one signature/,
    ],
    ['a signature that is no JSON', () => with_('.signatures.json', 'x'), /does not verify/],
    [
      'two signatures, one of them good',
      () => {
        const { signatures } = JSON.parse(good.get('.signatures.json') ?? '') as { signatures: string[] };
        return with_('.signatures.json', JSON.stringify({ signatures: [...signatures, ...signatures] }));
      },
      /there has to be one signature/,
    ],
    [
      'a plugin of OPA',
      () => {
        const kept = JSON.parse(good.get('.signatures.json') ?? '') as object;
        return with_('.signatures.json', JSON.stringify({ ...kept, plugin: 'mine' }));
      },
      /a plugin mine has signed it/,
    ],
  ])('%s is not taken', async (_what, files, words) => {
    await taken(good, verification);
    await expect(taken(files(), verification)).rejects.toThrow(words);
  });

  test('by another key, or another algorithm of the same key, is not taken', async () => {
    await expect(taken(good, by(keys.other.publicKey))).rejects.toThrow('does not verify');
    await expect(taken(good, by(keys.rsa.publicKey, 'RS512'))).rejects.toThrow(
      'it is by RS256, not by RS512',
    );
    await expect(taken(good, by(keys.p256.publicKey))).rejects.toThrow('it is by RS256, not by ES256');
    const asSecret = await resigned(good, { files: hashesOf(good) }, keys.rsa.privateKey, 'HS256');
    await expect(taken(asSecret, verification)).rejects.toThrow('it is by HS256, not by RS256');
    const [, payload = ''] = (
      JSON.parse(good.get('.signatures.json') ?? '') as { signatures: [string] }
    ).signatures[0].split('.');
    const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${payload}.`;
    await expect(
      taken(with_('.signatures.json', JSON.stringify({ signatures: [none] })), verification),
    ).rejects.toThrow('it is by none');
  });

  test('by a hash that is weak, twice for a file, or as YAML is not taken', async () => {
    await taken(await resigned(good, { files: hashesOf(good) }), verification);
    const weak = await resigned(good, { files: hashesOf(good, 'MD5') });
    await expect(taken(weak, verification)).rejects.toThrow('which is too weak');
    const [one, ...rest] = hashesOf(good);
    const twice = await resigned(good, { files: [one, one, ...rest] });
    await expect(taken(twice, verification)).rejects.toThrow('names a file twice');
    const yaml = new Map(good).set('users/data.yaml', 'a: 1\n');
    await expect(taken(await resigned(yaml, { files: hashesOf(yaml) }), verification)).rejects.toThrow(
      'is YAML',
    );
  });

  test('a member twice, which one reader sees first and another last, is what was hashed', async () => {
    const doubled = with_('data.json', '{"n": 9, "n": 2}');
    const { files } = await taken(doubled, verification);
    const data = files.find((each) => each.path === 'data.json');
    expect(Buffer.from(data?.bytes ?? []).toString()).toBe('{"n":2}');
  });

  test('a file twice in the archive, a link, and a name with dots are not taken', async () => {
    await expect(unpackedBundle(await packed(good, 'data.json'), ACME, verification)).rejects.toThrow(
      'stands twice',
    );
    const tar = await packTar([
      { header: { name: 'authz/a.rego', size: 0, type: 'symlink', linkname: '/etc/passwd' } },
    ]);
    await expect(unpackedBundle(gzipSync(tar), ACME, undefined)).rejects.toThrow('is a symlink and no file');
  });
});

test('a bundle of Mandate’s is of its own tenant alone, and what is the platform’s is left out of it', async () => {
  const files = new Map([
    ['.manifest', '{"revision":"sha256:1","roots":[""],"rego_version":1,"metadata":{"tenant":"acme"}}'],
    ['data.json', '{"n":1.50,"mandate":{"tenant":{}}}'],
    ['platform/decision.rego', 'package mandate.decision\n'],
    ['tenant/authz/a.rego', 'package authz\n'],
  ]);
  const unpacked = await taken(files, undefined);
  expect(unpacked.files.map((each) => [each.path, Buffer.from(each.bytes).toString()])).toEqual([
    ['authz/a.rego', 'package authz\n'],
    ['data.json', '{"n":1.50}'],
  ]);
  await expect(unpackedBundle(await packed(files), tenantId('globex'), undefined)).rejects.toThrow(
    'it is the policy of the tenant acme',
  );
});

test('no bytes of an archive that were changed do anything but be refused or give the same files', async () => {
  const bytes = Buffer.from(await packed(await signed(FILES, 'rsa', 'RS256')));
  const tar = await promisify(gunzip)(bytes);
  const whole = await unpackedBundle(bytes, ACME, by(keys.rsa.publicKey));
  const same = JSON.stringify(whole);
  await fc.assert(
    fc.asyncProperty(fc.nat(tar.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
      const changed = Buffer.from(tar);
      changed[at] = (changed[at] ?? 0) ^ flip;
      const result = await unpackedBundle(
        gzipSync(changed, { level: 1 }),
        ACME,
        by(keys.rsa.publicKey),
      ).catch((error: { code?: string }) => error.code);
      if (result !== 'policy_invalid') expect(JSON.stringify(result)).toBe(same);
    }),
    { numRuns: 300 },
  );
  expect((await unpackTar(tar)).length).toBe(4);
});
