import { createLocalJWKSet, decodeProtectedHeader, type JSONWebKeySet, jwtVerify } from 'jose';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { KEPT_MS, LEAD_MS } from '../../../src/delegation/keys/lifecycle.ts';
import { openReader } from '../../../src/storage/reader.ts';
import { connect, request } from '../../e2e/requests.ts';
import { bearer, editTenant, secrets } from '../../e2e/server.ts';
import { deniedFor, refusalOf, Stage } from '../stage.ts';

const DAY = 86_400_000;

let stage: Stage;
/** The server's clock runs ahead of the machine's by this much. In milliseconds. */
let ahead = 0;
const now = (): number => Date.now() + ahead;

beforeEach(async () => {
  ahead = 0;
  stage = await Stage.open({ clock: now, overrides: { base_url: 'http://mandate.test' } });
});
afterEach(() => stage[Symbol.asyncDispose]());

interface KeyJson {
  kid: string;
  algorithm: string;
  state: string;
  signsFrom?: string;
  keptUntil?: string;
}

const call = (method: string, body: object = {}, secret: string = secrets.operator) =>
  connect<{ keys: KeyJson[] }>(
    stage.server.admin,
    `KeyService/${method}`,
    { tenant: 'acme', ...body },
    bearer(secret),
  );
const statesOf = (keys: readonly KeyJson[]): string[] =>
  keys.map(({ state }) => state.replace('KEY_STATE_', '').toLowerCase());
const rotate = async (body: object = {}): Promise<KeyJson[]> => {
  const answer = await call('RotateKey', body);
  expect(answer.status).toBe(200);
  return answer.body.keys;
};
const jwks = async (tenant = 'acme'): Promise<JSONWebKeySet> =>
  (await request<JSONWebKeySet & Record<string, unknown>>(`${stage.server.data}/t/${tenant}/oauth2/jwks`))
    .body;
const kidOf = (token: string): string => decodeProtectedHeader(token).kid ?? '';
/** As a server does that knows the JWKS of some time. */
const verified = (token: string, keys: JSONWebKeySet) =>
  jwtVerify(token, createLocalJWKSet(keys), {
    issuer: 'http://mandate.test/t/acme',
    currentDate: new Date(now()),
  });
/** A user's token that is of the server's time. */
const granted = (): Promise<string> => {
  const seconds = Math.floor(now() / 1_000);
  return stage.issuer
    .sign({ iat: seconds, exp: seconds + 3_600 })
    .then((user) => stage.exchange(user))
    .then(({ body }) => body.access_token);
};
const keyRecords = async () => {
  const records = await stage.records({ kind: 'key', pageSize: 20 });
  return records
    .map(({ body, action, caller }) => {
      const { detail } = JSON.parse(Buffer.from(String(body), 'base64').toString()) as {
        detail: { use: string; removed?: string[]; retired?: string; reason?: string };
      };
      return { action, caller, ...detail };
    })
    .filter(({ use }) => use === 'tokens')
    .toReversed();
};

