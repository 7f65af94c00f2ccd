import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readConfig } from '../../../src/config.ts';
import { MasterKey } from '../../../src/delegation/keys/master-key.ts';
import { MasterGiven } from '../../../src/delegation/keys/master-source.ts';
import { TenantKeys } from '../../../src/delegation/keys/tenant-keys.ts';
import { systemRandom } from '../../../src/effects.ts';
import { type TenantId, tenantId } from '../../../src/ids.ts';
import { keyBinding } from '../../../src/storage/keys.ts';
import { openReader } from '../../../src/storage/reader.ts';
import { tenantKeyStore } from '../../../src/storage/tenant-keys.ts';
import { connect, request } from '../../e2e/requests.ts';
import { bearer, secrets, sha256 } from '../../e2e/server.ts';
import { openStore, T0, temporaryFolder, tenantNo } from '../../storage/store.ts';
import { Stage } from '../stage.ts';

/** The key that seals the keys of tenants, and another one in its place. */

const rotateMaster = (stage: Stage, authorization = bearer(secrets.operator)) =>
  connect<{ tenants?: number }>(stage.server.admin, 'KeyService/RotateMasterKey', {}, authorization);
const fileOf = (stage: Stage): string => path.join(stage.server.config.data_dir, 'master.key');
const sealings = (stage: Stage) => stage.records({ kind: 'key', action: 'key.seal' });
const GLOBEX_ALONE = 'operator-of-globex-test-secret-00001';
const BASE = { base_url: 'http://mandate.test' };

describe('a master key in a file', () => {
  let stage: Stage;
  beforeEach(async () => {
    stage = await Stage.open({
      overrides: {
        ...BASE,
        operators: [
          { id: 'root', secret_sha256: sha256(secrets.operator) },
          { id: 'one', secret_sha256: sha256(GLOBEX_ALONE), tenants: ['globex'] },
        ],
      },
    });
  });
  afterEach(() => stage[Symbol.asyncDispose]());

  test('seals the keys of tenants, and those all others: it opens no signing key itself', async () => {
    await stage.granted();
    const master = new MasterKey(readFileSync(fileOf(stage)));
    const db = openReader(stage.server.config.data_dir);
    const { kid, sealed } = db
      .prepare<[], { kid: string; sealed: Buffer }>("SELECT kid, sealed FROM keys WHERE state = 'active'")
      .get() ?? { kid: '', sealed: Buffer.alloc(0) };
    const tenantKey = db
      .prepare<[], Buffer>("SELECT sealed FROM tenant_keys WHERE tenant = 'acme'")
      .pluck()
      .get();
    db.close();
    expect(master.opens(sealed, keyBinding('acme' as TenantId, kid))).toBe(false);
    const text = master.unseal(tenantKey ?? Buffer.alloc(0), 'mandate-tenant-key acme');
    expect(
      new MasterKey(Buffer.from(text, 'base64')).opens(sealed, keyBinding('acme' as TenantId, kid)),
    ).toBe(true);
    // Not those of another tenant.
    expect(() => master.unseal(tenantKey ?? Buffer.alloc(0), 'mandate-tenant-key globex')).toThrow();
  });

  test('is another one after it was rotated, and all goes on meanwhile and afterwards', async () => {
    const token = await stage.granted();
    await request(`${stage.server.data}/t/globex/oauth2/jwks`);
    const before = readFileSync(fileOf(stage));
    const user = await stage.issuer.sign();
    const racing = Array.from({ length: 20 }, () => stage.exchange(user));
    const { status, body } = await rotateMaster(stage);
    expect({ status, body }).toEqual({ status: 200, body: { tenants: 2 } });
    for (const { status: each } of await Promise.all(racing)) expect(each).toBe(200);
    expect(readFileSync(fileOf(stage)).equals(before)).toBe(false);
    expect(existsSync(`${fileOf(stage)}.next`)).toBe(false);
    expect(await sealings(stage)).toMatchObject([{ caller: 'operator:root', resourceId: 'acme' }]);
    await stage.restart();
    expect(await stage.introspect(token)).toMatchObject({ active: true });
    expect((await stage.exchange(user)).status).toBe(200);

    await stage.server.stop();
    await writeFile(fileOf(stage), before);
    await expect(stage.restart()).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringContaining('is not the master key of this store') as unknown,
    });
  });

  test.each([
    ['before anything was sealed by it', false],
    ['after all was', true],
  ])(
    'that was being rotated when the server ended, %s, is rotated at the next start',
    async (_, isSealed) => {
      const token = await stage.granted();
      const [file, next] = [fileOf(stage), `${fileOf(stage)}.next`];
      const before = readFileSync(file);
      if (isSealed) await rotateMaster(stage);
      await stage.server.stop();
      if (isSealed) {
        await rename(file, next);
        await writeFile(file, before);
      } else await writeFile(next, randomBytes(32));
      const another = readFileSync(next);
      await stage.restart();
      expect(readFileSync(file).equals(another)).toBe(true);
      expect(existsSync(next)).toBe(false);
      expect(await stage.introspect(token)).toMatchObject({ active: true });
      await stage.restart();
      expect(await stage.introspect(token)).toMatchObject({ active: true });
    },
  );

  test('is rotated by who may change the keys of every tenant, and nobody else', async () => {
    const before = readFileSync(fileOf(stage));
    for (const [secret, status] of [
      [secrets.agent, 403],
      [GLOBEX_ALONE, 401],
    ] as const)
      expect((await rotateMaster(stage, bearer(secret))).status).toBe(status);
    expect(readFileSync(fileOf(stage)).equals(before)).toBe(true);
  });
});

