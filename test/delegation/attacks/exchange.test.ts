import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ACCESS_TOKEN, claimsOf, connect, ID_TOKEN } from '../../e2e/requests.ts';
import { basic } from '../../e2e/server.ts';
import {
  agent,
  alias,
  api,
  deniedFor,
  globexAgent,
  mcp,
  otherAgent,
  refusalOf,
  refused,
  Stage,
} from '../stage.ts';

/** The attack list of PROTOCOLS.md: on the exchange and on who may use what came of it. */

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.open();
});
afterAll(() => stage[Symbol.asyncDispose]());

const seconds = (): number => Math.floor(Date.now() / 1000);

describe('the confused deputy', () => {
  test("an agent that presents a user's access token issued to another agent is refused, and recorded", async () => {
    const token = await stage.issuer.sign({ client_id: 'research-agent' });
    expect(refusalOf(await stage.exchange(token, {}, otherAgent))).toEqual(refused('exchange_denied'));
    const [record] = await stage.records({ kind: 'exchange' });
    expect(record).toMatchObject({ outcome: 'deny', caller: 'agent:other-agent' });
  });

  test('azp names the client as client_id does, and both must be the agent', async () => {
    const azp = await stage.issuer.sign({ client_id: undefined, azp: 'other-agent' });
    expect(refusalOf(await stage.exchange(azp))).toEqual(refused('exchange_denied'));
    const both = await stage.issuer.sign({ client_id: 'research-agent', azp: 'other-agent' });
    expect(refusalOf(await stage.exchange(both))).toEqual(refused('exchange_denied'));
    const list = await stage.issuer.sign({ client_id: ['research-agent'] });
    expect(refusalOf(await stage.exchange(list))).toEqual(refused('exchange_denied'));
  });

  test('an ID token for another client is refused', async () => {
    const token = await stage.issuer.sign({ aud: 'other-agent', client_id: undefined }, { typ: 'JWT' });
    const answer = await stage.exchange(token, { subject_token_type: ID_TOKEN });
    expect(refusalOf(answer)).toEqual(refused('exchange_denied'));
  });

  test('RFC 8693 4.4: may_act names who alone may act', async () => {
    const forOther = await stage.issuer.sign({ may_act: { sub: 'other-agent' } });
    expect(refusalOf(await stage.exchange(forOther))).toEqual(refused('exchange_denied'));
    const malformed = await stage.issuer.sign({ may_act: 'research-agent' });
    expect(refusalOf(await stage.exchange(malformed))).toEqual(refused('exchange_denied'));
    const forAgent = await stage.issuer.sign({ may_act: { sub: 'research-agent' } });
    expect((await stage.exchange(forAgent)).status).toBe(200);
  });

  test("an agent cannot exchange another agent's delegated token", async () => {
    const token = await stage.granted();
    expect(refusalOf(await stage.exchange(token, {}, otherAgent))).toEqual(refused('exchange_denied'));
  });

  test('a valid token of another client is no actor token: none is taken', async () => {
    const fields = { actor_token: await stage.granted(), actor_token_type: ACCESS_TOKEN };
    const answer = await stage.exchange(await stage.issuer.sign(), fields, otherAgent);
    expect(refusalOf(answer)).toEqual(refused('invalid_request'));
  });
});

describe('audience confusion', () => {
  test('an access token for another audience is refused by the exchange and by Check', async () => {
    for (const aud of [
      'https://other.example',
      ['https://other.example'],
      [],
      'docs-mcp',
      'research-agent',
    ]) {
      const token = await stage.issuer.sign({ aud });
      expect(refusalOf(await stage.exchange(token)), String(aud)).toEqual(refused('token_invalid'));
      expect(await stage.check(token)).toMatchObject(deniedFor('token_invalid'));
    }
  });

  test('RFC 8707 2: two targets, an unknown one and one beyond the ceiling are invalid_target', async () => {
    const token = await stage.issuer.sign();
    const targets: Record<string, string>[] = [
      { audience: 'docs-mcp', resource: 'https://docs.acme.example/other' },
      { audience: 'nowhere' },
      { audience: 'docs-api' },
      { audience: 'alice' },
      { audience: '__proto__' },
    ];
    for (const fields of targets) {
      const answer = await stage.exchange(token, fields);
      expect(refusalOf(answer)).toEqual({ status: 400, error: 'invalid_target', code: 'invalid_target' });
    }
  });

  test('a token passed through to another server is denied there, whatever that server says it is', async () => {
    const token = await stage.granted();
    expect(await stage.check(token, api)).toMatchObject(deniedFor('audience_mismatch'));
    const { body } = await connect(
      stage.server.data,
      'DecisionService/Check',
      {
        tenant: 'acme',
        subjectToken: token,
        action: { name: 'document.read' },
        resource: { type: 'document', id: 'roadmap' },
        audience: 'docs-mcp',
      },
      `Bearer ${api.secret}`,
    );
    expect(body).toMatchObject(deniedFor('audience_mismatch'));
    const [record] = await stage.records({ kind: 'decision' });
    expect(record).toMatchObject({ outcome: 'deny', reasons: [{ code: 'audience_mismatch' }] });
  });
});

