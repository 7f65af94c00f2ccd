import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Answer, aliceReads, check, claimsOf, connect, postJson, request } from '../e2e/requests.ts';
import { bearer, editTenant, secrets } from '../e2e/server.ts';
import { agent, api, deniedFor, mcp, otherAgent, refusalOf, Stage } from './stage.ts';

/** The kill switches: what each ends, and that nothing of it lives on. */

let stage: Stage;
const open = (): Promise<Stage> =>
  Stage.open({
    acme: ({ principals }) => {
      for (const { ceiling } of principals) if (ceiling) ceiling.max_depth = 3;
    },
    overrides: { base_url: 'http://mandate.test' },
  });
beforeEach(async () => {
  stage = await open();
});
afterEach(() => stage[Symbol.asyncDispose]());

const call = (method: string, body: object, authorization = bearer(secrets.operator)) =>
  connect<{ ended?: number }>(
    stage.server.admin,
    `KillService/${method}`,
    { tenant: 'acme', ...body },
    authorization,
  );
const codeOf = ({ headers }: Answer<object>): string | null => headers.get('mandate-error-code');
const kill = async (target: object): Promise<number> => {
  const { status, body } = await call('Kill', target);
  expect({ status, body }).toMatchObject({ status: 200 });
  return body.ended ?? 0;
};
const idOf = (token: string): string => String(claimsOf(token)['jti']);
const onward = async (token: string): Promise<string> =>
  (await stage.exchange(token, { audience: 'docs-api' }, mcp)).body.access_token;

/** A token, one made of it, and one of another agent for the same user. */
async function trees(): Promise<{ root: string; child: string; other: string }> {
  const root = await stage.granted();
  const toOther = await stage.issuer.sign({ client_id: 'other-agent' });
  const other = (await stage.exchange(toOther, {}, otherAgent)).body.access_token;
  return { root, child: await onward(root), other };
}

async function isDead(token: string, server = mcp): Promise<void> {
  expect(await stage.check(token, server)).toMatchObject({ decision: 'DECISION_DENY' });
  expect(await stage.introspect(token, server)).toEqual({ active: false });
  expect((await stage.exchange(token, { audience: 'docs-api' }, mcp)).status).not.toBe(200);
}
async function isLive(token: string, server = mcp): Promise<void> {
  expect(await stage.check(token, server)).toMatchObject({ decision: 'DECISION_ALLOW' });
  expect(await stage.introspect(token, server)).toMatchObject({ active: true });
}
const newestRevocation = async () => (await stage.records({ kind: 'revocation', pageSize: 1 }))[0];

describe.each([
  ['token', (root: string) => ({ token: root })],
  ['grant', (root: string) => ({ grantId: idOf(root) })],
])('kill %s', (what, targetOf) => {
  test('ends it and what came of it, and nothing else', async () => {
    const { root, child, other } = await trees();
    expect(await kill({ ...targetOf(root), reason: 'INC-7' })).toBe(2);
    await isDead(root);
    await isDead(child, api);
    await isLive(other);
    expect(await newestRevocation()).toMatchObject({
      caller: 'operator:root',
      action: `kill.${what}`,
      outcome: 'done',
      subject: { class: 'user', id: 'alice' },
      actors: [{ class: 'agent', id: 'research-agent' }],
      grantId: idOf(root),
      resourceType: 'grant',
      resourceId: idOf(root),
    });
    expect(await kill(targetOf(root))).toBe(0);
    expect(await stage.records({ kind: 'revocation' })).toHaveLength(2);
  });
});

describe('kill agent and kill subject', () => {
  test('disable whom they name, and end what has a part of it', async () => {
    const { root, child, other } = await trees();
    expect(await kill({ agent: 'research-agent' })).toBe(2);
    await isDead(root);
    await isDead(child, api);
    await isLive(other);
    expect(refusalOf(await stage.exchange(await stage.issuer.sign()))).toMatchObject({
      code: 'exchange_denied',
    });
    await stage.setStatus('agent', 'research-agent', 'ACTIVE');
    await isDead(root);
    await isLive(await stage.granted());
    expect(await kill({ subject: { class: 'user', id: 'alice' } })).toBe(2);
    await isDead(other);
    expect(await check(stage.server.data, aliceReads)).toMatchObject({
      body: deniedFor('principal_disabled'),
    });
  });

  test('are found by the principal, and by who did it', async () => {
    await kill({ agent: 'research-agent', reason: 'stolen' });
    for (const filter of [
      { principal: { class: 'agent', id: 'research-agent' } },
      { caller: 'operator:root' },
    ]) {
      const [record] = await stage.records({ kind: 'revocation', ...filter });
      expect(record).toMatchObject({ action: 'kill.agent', caller: 'operator:root' });
      const body = Buffer.from(String(record?.['body']), 'base64').toString();
      expect(JSON.parse(body)).toMatchObject({ detail: { reason: 'stolen' } });
    }
  });
});