describe('a master key in the environment', () => {
  const [first, second] = ['1', '2'].map((digit) => digit.repeat(64)) as [string, string];

  test('leaves no file, and is followed by another with the next start', async () => {
    const open = { overrides: BASE, environment: { MANDATE_MASTER_KEY: first } };
    await using stage = await Stage.open(open);
    const token = await stage.granted();
    expect(existsSync(fileOf(stage))).toBe(false);
    const refused = await rotateMaster(stage);
    expect(refused).toMatchObject({ status: 400 });
    expect(JSON.stringify(refused.body)).toContain('MANDATE_MASTER_KEY_PREVIOUS');
    const restart = (environment: Record<string, string>) => stage.restart({ ...open, environment });
    await restart({ MANDATE_MASTER_KEY: second, MANDATE_MASTER_KEY_PREVIOUS: first });
    expect(await stage.introspect(token)).toMatchObject({ active: true });
    expect(await sealings(stage)).toMatchObject([{ caller: 'server' }]);
    await restart({ MANDATE_MASTER_KEY: second });
    expect(await stage.introspect(token)).toMatchObject({ active: true });
    const wrong = restart({ MANDATE_MASTER_KEY: first });
    await expect(wrong).rejects.toMatchObject({ code: 'config_invalid' });
    await expect(wrong).rejects.not.toThrow(first);
  });

  test.each([
    [{ MANDATE_MASTER_KEY: 'short' }, 'MANDATE_MASTER_KEY is no master key: 64 lower-case hex digits'],
    [{ MANDATE_MASTER_KEY: 'A'.repeat(64) }, 'MANDATE_MASTER_KEY is no master key: 64 lower-case hex digits'],
    [
      { MANDATE_MASTER_KEY_PREVIOUS: first },
      'MANDATE_MASTER_KEY_PREVIOUS is nothing without MANDATE_MASTER_KEY',
    ],
  ])('%o is refused', (environment, message) => {
    expect(() => readConfig(environment)).toThrow(message);
  });
});

test('what a master key sealed itself opens after two others have followed it, and what they sealed too', async () => {
  await using place = await temporaryFolder();
  await using writer = await openStore(place.folder);
  await tenantNo(writer, 'acme');
  const acme = tenantId('acme');
  const reader = openReader(place.folder);
  const [zero, one, two] = [0, 1, 2].map((n) => Buffer.alloc(32, n)) as [Buffer, Buffer, Buffer];
  const keysWith = (current: Buffer, previous?: Buffer) =>
    new TenantKeys({
      source: new MasterGiven(current, previous),
      store: tenantKeyStore(reader),
      writer,
      clock: () => T0,
      random: systemRandom,
    });
  const failed = (error: unknown) => {
    throw error;
  };
  const old = new MasterKey(zero).seal('of an older version', 'bound', systemRandom(12));
  const young = await keysWith(zero).seal(acme, 'of this one', 'bound', systemRandom(12));
  await keysWith(one, zero).settle(failed);
  const between = await keysWith(one).seal(acme, 'of the next one', 'bound', systemRandom(12));
  // Begun twice, as a crash would have it.
  await keysWith(two, one).settle(failed);
  await keysWith(two, one).settle(failed);
  const keys = keysWith(two);
  expect([old, young, between].map((sealed) => keys.unseal(acme, sealed, 'bound'))).toEqual([
    'of an older version',
    'of this one',
    'of the next one',
  ]);
  for (const sealed of [old, young]) {
    expect(() => keys.unseal(acme, sealed, 'bound elsewhere')).toThrow();
    expect(() => keysWith(one).unseal(acme, sealed, 'bound')).toThrow();
  }
  expect(tenantKeyStore(reader).olderMasters()).toHaveLength(2);
  reader.close();
});
