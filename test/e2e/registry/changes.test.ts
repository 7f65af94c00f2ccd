import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Issuer, startIssuer, trustIn } from '../issuer.ts';
import { check, exchangeFields, form, tokenReads } from '../requests.ts';
import {
  bearer,
  editTenant,
  eventually,
  type Running,
  secrets,
  sha256,
  startIn,
  startServer,
} from '../server.ts';
import { codeOf, helper, Registrar, SECRET } from './stage.ts';

/** Who answers for an agent, credentials that change over, and the end of both. */

let issuer: Issuer;
let server: Running;
let registrar: Registrar;
beforeAll(async () => {
  issuer = await startIssuer();
  server = await startServer({
    acme: (manifest) => {
      manifest.issuers = [trustIn(issuer.url)];
    },
  });
  registrar = new Registrar(server);
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await issuer[Symbol.asyncDispose]();
});
beforeEach(async () => {
  expect((await registrar.put(helper())).status).toBe(200);
});

const decides = async (token: string): Promise<string> =>
  (await check(server.data, tokenReads(token), bearer(secrets.mcp))).body.decision;

async function granted(secret = SECRET, id = 'helper'): Promise<string> {
  const { body } = await registrar.exchange(issuer, secret, id);
  if (!body.access_token) throw new Error(JSON.stringify(body));
  return body.access_token;
}

describe('who answers for an agent', () => {
  const SUSPENDED = 'PRINCIPAL_STATUS_SUSPENDED';
  const ACTIVE = 'PRINCIPAL_STATUS_ACTIVE';
  const statusOfHelper = async (): Promise<string> => (await registrar.show('agent', 'helper')).status;

  test('with the last of them it is suspended, and its grants end; with one of them back it goes on', async () => {
    await registrar.put({ class: 'user', id: 'ann' }, { class: 'user', id: 'ben' });
    await registrar.put(helper({ owners: ['user:ann', 'user:ben'] }));
    const token = await granted();
    await registrar.status('user', 'ann', 'DISABLED');
    expect([await statusOfHelper(), await decides(token)]).toEqual([ACTIVE, 'DECISION_ALLOW']);
    await registrar.status('user', 'ben', 'DISABLED');
    expect([await statusOfHelper(), await decides(token)]).toEqual([SUSPENDED, 'DECISION_DENY']);
    expect((await registrar.exchange(issuer, SECRET)).body).toMatchObject({ error: 'invalid_request' });
    const [change] = await registrar.changes({ principal: { class: 'agent', id: 'helper' } });
    expect(change?.detail).toMatchObject({ before: { status: 'active' }, after: { status: 'suspended' } });
    await registrar.status('user', 'ann', 'ACTIVE');
    expect(await statusOfHelper()).toBe(ACTIVE);
    // What ended stays ended.
    expect(await decides(token)).toBe('DECISION_DENY');
    expect(await decides(await granted())).toBe('DECISION_ALLOW');
  });

  test('a group does while somebody active is in it', async () => {
    await registrar.put({ class: 'user', id: 'gil', groups: ['platform'] });
    await registrar.put(helper({ owners: ['group:platform'] }));
    expect(await statusOfHelper()).toBe(ACTIVE);
    await registrar.put({ class: 'user', id: 'gil', groups: ['plat', 'form'] });
    expect(await statusOfHelper()).toBe(SUSPENDED);
    await registrar.put({ class: 'user', id: 'gus', groups: ['x', 'platform'] });
    expect(await statusOfHelper()).toBe(ACTIVE);
    await registrar.call('RetirePrincipal', { class: 'user', id: 'gus' });
    expect(await statusOfHelper()).toBe(SUSPENDED);
  });

  test('one that nobody active answers for is put, and said to be suspended', async () => {
    expect((await registrar.put(helper({ owners: ['user:nobody'] }))).body).toEqual({
      written: 1,
      suspended: ['agent:helper'],
    });
    expect(codeOf(await registrar.exchange(issuer, SECRET))).toMatchObject({ status: 400 });
    expect((await registrar.put(helper())).body).toEqual({ written: 1 });
    expect(await statusOfHelper()).toBe(ACTIVE);
  });

  test('a manifest that no longer declares the owner suspends too, and so does a status in it', async () => {
    const folder = server.tenantFolder('acme');
    await editTenant(folder, ({ principals }) => principals.push({ class: 'user', id: 'olga' }));
    await eventually(
      () => registrar.call('GetPrincipal', { class: 'user', id: 'olga' }),
      ({ status }) => status === 200,
    );
    await registrar.put(helper({ owners: ['user:olga'] }));
    expect(await statusOfHelper()).toBe(ACTIVE);
    await editTenant(folder, ({ principals }) => principals.pop());
    await eventually(statusOfHelper, (status) => status === SUSPENDED);
  });
});

