import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { at } from '../cli/run.ts';
import { type Issuer, startIssuer, trustIn } from '../e2e/issuer.ts';
import { ACCESS_TOKEN, claimsOf, connect, exchangeFields, form, ID_TOKEN } from '../e2e/requests.ts';
import { basic, editTenant, eventually } from '../e2e/server.ts';
import { agent, alias, api, deniedFor, mcp, otherAgent, refusalOf, refused, Stage } from './stage.ts';

/** Who acts, who may act next, and for which names of one server. */

const JWT = 'urn:ietf:params:oauth:token-type:jwt';
const RESOURCE = 'https://docs.acme.example/mcp';

let stage: Stage;
/** It names agents, and tells no users. */
let workloads: Issuer;

beforeAll(async () => {
  workloads = await startIssuer();
  stage = await Stage.open({
    acme: (manifest) => {
      manifest.issuers?.push({ ...trustIn(workloads.url), subject_class: 'agent' });
      for (const { ceiling } of manifest.principals)
        if (ceiling) ceiling.audiences = ['docs-mcp', 'docs-api'];
    },
  });
});
afterAll(async () => {
  await stage[Symbol.asyncDispose]();
  await workloads[Symbol.asyncDispose]();
});

const targets = (...pairs: [string, string][]): URLSearchParams => {
  const fields = new URLSearchParams(exchangeFields(''));
  fields.delete('audience');
  for (const [name, value] of pairs) fields.append(name, value);
  return fields;
};

const exchangeFor = async (...pairs: [string, string][]) => {
  const fields = targets(...pairs);
  fields.set('subject_token', await stage.issuer.sign());
  return form(stage.server.data, 'token', fields, agent);
};

describe('RFC 8693 2.1: several targets', () => {
  test('that are names of one server make a token that is good by each of them', async () => {
    const { body } = await exchangeFor(
      ['resource', RESOURCE],
      ['audience', 'docs-mcp'],
      ['resource', RESOURCE],
    );
    const token = body.access_token;
    expect(claimsOf(token)).toMatchObject({ aud: ['docs-mcp', RESOURCE] });
    expect(await stage.introspect(token, mcp)).toMatchObject({ aud: ['docs-mcp', RESOURCE] });
    expect(await stage.check(token)).toMatchObject({ decision: 'DECISION_ALLOW' });
    for (const [audience, decision] of [
      [RESOURCE, 'DECISION_ALLOW'],
      ['docs-mcp', 'DECISION_ALLOW'],
      ['docs-api', 'DECISION_DENY'],
    ] as const) {
      const { body: answer } = await connect(
        stage.server.data,
        'DecisionService/Check',
        {
          tenant: 'acme',
          subjectToken: token,
          action: { name: 'document.read' },
          resource: { type: 'document', id: 'd', properties: { sensitivity: 'public' } },
          audience,
        },
        `Bearer ${mcp.secret}`,
      );
      expect(answer, audience).toMatchObject({ decision });
    }
    expect(await stage.check(token, api)).toMatchObject(deniedFor('audience_mismatch'));
    const [record] = await stage.records({ kind: 'exchange' });
    expect(JSON.parse(Buffer.from(String(record?.['body']), 'base64').toString())).toMatchObject({
      input: { grant: { audience: 'docs-mcp', audiences: ['docs-mcp', RESOURCE] } },
    });
  });

  test('that are of two servers, and what is no resource, are invalid_target', async () => {
    const wrong: [string, string][][] = [
      [
        ['audience', 'docs-mcp'],
        ['audience', 'docs-api'],
      ],
      [
        ['audience', 'docs-mcp'],
        ['resource', 'https://elsewhere.example'],
      ],
      [['resource', 'docs-mcp']],
      [['resource', `${RESOURCE}#part`]],
      Array.from({ length: 17 }, () => ['audience', 'docs-mcp']),
      [['audience', 'x'.repeat(1_025)]],
    ];
    for (const pairs of wrong)
      expect(refusalOf(await exchangeFor(...pairs)), JSON.stringify(pairs)).toEqual({
        status: 400,
        error: 'invalid_target',
        code: 'invalid_target',
      });
  });
});