describe('a key that is rotated on demand', () => {
  test('is published, signs once everybody may know it, and the one before verifies until nobody needs it', async () => {
    const old = await granted();
    const [next, active] = await rotate();
    expect(statesOf([next, active] as KeyJson[])).toEqual(['next', 'active']);
    expect(Date.parse(next?.signsFrom ?? '')).toBeGreaterThan(now() + LEAD_MS - 60_000);
    const published = await jwks();
    expect(published.keys.map(({ kid }) => kid)).toEqual([next?.kid, active?.kid]);
    expect(kidOf(await granted())).toBe(active?.kid);
    // Whoever asks again has the same key.
    expect((await rotate()).map(({ kid }) => kid)).toEqual([next?.kid, active?.kid]);

    ahead = LEAD_MS + 1_000;
    const late = await granted();
    expect(kidOf(late)).toBe(next?.kid);
    // By a JWKS that was fetched before it signed.
    await verified(late, published);
    expect(statesOf((await call('ListKeys')).body.keys)).toEqual(['active', 'retiring']);

    ahead += KEPT_MS - 2_000;
    expect((await jwks()).keys).toHaveLength(2);
    ahead += 2_001;
    expect((await jwks()).keys.map(({ kid }) => kid)).toEqual([next?.kid]);
    expect(await keyRecords()).toEqual([
      { action: 'key.create', caller: 'server', use: 'tokens', algorithm: 'ES256' },
      { action: 'key.create', caller: 'operator:root', use: 'tokens', algorithm: 'ES256' },
      { action: 'key.activate', caller: 'server', use: 'tokens', algorithm: 'ES256', retired: active?.kid },
      { action: 'key.remove', caller: 'server', use: 'tokens', algorithm: 'ES256' },
    ]);
    expect(kidOf(old)).toBe(active?.kid);
  });

  test('and what the one before signed is good as long as it was to be', async () => {
    await rotate();
    ahead = LEAD_MS - 1_000;
    const old = await granted();
    ahead = LEAD_MS;
    const young = await granted();
    expect(kidOf(young)).not.toBe(kidOf(old));
    for (const token of [old, young]) {
      await verified(token, await jwks());
      expect(await stage.check(token)).toMatchObject({ decision: 'DECISION_ALLOW' });
    }
    await stage.restart();
    for (const token of [old, young]) expect(await stage.introspect(token)).toMatchObject({ active: true });
  });

  test('the private part of a key that signs no more is in the store no more', async () => {
    await granted();
    await rotate();
    ahead = LEAD_MS;
    await granted();
    const db = openReader(stage.server.config.data_dir);
    const kept = db
      .prepare<[], { state: string; sealed: Buffer }>('SELECT state, sealed FROM keys ORDER BY state')
      .all();
    db.close();
    const zeros = kept.map(({ state, sealed }) => [state, sealed.every((byte) => byte === 0)]);
    expect(zeros).toEqual([
      ['active', false],
      ['retiring', true],
    ]);
  });
});

test('a key is followed by another when it is old, however many ask at once; other tenants keep theirs', async () => {
  const first = kidOf(await granted());
  const globex = await jwks('globex');
  ahead = 30 * DAY - LEAD_MS + 1_000;
  for (const token of await Promise.all(Array.from({ length: 20 }, granted)))
    expect(kidOf(token)).toBe(first);
  expect(statesOf((await call('ListKeys')).body.keys)).toEqual(['next', 'active']);
  ahead += LEAD_MS;
  const kids = new Set((await Promise.all(Array.from({ length: 20 }, granted))).map(kidOf));
  expect(kids.size).toBe(1);
  expect(kids).not.toContain(first);
  expect((await keyRecords()).map(({ action }) => action)).toEqual([
    'key.create',
    'key.create',
    'key.activate',
  ]);
  const others = (await jwks('globex')).keys;
  expect(others).toContainEqual(globex.keys[0]);
  expect(others.some(({ kid }) => kid !== undefined && kids.has(kid))).toBe(false);
});

describe('keys that somebody else may have', () => {
  test('are gone at once, with what they signed, also where that was verified before', async () => {
    const token = await granted();
    await rotate();
    expect(await stage.check(token)).toMatchObject({ decision: 'DECISION_ALLOW' });
    const before = (await jwks()).keys.map(({ kid }) => kid);
    const keys = await rotate({ compromised: true, reason: 'INC-7' });
    expect(statesOf(keys)).toEqual(['active']);
    expect(before).not.toContain(keys[0]?.kid);
    const isRefused = async (): Promise<void> => {
      expect((await jwks()).keys.map(({ kid }) => kid)).toEqual([keys[0]?.kid]);
      expect(await stage.check(token)).toMatchObject(deniedFor('token_invalid'));
      expect(await stage.introspect(token)).toEqual({ active: false });
      expect(refusalOf(await stage.exchange(token)).code).toBe('token_invalid');
    };
    await isRefused();
    await stage.restart();
    await isRefused();
    expect(kidOf(await granted())).toBe(keys[0]?.kid);
    expect((await keyRecords()).at(-1)).toEqual({
      action: 'key.replace',
      caller: 'operator:root',
      use: 'tokens',
      algorithm: 'ES256',
      removed: before,
      reason: 'INC-7',
    });
    expect(await jwks('globex')).toMatchObject({ keys: [{}] });
  });

  test('while exchanges run: none that they signed is active', async () => {
    const user = await stage.issuer.sign();
    const racing = Array.from({ length: 30 }, () => stage.exchange(user));
    await Promise.race(racing);
    const keys = await rotate({ compromised: true });
    for (const { status, body } of await Promise.all(racing)) {
      if (status !== 200) continue;
      const { active } = (await stage.introspect(body.access_token)) as { active: boolean };
      expect(active).toBe(kidOf(body.access_token) === keys[0]?.kid);
    }
  });
});