describe('widening', () => {
  test('scopes are no wider than the ceiling, the subject and the token it came from', async () => {
    const { body } = await stage.exchange(await stage.issuer.sign(), {
      scope: 'docs.read docs.suggest docs.write admin',
    });
    expect(body.scope).toBe('docs.read docs.suggest');
    const narrow = await stage.granted({ scope: 'docs.suggest' });
    const wider = await stage.exchange(narrow, { scope: 'docs.read' });
    expect(refusalOf(wider)).toEqual({ status: 400, error: 'invalid_scope', code: 'invalid_scope' });
    const reader = await stage.issuer.sign({ sub: 'bob', scope: 'docs.read docs.suggest' });
    expect((await stage.exchange(reader, { scope: 'docs.read docs.suggest' })).body.scope).toBe('docs.read');
  });

  test("a token's own scope claim widens nothing", async () => {
    const token = await stage.issuer.sign({ sub: 'bob', scope: 'docs.suggest', roles: ['editor'] });
    expect((await stage.exchange(token, { scope: 'docs.suggest' })).body.error).toBe('invalid_scope');
  });

  test('no token outlives five minutes, its parent, or the token of the user', async () => {
    const base = stage.server.data;
    const asked = await connect<{ accessToken: string }>(
      base,
      'DelegationService/Exchange',
      {
        tenant: 'acme',
        subjectToken: await stage.issuer.sign(),
        audience: 'docs-mcp',
        scopes: ['docs.read'],
        lifetimeSeconds: 4_294_967_295,
      },
      basic(agent.id, agent.secret),
    );
    const parent = claimsOf(asked.body.accessToken);
    expect(Number(parent['exp']) - Number(parent['iat'])).toBeLessThanOrEqual(300);
    const child = await stage.exchange(asked.body.accessToken);
    expect(Number(claimsOf(child.body.access_token)['exp'])).toBeLessThanOrEqual(Number(parent['exp']));
    const exp = seconds() + 40;
    const short = await stage.exchange(await stage.issuer.sign({ exp }));
    expect(Number(claimsOf(short.body.access_token)['exp'])).toBeLessThanOrEqual(exp);
  });

  test('a chain of exchanges ends at the cap of each actor in it', async () => {
    const first = await stage.granted();
    const second = await stage.exchange(first);
    expect(second.status).toBe(200);
    // research-agent's ceiling says max_depth 2.
    expect(refusalOf(await stage.exchange(second.body.access_token))).toEqual(refused('exchange_denied'));
    // docs-mcp's says 3, and yet what came through the agent goes no deeper than the agent's own.
    const onward = await stage.exchange(second.body.access_token, { audience: 'docs-api' }, mcp);
    expect(refusalOf(onward)).toEqual(refused('exchange_denied'));
  });
});

describe('the chain of actors', () => {
  test('no actor is dropped by exchanging again', async () => {
    const first = await stage.granted();
    const second = await stage.exchange(first);
    expect(claimsOf(second.body.access_token)).toMatchObject({ act: { sub: 'research-agent' } });
    const onward = await stage.exchange(first, { audience: 'docs-api' }, mcp);
    expect(claimsOf(onward.body.access_token)).toMatchObject({
      act: { sub: 'docs-mcp', act: { sub: 'research-agent' } },
    });
    const [record] = await stage.records({ kind: 'exchange' });
    expect(record).toMatchObject({
      subject: { id: 'alice' },
      actors: [{ id: 'docs-mcp' }, { id: 'research-agent' }],
    });
  });

  test('RFC 8693 4.1: an act that another issuer wrote is not believed', async () => {
    for (const act of [{ sub: 'research-agent' }, { sub: 'x', act: { sub: 'y' } }, {}, null]) {
      const token = await stage.issuer.sign({ act });
      expect(refusalOf(await stage.exchange(token))).toEqual(refused('token_invalid'));
      expect(await stage.check(token)).toMatchObject(deniedFor('token_invalid'));
    }
  });
});

