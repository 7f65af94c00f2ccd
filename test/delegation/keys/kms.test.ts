import { existsSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openReader } from '../../../src/storage/reader.ts';
import { connect } from '../../e2e/requests.ts';
import { bearer, eventually, type Options, secrets } from '../../e2e/server.ts';
import { Stage } from '../stage.ts';
import { startTransit, TOKEN, type TransitServer } from './transit-server.ts';

/** A server whose tenants' keys are wrapped by a KMS: what becomes of it when that is away, or lies. */

let transit: TransitServer;
let stage: Stage;
let options: Options;
const tokenFile = path.join(tmpdir(), `mandate-kms-token-${process.pid}`);
beforeEach(async () => {
  transit = await startTransit();
  await writeFile(tokenFile, TOKEN);
  options = { overrides: { base_url: 'http://mandate.test', kms: kmsAt(transit) } };
});
afterEach(async () => {
  await stage[Symbol.asyncDispose]();
  await transit[Symbol.asyncDispose]();
  await rm(tokenFile, { force: true });
});

const kmsAt = ({ url }: TransitServer, key = 'mandate') => ({
  transit: { url, key, token_file: tokenFile },
});
const masterFile = (): string => path.join(stage.server.config.data_dir, 'master.key');
const rotate = () =>
  connect<{ tenants?: number; kms?: string }>(
    stage.server.admin,
    'KeyService/RotateMasterKey',
    {},
    bearer(secrets.operator),
  );
const readiness = async (): Promise<string> => {
  const headers = { authorization: bearer(secrets.operator) };
  return (await fetch(`${stage.server.admin}/readyz?verbose`, { headers })).text();
};
const stored = (): string[] => {
  const db = openReader(stage.server.config.data_dir);
  const rows = db.prepare<[], Buffer>('SELECT sealed FROM tenant_keys ORDER BY tenant').pluck().all();
  db.close();
  return rows.map(String);
};

describe('with a KMS', () => {
  beforeEach(async () => {
    stage = await Stage.open(options);
  });

  test('the key of a tenant is wrapped once, there is no master key, and a restart asks once for all', async () => {
    const token = await stage.granted();
    expect(existsSync(masterFile())).toBe(false);
    for (const row of stored())
      expect(JSON.parse(row)).toMatchObject({
        kms: 'transit/transit/mandate',
        wrapped: expect.stringMatching(/^vault:v1:/) as unknown,
      });
    await stage.server.stop();
    transit.asked.length = 0;
    await stage.restart();
    expect(await stage.introspect(token)).toMatchObject({ active: true });
    expect((await stage.exchange(await stage.issuer.sign())).status).toBe(200);
    expect(transit.asked).toEqual(['/v1/transit/decrypt/mandate']);
  });

  test('that goes away, what it has unwrapped goes on', async () => {
    await stage.granted();
    await transit.close();
    expect((await stage.exchange(await stage.issuer.sign())).status).toBe(200);
    expect(await readiness()).not.toContain('its key');
    await transit.listen();
  });

  test('that is away at the start, a tenant signs nothing, says why, and goes on once it is back', async () => {
    const token = await stage.granted();
    await transit.close();
    await stage.restart();
    const user = await stage.issuer.sign();
    expect(await stage.exchange(user)).toMatchObject({ status: 503, body: { code: 'unavailable' } });
    const why = await readiness();
    expect(why).toContain(
      `tenant acme: its key cannot be had: transit/transit/mandate at ${transit.url} cannot be reached: `,
    );
    expect(why).not.toContain(TOKEN);
    // What needs no private key goes on: decisions, and looks at tokens.
    expect(await stage.introspect(token)).toMatchObject({ active: true });
    expect(await stage.check(token)).toMatchObject({ decision: 'DECISION_ALLOW' });
    const before = stored();
    await transit.listen();
    await eventually(
      () => stage.exchange(user).then(({ status }) => status),
      (status) => status === 200,
    );
    expect(await readiness()).not.toContain('its key');
    // None was made in the place of one that could not be had.
    expect(stored()).toEqual(before);
  });

  test.each([
    [
      'another key',
      (results: object[]) => results.map(() => ({ plaintext: Buffer.alloc(32).toString('base64') })),
    ],
    ['the keys of tenants for each other', (results: object[]) => results.toReversed()],
    ['fewer keys', (results: object[]) => results.slice(1)],
  ])('that answers %s, nothing is taken for damage, and nothing is signed', async (_, lie) => {
    await stage.granted();
    await fetch(`${stage.server.data}/t/globex/oauth2/jwks`);
    await stage.server.stop();
    transit.twist = (what, results) => (what === 'decrypt' ? lie(results) : results);
    await stage.restart();
    const user = await stage.issuer.sign();
    expect((await stage.exchange(user)).status).toBe(503);
    expect(await readiness()).toContain('tenant acme: its key cannot be had: transit/transit/mandate');
    transit.twist = (__, results) => results;
    await eventually(
      () => stage.exchange(user).then(({ status }) => status),
      (status) => status === 200,
    );
    expect(await readiness()).toBe('ready\n');
  });

  test("a row that was put in the place of another tenant's does not open there", async () => {
    await stage.granted();
    await fetch(`${stage.server.data}/t/globex/oauth2/jwks`);
    await stage.server.stop();
    const db = new Database(path.join(stage.server.config.data_dir, 'mandate.db'));
    db.exec(
      "UPDATE tenant_keys SET sealed = (SELECT sealed FROM tenant_keys WHERE tenant = 'globex') WHERE tenant = 'acme'",
    );
    db.close();
    await stage.restart();
    expect((await stage.exchange(await stage.issuer.sign())).status).toBe(503);
    expect(await readiness()).toContain(
      'tenant acme: its key cannot be had: transit/transit/mandate does not open',
    );
  });

  test('that has a newer version of its key, the keys of tenants are wrapped anew when somebody asks', async () => {
    const token = await stage.granted();
    transit.rotate();
    expect(await rotate()).toMatchObject({
      status: 200,
      body: { tenants: 2, kms: 'transit/transit/mandate' },
    });
    for (const row of stored()) expect(row).toContain('"vault:v2:');
    expect(await stage.records({ kind: 'key', action: 'key.seal' })).toMatchObject([
      { caller: 'operator:root', resourceId: 'acme' },
    ]);
    await stage.restart();
    expect(await stage.introspect(token)).toMatchObject({ active: true });
    // While it is away or lies, what there is stays.
    const before = stored();
    transit.twist = (what, results) =>
      what === 'decrypt' ? results.map(() => ({ plaintext: 'AAAA' })) : results;
    expect(await rotate()).toMatchObject({ status: 503 });
    await transit.close();
    expect(await rotate()).toMatchObject({ status: 503 });
    expect(stored()).toEqual(before);
    await transit.listen();
  });

  test('another key of it is named, and not asked', async () => {
    await stage.granted();
    await stage.server.stop();
    transit.asked.length = 0;
    await stage.restart({ overrides: { ...options.overrides, kms: kmsAt(transit, 'other') } });
    expect(await readiness()).toContain(
      'it is wrapped by transit/transit/mandate, and kms names transit/transit/other',
    );
    expect(transit.asked.filter((each) => each.includes('decrypt'))).toEqual([]);
  });

  test('that is left out of the configuration, the server does not start', async () => {
    await stage.granted();
    const restart = stage.restart({ overrides: { base_url: 'http://mandate.test' } });
    await expect(restart).rejects.toMatchObject({
      code: 'config_invalid',
      message: 'the keys of this store are wrapped by the KMS key transit/transit/mandate; name it by kms',
    });
    expect(existsSync(masterFile())).toBe(false);
  });
});