describe('the algorithm', () => {
  test.each(['EdDSA', 'RS256', 'ES256'])(
    '%s signs, where the tenant says so, and comes in as a new key does',
    async (algorithm) => {
      const first = await granted();
      expect(decodeProtectedHeader(first).alg).toBe('ES256');
      await editTenant(stage.server.tenantFolder('acme'), (manifest) => {
        manifest.keys = { algorithm };
      });
      const { status } = await connect(stage.server.admin, 'PolicyService/ReloadPolicy', { tenant: 'acme' });
      expect(status).toBe(200);
      expect(decodeProtectedHeader(await granted()).alg).toBe('ES256');
      ahead = LEAD_MS + 1_000;
      const token = await granted();
      expect(decodeProtectedHeader(token)).toMatchObject({ alg: algorithm, typ: 'at+jwt' });
      const { keys } = await jwks();
      await verified(token, { keys });
      expect(keys[0]).toMatchObject({ kid: kidOf(token), alg: algorithm, use: 'sig' });
      for (const key of keys)
        for (const member of ['d', 'p', 'q', 'k']) expect(key).not.toHaveProperty(member);
      expect(await stage.check(token)).toMatchObject({ decision: 'DECISION_ALLOW' });
    },
  );

  test('of a token is that of its key: no other is taken', async () => {
    const token = await granted();
    const [, payload = '', signature = ''] = token.split('.');
    for (const alg of ['EdDSA', 'RS256', 'none', 'HS256']) {
      const header = Buffer.from(JSON.stringify({ ...decodeProtectedHeader(token), alg })).toString(
        'base64url',
      );
      expect(await stage.introspect(`${header}.${payload}.${signature}`)).toEqual({ active: false });
    }
  });

  test.each([
    ['an algorithm that is not signed with', { algorithm: 'HS256' }],
    ['no days', { rotate_days: 0 }],
    ['a member that is not known', { rotate: 30 }],
  ])('%s is a mistake in tenant.yaml, with its line', async (_, keys) => {
    await editTenant(stage.server.tenantFolder('acme'), (manifest) => {
      manifest.keys = keys;
    });
    const answer = await connect(stage.server.admin, 'PolicyService/ReloadPolicy', { tenant: 'acme' });
    expect(JSON.stringify(answer.body)).toMatch(/tenant\.yaml:\d+: keys/);
  });
});

test('a tenant that does nothing has no key made for it', async () => {
  await stage.granted();
  const db = openReader(stage.server.config.data_dir);
  const owners = db
    .prepare('SELECT DISTINCT tenants.id FROM keys JOIN tenants ON no = tenant_no')
    .pluck()
    .all();
  db.close();
  expect(owners).toEqual(['acme']);
});

test('who may see keys may not change them, and others neither', async () => {
  for (const secret of [secrets.agent, secrets.mcp])
    for (const method of ['ListKeys', 'RotateKey']) expect((await call(method, {}, secret)).status).toBe(403);
  expect((await call('RotateKey', { reason: 'x'.repeat(1_025) })).status).toBe(400);
});
