import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Issuer, startIssuer, trustIn } from '../../e2e/issuer.ts';
import { ACCESS_TOKEN, claimsOf, connect } from '../../e2e/requests.ts';
import { basic } from '../../e2e/server.ts';
import { agent, deniedFor, mcp, otherAgent, refusalOf, refused, Stage } from '../stage.ts';

/** The attack list of PROTOCOLS.md: a token that is exchanged again, to come back with more, or without whom it names. */

const JWT = 'urn:ietf:params:oauth:token-type:jwt';
const RESOURCE = 'https://docs.acme.example/mcp';

let stage: Stage;
let workloads: Issuer;

beforeAll(async () => {
  workloads = await startIssuer();
  stage = await Stage.open({
    acme: (manifest) => {
      manifest.issuers?.push({ ...trustIn(workloads.url), subject_class: 'agent' });
      manifest.principals.push({ class: 'mcp_server', id: 'mail-mcp', resources: ['https://mail.example'] });
      for (const { ceiling, id } of manifest.principals) {
        if (!ceiling) continue;
        ceiling.max_depth = 8;
        ceiling.audiences = ['docs-mcp', 'docs-api', 'mail-mcp'];
        if (id === 'other-agent') ceiling.authorization_details = [{ type: 'tool_call' }];
      }
    },
  });
});
afterAll(async () => {
  await stage[Symbol.asyncDispose]();
  await workloads[Symbol.asyncDispose]();
});

const call = (members: object = {}) => ({
  type: 'tool_call',
  server: 'docs-mcp',
  tools: ['search', 'read'],
  max_calls: 5,
  ...members,
});

const detailed = (...details: unknown[]) => ({ authorization_details: JSON.stringify(details) });

describe('dropping the actor in a re-exchange', () => {
  /** What may be sent or left out: each combination of them is tried. */
  const optional = async (): Promise<Record<string, string>[]> => [
    { requested_token_type: ACCESS_TOKEN },
    { requested_token_type: JWT },
    {
      actor_token: await workloads.sign({ sub: 'other-agent' }),
      actor_token_type: ACCESS_TOKEN,
    },
    { may_act: 'agent:other-agent' },
    { use: 'read' },
    { authorization_details: '[]' },
    { resource: RESOURCE },
    { subject_token_type: JWT },
  ];

  test('neither act nor may_act is lost, whatever is sent and whatever is left out', async () => {
    const held = await stage.granted({ may_act: 'agent:other-agent', ...detailed(call()) });
    const parts = await optional();
    let tried = 0;
    for (let chosen = 0; chosen < 2 ** parts.length; chosen += 1) {
      const fields = Object.assign({}, ...parts.filter((_, at) => (chosen >> at) % 2 === 1)) as object;
      const answer = await stage.exchange(held, { ...fields }, otherAgent);
      expect(answer.status, JSON.stringify(fields)).toBe(200);
      expect(claimsOf(answer.body.access_token), JSON.stringify(fields)).toMatchObject({
        act: { sub: 'other-agent', principal_class: 'agent', act: { sub: 'research-agent' } },
        may_act: { sub: 'other-agent', principal_class: 'agent' },
        authorization_details: [call()],
      });
      tried += 1;
    }
    expect(tried).toBe(256);
  });

  test('one that exchanges its own token again stays its actor', async () => {
    const first = await stage.granted();
    for (const fields of [{}, { requested_token_type: JWT }, { subject_token_type: JWT }]) {
      const { body } = await stage.exchange(first, fields);
      expect(claimsOf(body.access_token)).toMatchObject({ act: { sub: 'research-agent' } });
    }
  });

  test('a parameter called act, or one that makes another the actor, changes nothing', async () => {
    const { body } = await stage.exchange(await stage.issuer.sign(), {
      act: '{"sub":"other-agent"}',
      actor: 'other-agent',
    });
    expect(claimsOf(body.access_token)).toMatchObject({ act: { sub: 'research-agent' } });
    expect(claimsOf(body.access_token)['act']).not.toHaveProperty('act');
  });
});