describe('one principal taken for another', () => {
  test('an agent whose id is a user id has none of the rights of the user', async () => {
    const ask = (type: string) =>
      connect(stage.server.data, 'DecisionService/Check', {
        tenant: 'acme',
        subject: { type, id: 'alice' },
        action: { name: 'document.edit' },
        resource: { type: 'document', id: 'd', properties: { owner: 'alice' } },
      });
    expect((await ask('user')).body).toMatchObject({ decision: 'DECISION_ALLOW' });
    expect((await ask('agent')).body).toMatchObject(deniedFor('agent_may_only_suggest'));
  });

  test('its delegations keep the two apart in token, log and revocation', async () => {
    const { body } = await stage.exchange(await stage.issuer.sign({ client_id: 'alice' }), {}, alias);
    expect(claimsOf(body.access_token)).toMatchObject({
      sub: 'alice',
      principal_class: 'user',
      act: { sub: 'alice', principal_class: 'agent' },
    });
    await stage.setStatus('agent', 'alice', 'DISABLED');
    expect(await stage.check(body.access_token)).toMatchObject(deniedFor('token_revoked'));
    expect(await stage.check(await stage.granted())).toMatchObject({ decision: 'DECISION_ALLOW' });
    const disabling = await stage.records({
      principal: { class: 'user', id: 'alice' },
      kind: 'administration',
    });
    expect(disabling).toEqual([]);
    await stage.setStatus('agent', 'alice', 'ACTIVE');
  });

  test("an issuer of users cannot name an agent: its token's sub is a user's id", async () => {
    const token = await stage.issuer.sign({ sub: 'research-agent' });
    expect(await stage.check(token)).toMatchObject(deniedFor('principal_unknown'));
    expect(refusalOf(await stage.exchange(token)).status).toBe(400);
  });

  test('the same sub in another tenant is another principal', async () => {
    const token = await stage.granted();
    // globex knows an alice and a research-agent of its own, and allows everything.
    expect(refusalOf(await stage.exchange(token, { audience: 'tools-mcp' }, globexAgent)).status).toBe(401);
    const { body } = await connect(stage.server.data, 'DecisionService/Check', {
      tenant: 'globex',
      subjectToken: token,
      action: { name: 'document.read' },
      resource: { type: 'document', id: 'd' },
      audience: 'docs-mcp',
    });
    expect(body).toMatchObject(deniedFor('token_invalid'));
    expect((await stage.revoke(token, globexAgent, 'globex')).status).toBe(200);
    expect(await stage.check(token)).toMatchObject({ decision: 'DECISION_ALLOW' });
  });
});

describe('introspection as an oracle', () => {
  test('RFC 7662 2.2: another tenant, another agent and nonsense get the same answer', async () => {
    const token = await stage.granted();
    const none = { active: false };
    expect(await stage.introspect(token, globexAgent, 'globex')).toEqual(none);
    expect(await stage.introspect(token, otherAgent)).toEqual(none);
    expect(await stage.introspect(token, api)).toEqual(none);
    expect(await stage.introspect('nonsense', otherAgent)).toEqual(none);
    expect(await stage.introspect(await stage.issuer.sign(), agent)).toEqual(none);
    expect(await stage.introspect(token, agent)).toMatchObject({ active: true });
    expect(await stage.introspect(token, mcp)).toMatchObject({ active: true });
  });

  test('RFC 7009 2.1: a stranger revokes nothing', async () => {
    const token = await stage.granted();
    expect((await stage.revoke(token, otherAgent)).status).toBe(200);
    expect(await stage.introspect(token)).toMatchObject({ active: true });
    const [record] = await stage.records({ kind: 'revocation' });
    expect(record).toMatchObject({ outcome: 'deny', caller: 'agent:other-agent' });
  });
});