describe('kill issuer', () => {
  test('ends all that began with a token of it, and takes none until it is restored, also after a restart', async () => {
    const { root, child, other } = await trees();
    const user = await stage.issuer.sign();
    const target = { issuer: stage.issuer.url };
    expect(await kill(target)).toBe(3);
    for (const token of [root, other]) await isDead(token);
    await isDead(child, api);
    const refused = async (): Promise<void> => {
      expect(refusalOf(await stage.exchange(user))).toMatchObject({ status: 400, code: 'token_revoked' });
      expect(await stage.check(user)).toMatchObject(deniedFor('token_revoked'));
    };
    await refused();
    // Nor does it come back with its manifest.
    await editTenant(stage.server.tenantFolder('acme'), (manifest) => {
      manifest.roles['new'] = { scopes: [] };
    });
    await connect(stage.server.admin, 'PolicyService/ReloadPolicy', { tenant: 'acme' });
    await refused();
    expect((await call('ListKills', {})).body).toMatchObject({ kills: [target] });
    await stage.restart();
    await refused();
    expect((await call('Restore', target)).status).toBe(200);
    expect((await call('ListKills', {})).body).toEqual({});
    await isDead(root);
    expect((await stage.exchange(user)).status).toBe(200);
    expect((await call('Restore', target)).status).toBe(404);
  });

  test('asks nothing of it any more, and leaves the other tenants theirs', async () => {
    await kill({ issuer: stage.issuer.url });
    await stage.exchange(await stage.issuer.sign());
    expect(stage.issuer.requests).toEqual([]);
    const elsewhere = { tenant: 'globex', issuer: stage.issuer.url };
    expect(codeOf(await call('Kill', elsewhere))).toBe('not_found');
  });

  test('one that is mistyped is not believed to be dead', async () => {
    expect(codeOf(await call('Kill', { issuer: `${stage.issuer.url}/` }))).toBe('not_found');
    expect(await stage.records({ kind: 'revocation' })).toEqual([]);
  });

  test('ends what is left of one that the tenant trusts no more', async () => {
    const root = await stage.granted();
    await editTenant(stage.server.tenantFolder('acme'), (manifest) => {
      manifest.issuers = [];
    });
    await connect(stage.server.admin, 'PolicyService/ReloadPolicy', { tenant: 'acme' });
    expect(await kill({ issuer: stage.issuer.url })).toBe(1);
    expect(await stage.introspect(root)).toEqual({ active: false });
  });
});

describe('kill tenant', () => {
  const stated = () => check(stage.server.data, aliceReads, bearer(secrets.api));

  test('denies everything to everybody until it is restored, also after a restart; what had ended stays so', async () => {
    const { root, child, other } = await trees();
    const user = await stage.issuer.sign();
    expect((await stated()).body).toMatchObject({ decision: 'DECISION_ALLOW' });
    expect(await kill({ wholeTenant: true })).toBe(3);
    for (const round of ['at once', 'after a restart']) {
      expect((await stated()).body, round).toMatchObject(deniedFor('tenant_killed'));
      for (const token of [root, other]) await isDead(token);
      await isDead(child, api);
      expect(await stage.check(user)).toMatchObject(deniedFor('tenant_killed'));
      expect(refusalOf(await stage.exchange(user)).code).toBe('tenant_killed');
      await stage.restart();
    }
    expect((await call('Restore', { wholeTenant: true })).status).toBe(200);
    expect((await stated()).body).toMatchObject({ decision: 'DECISION_ALLOW' });
    for (const token of [root, other]) await isDead(token);
    expect((await stage.exchange(user)).status).toBe(200);
  });

  test('over every protocol, of batches, searches and data', async () => {
    const { data } = stage.server;
    const authzen = (endpoint: string, body: object) =>
      postJson(`${data}/t/acme/access/v1/${endpoint}`, body, bearer(secrets.api));
    const { tenant: _, ...question } = aliceReads;
    const batch = { tenant: 'acme', subject: aliceReads.subject, action: aliceReads.action };
    const items = Array.from({ length: 200 }, () => ({ resource: aliceReads.resource }));
    const many = () =>
      connect<{ results: object[] }>(
        data,
        'DecisionService/CheckBatch',
        { ...batch, items },
        bearer(secrets.api),
      );
    expect((await many()).body.results[0]).toMatchObject({ decision: 'DECISION_ALLOW' });
    await kill({ wholeTenant: true });
    for (const result of (await many()).body.results)
      expect(result).toMatchObject(deniedFor('tenant_killed'));
    expect((await authzen('evaluation', question)).body).toMatchObject({ decision: false });
    const { body } = await authzen('search/resource', { ...question, resource: { type: 'document' } });
    expect(body).toMatchObject({ results: [] });
    expect(
      await postJson(`${data}/t/acme/v1/data/authz/allow`, { input: {} }, bearer(secrets.api)),
    ).toMatchObject({
      status: 403,
      body: { code: 'tenant_killed' },
    });
  });

  test('leaves the other tenants alone, and its own log, policy and principals to who looks after them', async () => {
    await kill({ wholeTenant: true });
    const other = { ...aliceReads, tenant: 'globex' };
    expect((await check(stage.server.data, other)).body).toMatchObject({ decision: 'DECISION_ALLOW' });
    expect(await stage.records({ kind: 'revocation' })).toMatchObject([
      { action: 'kill.tenant', resourceType: 'tenant', resourceId: 'acme' },
    ]);
    await stage.setStatus('user', 'bob', 'DISABLED');
    const { body } = await connect<{ tenants: { id: string; degraded?: string }[] }>(
      stage.server.admin,
      'TenantService/ListTenants',
      {},
    );
    expect(body.tenants.find(({ id }) => id === 'acme')?.degraded).toBe('killed');
  });
});