describe('a forged nested act', () => {
  const tampered = (token: string, change: object): string => {
    const [header, , signature] = token.split('.');
    const payload = Buffer.from(JSON.stringify({ ...claimsOf(token), ...change })).toString('base64url');
    return `${header}.${payload}.${signature}`;
  };

  test("in one of Mandate's own tokens breaks its signature", async () => {
    const token = await stage.granted();
    for (const change of [
      { act: { sub: 'docs-mcp', principal_class: 'mcp_server', act: { sub: 'research-agent' } } },
      { act: undefined },
      { may_act: { sub: 'other-agent', principal_class: 'agent' } },
      { authorization_details: [call({ max_calls: 1_000 })] },
      { use: 'act' },
      { acr: 'urn:acme:mfa' },
    ]) {
      const forged = tampered(token, change);
      expect(refusalOf(await stage.exchange(forged))).toEqual(refused('token_invalid'));
      expect(await stage.check(forged)).toMatchObject(deniedFor('token_invalid'));
    }
  });

  test('and may_act, in the token of an issuer, name nobody else than its client', async () => {
    const act = { sub: 'research-agent', act: { sub: 'docs-mcp' } };
    expect(refusalOf(await stage.exchange(await stage.issuer.sign({ act })))).toEqual(
      refused('token_invalid'),
    );
    for (const may_act of [{ sub: 'other-agent' }, { sub: ['research-agent'] }, {}, null, 'research-agent'])
      expect(refusalOf(await stage.exchange(await stage.issuer.sign({ may_act })))).toEqual(
        refused('exchange_denied'),
      );
  });
});

describe('widening', () => {
  test('the resource: no name of another server, and none beside those of its own', async () => {
    const first = await stage.granted();
    const targets: Record<string, string>[] = [
      { resource: 'https://mail.example' },
      { audience: 'docs-mcp', resource: 'https://mail.example' },
      { audience: 'mail-mcp', resource: RESOURCE },
    ];
    for (const fields of targets)
      expect(refusalOf(await stage.exchange(first, fields)), JSON.stringify(fields)).toEqual({
        status: 400,
        error: 'invalid_target',
        code: 'invalid_target',
      });
  });

  test('the details: each way to say more than the token has', async () => {
    const first = await stage.granted(detailed(call()));
    const wider: unknown[] = [
      call({ tools: ['search', 'read', 'suggest'] }),
      call({ tools: ['suggest'] }),
      call({ max_calls: 6 }),
      call({ max_calls: '5' }),
      call({ max_calls: undefined }),
      call({ server: 'mail-mcp' }),
      call({ server: ['docs-mcp'] }),
      { type: 'tool_call' },
      call({ type: 'Tool_call' }),
      call({ type: ['tool_call'] }),
      call({ limit: 100 }),
      call({ tools: ['search', 'search'] }),
    ];
    for (const detail of wider)
      for (const all of [[detail], [call(), detail]]) {
        const answer = await stage.exchange(first, detailed(...all));
        expect(refusalOf(answer), JSON.stringify(all)).toEqual({
          status: 400,
          error: 'invalid_authorization_details',
          code: 'invalid_authorization_details',
        });
      }
  });

  test('the details: two of the token that would be more if they were one', async () => {
    const first = await stage.granted(
      detailed(call({ tools: ['search'], max_calls: 20 }), call({ tools: ['read'], max_calls: 1 })),
    );
    for (const members of [
      { tools: ['read'], max_calls: 20 },
      { tools: ['search', 'read'], max_calls: 1 },
    ])
      expect((await stage.exchange(first, detailed(call(members)))).status).toBe(400);
  });

  test('the details: what an issuer or a user put into a token gives none', async () => {
    const token = await stage.issuer.sign({
      authorization_details: [call()],
      use: 'act',
      scope: 'docs.write',
    });
    const { body } = await stage.exchange(token);
    const claims = claimsOf(body.access_token);
    expect(claims).toMatchObject({ use: 'suggest', scope: 'docs.read' });
    expect(claims).not.toHaveProperty('authorization_details');
  });

  test('the lifetime, the depth and the class of use, over gRPC where they can be asked for', async () => {
    const first = await stage.granted({ use: 'read' });
    const { body } = await connect<{ accessToken: string }>(
      stage.server.data,
      'DelegationService/Exchange',
      {
        tenant: 'acme',
        subjectToken: first,
        audience: 'docs-mcp',
        scopes: ['docs.read', 'docs.suggest'],
        lifetimeSeconds: 4_294_967_295,
        use: 'act',
      },
      basic(agent.id, agent.secret),
    );
    const claims = claimsOf(body.accessToken);
    expect(claims).toMatchObject({ scope: 'docs.read', use: 'read' });
    expect(Number(claims['exp'])).toBeLessThanOrEqual(Number(claimsOf(first)['exp']));
    let token = body.accessToken;
    for (let depth = 3; depth <= 8; depth += 1) token = (await stage.exchange(token)).body.access_token;
    expect(refusalOf(await stage.exchange(token))).toEqual(refused('exchange_denied'));
    expect(refusalOf(await stage.exchange(token, { audience: 'docs-api' }, mcp))).toEqual(
      refused('exchange_denied'),
    );
  });
});
