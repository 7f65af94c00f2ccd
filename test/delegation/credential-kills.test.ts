import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { newScrypt } from '../../src/tenancy/registry/scrypt.ts';
import { aliceReads, check, claimsOf, connect, exchangeFields, form } from '../e2e/requests.ts';
import { basic, bearer, editTenant, secrets, sha256 } from '../e2e/server.ts';
import { agent, mcp, otherAgent, Stage } from './stage.ts';

/** A credential is killed whoever declares it, and stays dead under another name, after a reload and a restart. */

const CHOSEN = 'correct horse battery staple';
const SECOND = 'acme-research-agent-second-secret-01';
const AUDIENCE = 'https://mandate.acme.example/t/acme';

let stage: Stage;
let keys: { privateKey: CryptoKey; jwk: JWK };
let others: JWK;

const make = async () => {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
  return { privateKey, jwk: await exportJWK(publicKey) };
};

beforeAll(async () => {
  keys = await make();
  others = (await make()).jwk;
  const chosen = await newScrypt(CHOSEN);
  stage = await Stage.open({
    acme: (manifest) => {
      const { principals } = manifest;
      const researcher = principals.find(({ id }) => id === agent.id);
      researcher?.credentials?.push({ id: 'second', secret_sha256: sha256(SECOND) });
      principals.push(
        { class: 'service', id: 'typist', credentials: [{ secret_scrypt: chosen }] },
        {
          class: 'service',
          id: 'signer',
          credentials: [{ id: 'keys', jwks: { keys: [keys.jwk] } }],
        },
      );
    },
    overrides: { base_url: 'http://mandate.test' },
  });
});
afterEach(() => kills('Restore', target('agent', agent.id, first)));
afterAll(() => stage[Symbol.asyncDispose]());

const kills = (method: string, body: object, tenant = 'acme') =>
  connect<{ ended?: number; kills?: object[] }>(
    stage.server.admin,
    `KillService/${method}`,
    { tenant, ...body },
    bearer(secrets.operator),
  );
interface Shown {
  principal: { managedBy: string; credentials: { id: string; killedAt?: string }[] };
}
const shown = async (cls: string, id: string) =>
  (
    await connect<Shown>(
      stage.server.admin,
      'TenantService/GetPrincipal',
      { tenant: 'acme', class: cls, id },
      bearer(secrets.operator),
    )
  ).body.principal.credentials;
const target = (cls: string, id: string, credentialId: string) => ({
  credential: { class: cls, id, credentialId },
});
const reload = () => connect(stage.server.admin, 'PolicyService/ReloadPolicy', { tenant: 'acme' });
const asks = async (authorization: string) =>
  (await check(stage.server.data, aliceReads, authorization)).status;
const exchanged = async (client: { id: string; secret: string }) =>
  (await stage.exchange(await stage.issuer.sign(), {}, client)).status;
const first = sha256(secrets.agent).slice(0, 16);

describe('a credential of the manifest', () => {
  test('lets nobody in any more, and what its principal was granted has ended', async () => {
    const token = await stage.granted();
    const { status, body } = await kills('Kill', {
      ...target('agent', agent.id, first),
      reason: 'in a public repository',
    });
    expect({ status, body }).toEqual({ status: 200, body: { ended: 1 } });
    expect(await exchanged(agent)).toBe(401);
    expect(await stage.check(token)).toMatchObject({ decision: 'DECISION_DENY' });
    expect(await stage.introspect(token, mcp)).toEqual({ active: false });
    // Its principal goes on by what else it has, and nobody else is touched.
    expect(await exchanged({ id: agent.id, secret: SECOND })).toBe(200);
    const toOther = await stage.issuer.sign({ client_id: otherAgent.id });
    expect((await stage.exchange(toOther, {}, otherAgent)).status).toBe(200);
    const [record] = await stage.records({ kind: 'revocation' });
    expect(record).toMatchObject({
      action: 'kill.credential',
      caller: 'operator:root',
      outcome: 'done',
      resourceType: 'credential',
      resourceId: `agent:${agent.id} ${first}`,
    });
    const [found] = await stage.records({ kind: 'revocation', principal: { class: 'agent', id: agent.id } });
    expect(found).toEqual(record);
  });

  test('is listed, and good again once it is restored', async () => {
    await kills('Kill', target('agent', agent.id, first));
    const [listed] = (await kills('ListKills', {})).body.kills ?? [];
    expect(listed).toMatchObject(target('agent', agent.id, first));
    expect((await kills('Restore', target('agent', agent.id, first))).status).toBe(200);
    expect(await exchanged(agent)).toBe(200);
    expect((await kills('ListKills', {})).body).toEqual({});
    expect((await kills('Restore', target('agent', agent.id, first))).status).toBe(404);
    const [restored] = await stage.records({ kind: 'administration' });
    expect(restored).toMatchObject({ action: 'restore.credential', outcome: 'done' });
  });

  test('is of its tenant alone, and one that is not there is told of', async () => {
    for (const [cls, id, credential] of [
      ['agent', agent.id, 'no-such'],
      ['agent', 'nobody', first],
      ['service', agent.id, first],
    ] as const)
      expect((await kills('Kill', target(cls, id, credential))).status, id).toBe(404);
    expect((await kills('Kill', target('agent', agent.id, first), 'globex')).status).toBe(404);
    expect(await exchanged(agent)).toBe(200);
    expect((await kills('Kill', { credential: {} })).status).toBe(400);
  });
});

