import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect } from '../../e2e/requests.ts';
import { basic } from '../../e2e/server.ts';
import { agent, refusalOf, refused, Stage } from '../stage.ts';

/** The attack list of PROTOCOLS.md: JWT bombs, and others of the parameters of an exchange. Each is refused and recorded. */

let stage: Stage;

/** 64 scopes that are the longest there may be: more than a token holds. */
const longest = Array.from({ length: 64 }, (_, at) => `s${at}-`.padEnd(256, 'x'));

beforeAll(async () => {
  stage = await Stage.open({
    acme: (manifest) => {
      manifest.roles['wide'] = { scopes: longest };
      for (const principal of manifest.principals) {
        if (principal.class === 'user') principal.roles = [...(principal.roles ?? []), 'wide'];
        principal.ceiling?.scopes?.push(...longest);
      }
    },
  });
});
afterAll(() => stage[Symbol.asyncDispose]());

const TEN_THOUSAND = Array.from({ length: 10_000 }, (_, at) => `s${at}`);
const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)]);
const call = { type: 'tool_call', server: 'docs-mcp', tools: ['search'], max_calls: 1 };
const is = (code: string) => ({ status: 400, error: code, code });

const exchange = async (fields: Record<string, string>) =>
  refusalOf(await stage.exchange(await stage.issuer.sign(), fields));

const overConnect = async (members: object) =>
  connect<{ code: string; message: string }>(
    stage.server.data,
    'DelegationService/Exchange',
    {
      tenant: 'acme',
      subjectToken: await stage.issuer.sign(),
      audience: 'docs-mcp',
      scopes: ['docs.read'],
      ...members,
    },
    basic(agent.id, agent.secret),
  );

describe('bombs', () => {
  test('a token of ten thousand scopes, details, audiences or methods is no token', async () => {
    for (const claims of [
      { scope: TEN_THOUSAND.join(' ') },
      { authorization_details: TEN_THOUSAND.map((type) => ({ type })) },
      { aud: TEN_THOUSAND },
      { amr: TEN_THOUSAND },
      { may_act: { sub: 'research-agent', of: TEN_THOUSAND } },
      { acr: 'x'.repeat(100_000) },
      { deep: nested(40) },
    ]) {
      const answer = await stage.exchange(await stage.issuer.sign(claims));
      expect(refusalOf(answer), Object.keys(claims).join()).toEqual(refused('token_invalid'));
    }
  });

  test('ten thousand scopes are asked for in vain', async () => {
    expect(await exchange({ scope: TEN_THOUSAND.join(' ') })).toEqual(is('invalid_scope'));
    const { body } = await overConnect({ scopes: TEN_THOUSAND });
    expect(body.message).toContain('invalid_scope');
  });

  test('ten thousand details, one that nests without end and one of a megabyte too', async () => {
    for (const text of [
      JSON.stringify(TEN_THOUSAND.map(() => ({ type: 'tool_call' }))),
      JSON.stringify([{ ...call, server: 'x'.repeat(900_000) }]),
      JSON.stringify([{ ...call, server: nested(1_000) }]),
      JSON.stringify([{ ...call, server: nested(12) }]),
      '['.repeat(4_000),
      JSON.stringify([{ ...call, tools: TEN_THOUSAND }]),
      JSON.stringify([{ ...call, tools: TEN_THOUSAND.slice(0, 257) }]),
    ])
      expect(await exchange({ authorization_details: text }), text.slice(0, 80)).toEqual(
        is('invalid_authorization_details'),
      );
    for (const authorizationDetails of [
      TEN_THOUSAND.map(() => call),
      [{ ...call, server: 'x'.repeat(900_000) }],
      [{ ...call, server: nested(12) }],
    ]) {
      const { body } = await overConnect({ authorizationDetails });
      expect(body.message).toContain('invalid_authorization_details');
    }
  });

  test('seventeen audiences, and one of a megabyte', async () => {
    const moreAudiences = TEN_THOUSAND.map(() => 'docs-mcp');
    expect((await overConnect({ moreAudiences })).body.message).toContain('invalid_target');
    expect((await overConnect({ audience: 'x'.repeat(900_000) })).body.message).toContain('invalid_target');
    const [record] = await stage.records({ kind: 'exchange' });
    expect(String(record?.['resourceId'])).toHaveLength(1_024);
  });

  test('scopes that each are good, and make a token that nobody could present', async () => {
    const answer = await stage.exchange(await stage.issuer.sign(), { scope: longest.join(' ') });
    expect(refusalOf(answer)).toEqual(refused('invalid_request'));
    expect(answer.body.error_description).toContain('the token would be longer than 16384 characters');
    const [record] = await stage.records({ kind: 'exchange' });
    expect(record).toMatchObject({ outcome: 'deny' });
    expect(record).not.toHaveProperty('grantId');
    const fewer = await stage.exchange(await stage.issuer.sign(), { scope: longest.slice(0, 8).join(' ') });
    expect(fewer.status).toBe(200);
  });

  test('after all of which it goes on', async () => {
    expect(await stage.check(await stage.granted())).toMatchObject({ decision: 'DECISION_ALLOW' });
  });
});