test.each([
  ['no target', {}, 400, 'invalid_request'],
  ['a tenant that is not meant', { wholeTenant: false }, 400, 'invalid_request'],
  ['a grant that is not there', { grantId: 'nothing' }, 404, 'not_found'],
  ['what is no token', { token: 'nothing' }, 400, 'token_invalid'],
  ['an agent that is not there', { agent: 'nobody' }, 404, 'principal_unknown'],
  ['a user in the place of an agent', { agent: 'bob' }, 404, 'principal_unknown'],
  ['a class that is none', { subject: { class: 'robot', id: 'r' } }, 400, 'principal_class_unknown'],
  ['a long reason', { agent: 'research-agent', reason: 'x'.repeat(1_025) }, 400, 'invalid_request'],
])('%s is refused and changes nothing', async (_, target, status, code) => {
  const answer = await call('Kill', target);
  expect({ status: answer.status, code: codeOf(answer) }).toEqual({ status, code });
  expect(await stage.records({ kind: 'revocation' })).toEqual([]);
});

test('a token of an issuer is none of ours to end', async () => {
  expect(codeOf(await call('Kill', { token: await stage.issuer.sign() }))).toBe('token_invalid');
});

test('only who has the operation kill presses, restores or sees them', async () => {
  for (const secret of [secrets.agent, secrets.api])
    for (const [method, target] of [
      ['Kill', { wholeTenant: true }],
      ['Restore', { wholeTenant: true }],
      ['ListKills', {}],
    ] as const)
      expect((await call(method, target, bearer(secret))).status).toBe(403);
  expect((await call('ListKills', {}, bearer(secrets.globexAgent))).status).toBe(401);
});

test('are counted', async () => {
  await kill({ agent: 'research-agent' });
  await kill({ issuer: stage.issuer.url });
  const { body } = await request<{ text: string }>(`${stage.server.admin}/metrics`);
  for (const what of ['agent', 'issuer'])
    expect(body.text).toContain(`mandate_kills_total{tenant="acme",what="${what}"} 1`);
});

describe('beside a hundred exchanges', () => {
  const targets: [string, (parent: string) => object, (() => Promise<unknown>) | undefined][] = [
    ['token', (parent) => ({ token: parent }), undefined],
    [
      'agent',
      () => ({ agent: 'research-agent' }),
      () => stage.setStatus('agent', 'research-agent', 'ACTIVE'),
    ],
    ['issuer', () => ({ issuer: stage.issuer.url }), () => call('Restore', { issuer: stage.issuer.url })],
    ['tenant', () => ({ wholeTenant: true }), () => call('Restore', { wholeTenant: true })],
  ];
  test.each(targets)(
    'kill %s: none that is answered, then or later, is alive',
    async (_, targetOf, restore) => {
      const parent = await stage.granted();
      const racing = Array.from({ length: 100 }, () => stage.exchange(parent, { audience: 'docs-api' }, mcp));
      await Promise.race(racing);
      const killed = kill(targetOf(parent));
      const answers = await Promise.all(racing);
      await killed;
      await restore?.();
      const tokens = answers.filter(({ status }) => status === 200).map(({ body }) => body.access_token);
      expect(tokens.length).toBeGreaterThan(0);
      for (const token of [parent, ...tokens])
        expect(await stage.introspect(token, token === parent ? agent : mcp)).toEqual({ active: false });
    },
  );
});