test('a server that gave up one name of several still knows the token by the other', async () => {
  const other = 'https://docs.acme.example/other';
  await using own = await Stage.open({
    acme: (manifest) => {
      for (const each of manifest.principals) if (each.id === 'docs-mcp') each.resources = [RESOURCE, other];
    },
  });
  const fields = targets(['resource', RESOURCE], ['resource', other]);
  fields.set('subject_token', await own.issuer.sign());
  const { body } = await form(own.server.data, 'token', fields, agent);
  await editTenant(own.server.tenantFolder('acme'), (manifest) => {
    for (const each of manifest.principals) if (each.id === 'docs-mcp') each.resources = [other];
  });
  const first = await own.issuer.sign();
  await eventually(
    () => own.exchange(first, { audience: RESOURCE }),
    (answer) => answer.body.error === 'invalid_target',
  );
  expect(await own.introspect(body.access_token, mcp)).toMatchObject({ active: true });
});

describe('RFC 8693 2.1: requested_token_type', () => {
  test('may be a JWT, which the token is; nothing else is issued', async () => {
    const { body } = await stage.exchange(await stage.issuer.sign(), { requested_token_type: JWT });
    expect(body).toMatchObject({ issued_token_type: JWT, token_type: 'Bearer' });
    const other = await stage.exchange(await stage.issuer.sign(), { requested_token_type: ID_TOKEN });
    expect(refusalOf(other)).toEqual(refused('unsupported_token_type'));
  });
});

describe('RFC 8693 2.1: an actor token', () => {
  const withActor = async (token: string, type?: string) =>
    stage.exchange(await stage.issuer.sign(), {
      actor_token: token,
      ...(type === undefined ? {} : { actor_token_type: type }),
    });

  test("is taken where it is the authenticated client's own", async () => {
    const own = await workloads.sign({ sub: 'research-agent' });
    for (const type of [ACCESS_TOKEN, JWT]) {
      const { status, body } = await withActor(own, type);
      expect(status).toBe(200);
      expect(claimsOf(body.access_token)).toMatchObject({ act: { sub: 'research-agent' } });
    }
  });

  test('is refused where it is anybody else, forged, expired, a user or a delegated token', async () => {
    const past = Math.floor(Date.now() / 1000) - 3_600;
    const stranger = await startIssuer();
    const tokens = [
      await workloads.sign({ sub: 'other-agent' }),
      await workloads.sign({ sub: 'docs-mcp' }),
      await workloads.sign({ sub: 'research-agent', aud: 'https://elsewhere.example' }),
      await workloads.sign({ sub: 'research-agent', exp: past, iat: past - 60 }),
      await stranger.sign({ sub: 'research-agent' }),
      await stage.issuer.sign({ sub: 'research-agent' }),
      await stage.granted(),
      'nonsense',
    ];
    await stranger[Symbol.asyncDispose]();
    for (const token of tokens)
      expect(refusalOf(await withActor(token, ACCESS_TOKEN))).toEqual(refused('invalid_request'));
    const [record] = await stage.records({ kind: 'exchange' });
    expect(record).toMatchObject({ outcome: 'deny', reasons: [{ code: 'invalid_request' }] });
  });

  test('stands with its type, which is one of two', async () => {
    const own = await workloads.sign({ sub: 'research-agent' });
    expect(refusalOf(await withActor(own))).toEqual(refused('invalid_request'));
    expect(refusalOf(await withActor('', ACCESS_TOKEN))).toEqual(refused('invalid_request'));
    expect(refusalOf(await withActor(own, ID_TOKEN))).toEqual(refused('unsupported_token_type'));
  });
});

