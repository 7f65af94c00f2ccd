import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Login } from '../../src/delegation/keys/kms/login.ts';
import { Transit } from '../../src/delegation/keys/kms/transit.ts';
import { unwrapAll, wrapAll } from '../../src/delegation/keys/kms/wrapping.ts';
import { describe as described } from '../../src/errors.ts';
import { freePort } from '../../tools/fleet/ports.ts';
import { Stage } from '../delegation/stage.ts';
import { connect } from '../e2e/requests.ts';
import { bearer, eventually, secrets } from '../e2e/server.ts';

/** The KMS as OpenBao is one, by its transit engine: `make kms` brings it, and runs this. */

const program = process.env['OPENBAO'] ?? '';
const without = program === '' ? ', skipped: `make kms` runs it' : '';
const ROOT = 'the-root-token-of-a-test';

/** No more than is needed: `encrypt` of a key that is not there would make one. */
const POLICY = `
path "transit/encrypt/mandate" { capabilities = ["update"] }
path "transit/decrypt/mandate" { capabilities = ["update"] }
`;

describe.skipIf(without !== '')(`OpenBao${without}`, () => {
  let server: ChildProcess;
  let folder: string;
  let url: string;
  const keys = [0, 1, 2].map((n) => ({ key: randomBytes(32), binding: `mandate-tenant-key ${n}` }));
  const admin = async <T = { data: Record<string, string>; auth: Record<string, string> }>(
    method: string,
    at: string,
    body?: object,
  ): Promise<T> => {
    const headers = { 'x-vault-token': ROOT };
    const response = await fetch(`${url}/v1/${at}`, {
      method,
      headers,
      ...(body && { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`${at}: ${response.status} ${await response.text()}`);
    const text = await response.text();
    return (text === '' ? {} : JSON.parse(text)) as T;
  };
  const inFile = async (name: string, text: string): Promise<string> => {
    await writeFile(path.join(folder, name), text);
    return path.join(folder, name);
  };
  const transit = (login: Login, key = 'mandate', mount = 'transit') =>
    new Transit({ url, mount, key, login });
  const limited = async (): Promise<Login> => {
    const { auth } = await admin('POST', 'auth/token/create', { policies: ['mandate'] });
    return { by: 'token', file: await inFile('token', auth['client_token'] ?? '') };
  };

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'mandate-bao-'));
    const address = `127.0.0.1:${await freePort()}`;
    url = `http://${address}`;
    const args = ['server', '-dev', '-dev-no-store-token', `-dev-root-token-id=${ROOT}`];
    server = spawn(program, [...args, `-dev-listen-address=${address}`], { stdio: 'ignore' });
    await eventually(
      () =>
        fetch(`${url}/v1/sys/health`).then(
          ({ status }) => status,
          () => 0,
        ),
      (status) => status === 200,
    );
    await admin('POST', 'sys/mounts/transit', { type: 'transit' });
    await admin('POST', 'transit/keys/mandate', {});
    await admin('PUT', 'sys/policies/acl/mandate', { policy: POLICY });
  });

  afterAll(async () => {
    server.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  });

  test('wraps and unwraps many at a time, by the newest version of its key', async () => {
    const kms = transit(await limited());
    const sealed = await wrapAll(kms, keys);
    await admin('POST', 'transit/keys/mandate/rotate', {});
    const stored = sealed.map((each, n) => ({ sealed: each, binding: keys[n]?.binding ?? '' }));
    expect(await unwrapAll(kms, stored)).toEqual(keys.map(({ key }) => key));
    const [anew = ''] = await kms.wrap(keys.slice(0, 1));
    expect(Number(kms.versionOf(anew).slice(1))).toBeGreaterThan(1);
  });

  test('opens nothing for another tenant, and one that it does not open keeps no other closed', async () => {
    const kms = transit(await limited());
    const wrapped = await kms.wrap(keys);
    const items = wrapped.map((each, n) => ({
      wrapped: each,
      binding: keys[n === 1 ? 2 : n]?.binding ?? '',
    }));
    const [first, second, third] = await kms.unwrap(items);
    expect([first, third]).toEqual([keys[0]?.key, keys[2]?.key]);
    expect(second).toBeInstanceOf(Error);
  });

  test('lets in by AppRole and by a JWT, and a login is done anew when its token is revoked', async () => {
    await admin('POST', 'sys/auth/approle', { type: 'approle' });
    await admin('POST', 'auth/approle/role/mandate', { token_policies: ['mandate'] });
    const { data: role } = await admin('GET', 'auth/approle/role/mandate/role-id');
    const { data: secret } = await admin('POST', 'auth/approle/role/mandate/secret-id', {});
    const secretFile = await inFile('secret-id', secret['secret_id'] ?? '');
    const byRole = transit({ by: 'approle', mount: 'approle', roleId: role['role_id'] ?? '', secretFile });

    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    await admin('POST', 'sys/auth/kubernetes', { type: 'jwt' });
    await admin('POST', 'auth/kubernetes/config', {
      jwt_validation_pubkeys: [publicKey.export({ type: 'spki', format: 'pem' })],
    });
    await admin('POST', 'auth/kubernetes/role/mandate', {
      role_type: 'jwt',
      bound_audiences: ['bao'],
      user_claim: 'sub',
      token_policies: ['mandate'],
    });
    const jwt = await new SignJWT({ sub: 'mandate' })
      .setProtectedHeader({ alg: 'ES256' })
      .setAudience('bao')
      .setIssuedAt()
      .setExpirationTime('5m')
      .sign(privateKey);
    const file = await inFile('jwt', jwt);
    const byJwt = transit({ by: 'jwt', mount: 'kubernetes', role: 'mandate', file });

    for (const [kms, method] of [
      [byRole, 'approle'],
      [byJwt, 'kubernetes'],
    ] as const) {
      await expect(kms.wrap(keys)).resolves.toHaveLength(3);
      await admin('POST', `sys/leases/revoke-prefix/auth/${method}`, {});
      await expect(kms.wrap(keys)).resolves.toHaveLength(3);
    }
    await writeFile(file, `${jwt}x`);
    await admin('POST', 'sys/leases/revoke-prefix/auth/kubernetes', {});
    await expect(byJwt.wrap(keys)).rejects.toMatchObject({ code: 'unavailable' });
  });

  test.each([
    ['a key that is not there, which the token may not make', 'other', 'transit', '(403)'],
    ['an engine that is not there', 'mandate', 'nowhere', '40'],
  ])('refuses %s', async (_, key, mount, why) => {
    const refused = transit(await limited(), key, mount).wrap(keys);
    await expect(refused).rejects.toMatchObject({ code: 'unavailable' });
    expect(described(await refused.catch((error: unknown) => error))).toContain(why);
  });

  test('keeps the keys of a server, which wraps them anew by the newest version, and needs no older one then', async () => {
    const login = await limited();
    if (login.by !== 'token') throw new Error('not by a token');
    const kms = { transit: { url, key: 'mandate', token_file: login.file } };
    await using stage = await Stage.open({ overrides: { base_url: 'http://mandate.test', kms } });
    const token = await stage.granted();
    await admin('POST', 'transit/keys/mandate/rotate', {});
    const rotated = await connect(
      stage.server.admin,
      'KeyService/RotateMasterKey',
      {},
      bearer(secrets.operator),
    );
    expect(rotated.body).toEqual({ tenants: 2, kms: 'transit/transit/mandate' });
    await stage.restart();
    expect(await stage.introspect(token)).toMatchObject({ active: true });
    const user = await stage.issuer.sign();
    expect((await stage.exchange(user)).status).toBe(200);
    // What was unwrapped with older versions is not needed any more.
    const { data } = await admin<{ data: { latest_version: number } }>('GET', 'transit/keys/mandate');
    await admin('POST', 'transit/keys/mandate/config', { min_decryption_version: data.latest_version });
    await stage.restart();
    expect((await stage.exchange(user)).status).toBe(200);
  });
});