test('a chosen secret, also one that was right a moment ago', async () => {
  const typist = basic('typist', CHOSEN);
  expect(await asks(typist)).toBe(200);
  const [{ id } = { id: '' }] = await shown('service', 'typist');
  await kills('Kill', target('service', 'typist', id));
  expect(await asks(typist)).toBe(401);
});

test('public keys: none of them is good again among others', async () => {
  const sign = () =>
    new SignJWT({ jti: Math.random().toString() })
      .setProtectedHeader({ alg: 'ES256' })
      .setIssuer('signer')
      .setSubject('signer')
      .setAudience('http://mandate.test/t/acme')
      .setIssuedAt()
      .setExpirationTime('1m')
      .sign(keys.privateKey);
  const introspects = async () =>
    (
      await form<object>(stage.server.data, 'introspect', {
        token: 'x',
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
        client_assertion: await sign(),
      })
    ).status;
  expect(await introspects()).toBe(200);
  await kills('Kill', target('service', 'signer', 'keys'));
  expect(await introspects()).toBe(401);
  await editTenant(stage.server.tenantFolder('acme'), ({ principals }) => {
    for (const { id, credentials = [] } of principals)
      if (id === 'signer')
        credentials.splice(0, 1, { jwks: { keys: [others, { ...keys.jwk, kid: 'renamed' }] } });
  });
  expect((await reload()).status).toBe(200);
  expect(await introspects()).toBe(401);
});

test('one that the API has registered, and that is registered for another anew', async () => {
  const secret = 'acme-registered-agent-test-secret-01';
  const put = (id: string) =>
    connect(
      stage.server.admin,
      'TenantService/PutPrincipals',
      {
        tenant: 'acme',
        principals: [
          {
            class: 'agent',
            id,
            owners: ['user:alice'],
            clientIds: ['research-agent'],
            credentials: [{ secretSha256: sha256(secret) }],
            ceiling: { scopes: ['docs.read'], audiences: ['docs-mcp'] },
          },
        ],
      },
      bearer(secrets.operator),
    );
  expect((await put('helper')).status).toBe(200);
  expect(await exchanged({ id: 'helper', secret })).toBe(200);
  const [{ id } = { id: '' }] = await shown('agent', 'helper');
  expect((await kills('Kill', target('agent', 'helper', id))).body).toEqual({ ended: 1 });
  expect(await exchanged({ id: 'helper', secret })).toBe(401);
  await connect(
    stage.server.admin,
    'TenantService/RetirePrincipal',
    { tenant: 'acme', class: 'agent', id: 'helper' },
    bearer(secrets.operator),
  );
  expect((await put('second-helper')).status).toBe(200);
  expect(await exchanged({ id: 'second-helper', secret })).toBe(401);
});

test('no exchange that was on its way is left alive', async () => {
  const user = await stage.issuer.sign();
  const under = Array.from({ length: 24 }, () =>
    form(stage.server.data, 'token', exchangeFields(user), agent),
  );
  const killed = kills('Kill', target('agent', agent.id, first));
  const answers = await Promise.all(under);
  expect((await killed).status).toBe(200);
  for (const { status, body } of answers) {
    if (status !== 200) continue;
    expect(
      await stage.introspect(body.access_token, mcp),
      String(claimsOf(body.access_token)['jti']),
    ).toEqual({ active: false });
  }
});

test('one of the manifest stays dead after a reload, a restart, under another id, and as somebody else’s', async () => {
  await kills('Kill', target('agent', agent.id, first));
  await stage.restart();
  expect(await exchanged(agent)).toBe(401);
  await editTenant(stage.server.tenantFolder('acme'), ({ principals }) => {
    for (const { id, credentials = [] } of principals)
      if (id === agent.id) credentials.splice(0, 1, { id: 'anew', secret_sha256: sha256(secrets.agent) });
  });
  expect((await reload()).status).toBe(200);
  expect(await exchanged(agent)).toBe(401);
  expect(await shown('agent', agent.id)).toMatchObject([
    { id: 'anew', killedAt: expect.any(String) },
    { id: 'second' },
  ]);
  await editTenant(stage.server.tenantFolder('acme'), ({ principals }) => {
    for (const { id, credentials = [] } of principals) {
      if (id === agent.id) credentials.splice(0, 1);
      if (id === otherAgent.id) credentials.push({ secret_sha256: sha256(secrets.agent) });
    }
  });
  expect((await reload()).status).toBe(200);
  expect(await exchanged({ id: otherAgent.id, secret: secrets.agent })).toBe(401);
});

test('a workload of an issuer, whichever of its patterns lets it in', async () => {
  const { issuer } = stage;
  await editTenant(stage.server.tenantFolder('acme'), (manifest) => {
    const [own] = manifest.issuers ?? [];
    if (own) own.subject_class = 'service';
    const claims = (sub: string) => ({
      workload: { issuer: issuer.url, audience: AUDIENCE, claims: { sub } },
    });
    manifest.principals.push({
      class: 'service',
      id: 'deploy',
      credentials: [
        { ...claims('repo:acme/*'), id: 'wide' },
        { ...claims('repo:acme/app'), id: 'narrow' },
      ],
    });
  });
  expect((await reload()).status).toBe(200);
  const token = () =>
    issuer.sign({ sub: 'repo:acme/app', aud: AUDIENCE, client_id: undefined }, { typ: 'JWT' });
  expect(await asks(bearer(await token()))).toBe(200);
  await kills('Kill', target('service', 'deploy', 'narrow'));
  expect(await asks(bearer(await token()))).toBe(401);
  await kills('Restore', target('service', 'deploy', 'narrow'));
  expect(await asks(bearer(await token()))).toBe(200);
});