describe('a credential', () => {
  const rotate = (fields: object = {}) =>
    registrar.call<{ secret: string; credentialId: string }>('RotateCredential', {
      class: 'agent',
      id: 'helper',
      ...fields,
    });

  test('is changed over without a gap: both are good for the overlap, then the new one alone', async () => {
    const { body } = await rotate({ overlapSeconds: 2 });
    expect(body.secret).toMatch(/^mdt_[\w-]{43}$/);
    expect(body.credentialId).toBe(sha256(body.secret).slice(0, 16));
    for (const secret of [SECRET, body.secret])
      expect(await decides(await granted(secret))).toBe('DECISION_ALLOW');
    await eventually(
      () => registrar.exchange(issuer, SECRET),
      ({ status }) => status === 401,
    );
    expect(await decides(await granted(body.secret))).toBe('DECISION_ALLOW');
    const [, rotated] = await registrar.changes({ principal: { class: 'agent', id: 'helper' } });
    expect(rotated?.action).toBe('credential.rotate');
  });

  test('without an overlap is good no more, and one of a past time never is', async () => {
    const { body } = await rotate({ expiresAt: '2020-01-01T00:00:00Z' });
    for (const secret of [SECRET, body.secret])
      expect((await registrar.exchange(issuer, secret)).status).toBe(401);
    // What has ended is let go of with the next.
    await rotate();
    expect((await registrar.show('agent', 'helper')).credentials).toHaveLength(1);
  });

  test('that is removed takes with it what was granted, and no exchange that was on its way is left', async () => {
    const token = await granted();
    const credentialId = sha256(SECRET).slice(0, 16);
    const subject = await issuer.sign();
    const under = Array.from({ length: 40 }, () =>
      form(server.data, 'token', exchangeFields(subject), { id: 'helper', secret: SECRET }),
    );
    const removed = await registrar.call<{ revoked?: number }>('RemoveCredential', {
      class: 'agent',
      id: 'helper',
      credentialId,
    });
    expect(removed.body.revoked).toBeGreaterThan(0);
    const tokens = (await Promise.all(under)).flatMap(({ body }) => body.access_token ?? []);
    for (const each of [token, ...tokens]) expect(await decides(each)).toBe('DECISION_DENY');
    expect(
      codeOf(await registrar.call('RemoveCredential', { class: 'agent', id: 'helper', credentialId })),
    ).toEqual({
      status: 404,
      code: 'not_found',
    });
  });
});

test('one that is retired is gone for good, its name with it, after a restart too', async () => {
  await registrar.put(helper({ id: 'old', credentials: [{ secretSha256: sha256('old') }] }));
  const token = await granted('old', 'old');
  const ref = { class: 'agent', id: 'old' };
  expect((await registrar.call('RetirePrincipal', ref)).body).toEqual({ revoked: 1 });
  expect(await decides(token)).toBe('DECISION_DENY');
  const gone = { status: 404, code: 'gone' };
  const isGone = async (by: Registrar): Promise<void> => {
    expect((await by.exchange(issuer, 'old', 'old')).status).toBe(401);
    expect(codeOf(await by.put(helper({ id: 'old', credentials: [] })))).toEqual(gone);
    expect(codeOf(await by.status('agent', 'old', 'ACTIVE'))).toEqual(gone);
    expect(codeOf(await by.call('RetirePrincipal', ref))).toEqual(gone);
    expect(await by.show('agent', 'old')).toMatchObject({ status: 'PRINCIPAL_STATUS_RETIRED' });
  };
  await isGone(registrar);
  // Its secret may be another's from then on: it is nobody's.
  await registrar.put(helper({ id: 'new', credentials: [{ secretSha256: sha256('old') }] }));
  expect(await decides(await granted('old', 'new'))).toBe('DECISION_ALLOW');
  await registrar.put(helper({ id: 'new', credentials: [] }));
  await server.stop();
  server = await startIn(server.folder);
  registrar = new Registrar(server);
  await isGone(registrar);
});