describe('a store with a master key', () => {
  const plain: Options = { overrides: { base_url: 'http://mandate.test' } };
  beforeEach(async () => {
    stage = await Stage.open(plain);
  });

  test('is taken over by a KMS at the next start, and needs the master key no more', async () => {
    const token = await stage.granted();
    await stage.restart(options);
    for (const row of stored()) expect(row).toContain('"vault:v1:');
    expect(await stage.records({ kind: 'key', action: 'key.seal' })).toMatchObject([{ caller: 'server' }]);
    await stage.server.stop();
    await rm(masterFile());
    await stage.restart(options);
    expect(await stage.introspect(token)).toMatchObject({ active: true });
    expect((await stage.exchange(await stage.issuer.sign())).status).toBe(200);
    expect(existsSync(masterFile())).toBe(false);
  });

  test('keeps it while the KMS is away, and does not start without it', async () => {
    const token = await stage.granted();
    const before = stored();
    await transit.close();
    await stage.restart(options);
    expect(stored()).toEqual(before);
    expect(await stage.introspect(token)).toMatchObject({ active: true });
    expect((await stage.exchange(await stage.issuer.sign())).status).toBe(200);
    await stage.server.stop();
    await rm(masterFile());
    await expect(stage.restart(options)).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringContaining('keys of this store are sealed by it still') as unknown,
    });
    await transit.listen();
  });
});

test.each([
  [{ url: 'http://bao.example.com', key: 'k', token_file: 'f' }, 'is not https'],
  [{ url: 'https://user:secret@bao.example.com', key: 'k', token_file: 'f' }, 'a credential in an address'],
  [{ url: 'https://bao.example.com', key: 'k' }, 'one of token_file, approle and jwt'],
  [{ url: 'https://bao.example.com', key: '../sys', token_file: 'f' }, 'a name of letters'],
  [{ url: 'https://bao.example.com', key: 'k', mount: 'a/../b', token_file: 'f' }, 'names of letters'],
])('%o is refused', async (settings, message) => {
  stage = await Stage.open();
  await expect(stage.restart({ overrides: { kms: { transit: settings } } })).rejects.toThrow(message);
});