describe('RFC 8693 4.4: may_act', () => {
  const taken = (token: string, client: typeof mcp, audience = 'docs-api', fields = {}) =>
    stage.exchange(token, { audience, ...fields }, client);

  test('of a token is in what comes of it, whatever is left out, and binds who takes it on', async () => {
    const first = await stage.exchange(await stage.issuer.sign({ may_act: { sub: 'research-agent' } }));
    const may_act = { sub: 'research-agent', principal_class: 'agent' };
    expect(claimsOf(first.body.access_token)).toMatchObject({ may_act });
    expect(await stage.introspect(first.body.access_token)).toMatchObject({ may_act });
    const again = await stage.exchange(first.body.access_token);
    expect(claimsOf(again.body.access_token)).toMatchObject({ may_act, act: { sub: 'research-agent' } });
    // The server that it is for may use it, and not take it on.
    expect(await stage.check(first.body.access_token)).toMatchObject({ decision: 'DECISION_ALLOW' });
    expect(refusalOf(await taken(first.body.access_token, mcp))).toEqual(refused('exchange_denied'));
  });

  test('can be asked for: the one named may take the token on, and nobody else, the agent itself included', async () => {
    const held = await stage.granted({ may_act: 'agent:other-agent' });
    expect(claimsOf(held)).toMatchObject({ may_act: { sub: 'other-agent', principal_class: 'agent' } });
    for (const client of [mcp, agent])
      expect(refusalOf(await taken(held, client))).toEqual(refused('exchange_denied'));
    const { body } = await taken(held, otherAgent, 'docs-mcp');
    expect(claimsOf(body.access_token)).toMatchObject({
      act: { sub: 'other-agent', act: { sub: 'research-agent' } },
      may_act: { sub: 'other-agent', principal_class: 'agent' },
    });
    const [record] = await stage.records({ kind: 'exchange' });
    expect(JSON.parse(Buffer.from(String(record?.['body']), 'base64').toString())).toMatchObject({
      input: { grant: { may_act: { class: 'agent', id: 'other-agent' } } },
    });
  });

  test('lets the one it names know what the token is, and nobody else', async () => {
    const held = await stage.granted({ may_act: 'agent:other-agent' });
    expect(await stage.introspect(held, otherAgent)).toMatchObject({ active: true, scope: 'docs.read' });
    expect(await stage.introspect(held, alias)).toEqual({ active: false });
    expect(await stage.introspect(await stage.granted(), otherAgent)).toEqual({ active: false });
  });

  test('that stands is not to be changed', async () => {
    const held = await stage.granted({ may_act: 'agent:other-agent' });
    const changed = await taken(held, otherAgent, 'docs-mcp', { may_act: 'mcp_server:docs-mcp' });
    expect(refusalOf(changed)).toEqual(refused('exchange_denied'));
  });

  test('names somebody to whom something may be delegated, by class and id', async () => {
    const cases: [string, string][] = [
      ['agent:nobody', 'exchange_denied'],
      ['user:alice', 'exchange_denied'],
      ['service:docs-api', 'exchange_denied'],
      ['mcp_server:research-agent', 'exchange_denied'],
      ['docs-mcp', 'invalid_request'],
      ['agent:', 'invalid_request'],
      ['robot:docs-mcp', 'principal_class_unknown'],
    ];
    for (const [may_act, code] of cases)
      expect(refusalOf(await stage.exchange(await stage.issuer.sign(), { may_act })), may_act).toEqual(
        refused(code),
      );
  });

  test('over Connect and by the command line, with several audiences', async () => {
    const subjectToken = await stage.issuer.sign();
    const { body } = await connect<{ accessToken: string }>(
      stage.server.data,
      'DelegationService/Exchange',
      {
        tenant: 'acme',
        subjectToken,
        audience: 'docs-mcp',
        moreAudiences: [RESOURCE],
        scopes: ['docs.read'],
        mayAct: { class: 'mcp_server', id: 'docs-mcp' },
        actorToken: await workloads.sign({ sub: 'research-agent' }),
        actorTokenType: ACCESS_TOKEN,
        requestedTokenType: JWT,
      },
      basic(agent.id, agent.secret),
    );
    expect(body).toMatchObject({ issuedTokenType: JWT });
    const { body: told } = await connect(
      stage.server.data,
      'DelegationService/Introspect',
      { tenant: 'acme', token: body.accessToken },
      basic(agent.id, agent.secret),
    );
    expect(told).toMatchObject({
      audience: 'docs-mcp',
      moreAudiences: [RESOURCE],
      mayAct: { class: 'mcp_server', id: 'docs-mcp' },
    });
    const run = at(stage.server, agent.secret);
    const ask = `token exchange -t acme --audience docs-mcp --audience ${RESOURCE} --scope docs.read`;
    const more = `--subject-token ${subjectToken} --may-act mcp_server:docs-mcp`;
    const { stdout } = await run(...`${ask} ${more}`.split(' '));
    expect(claimsOf(stdout)).toMatchObject({ aud: ['docs-mcp', RESOURCE], may_act: { sub: 'docs-mcp' } });
    const shown = await run('token', 'introspect', '-t', 'acme', stdout.trim());
    expect(shown.stdout).toContain(`audience  docs-mcp ${RESOURCE}\nmay act   mcp_server:docs-mcp\n`);
    const other = await workloads.sign({ sub: 'other-agent' });
    const wrong = await run(...`${ask} ${more} --actor-token ${other}`.split(' '));
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining('invalid_request') });
  });
});
