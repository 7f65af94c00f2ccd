import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { narrowest, uses } from '../../src/storage/use.ts';
import { at } from '../cli/run.ts';
import { check, claimsOf, connect } from '../e2e/requests.ts';
import { basic, bearer } from '../e2e/server.ts';
import { agent, mcp, refusalOf, refused, Stage } from './stage.ts';

/** To read, to suggest as well, or to act: what a grant is for, beside its scopes. */

test('the narrowest of some classes is the first of them in their order', () => {
  for (const [at, one] of uses.entries())
    for (const [place, other] of uses.entries())
      expect(narrowest(one, other)).toBe(uses[Math.min(at, place)]);
  expect(narrowest('act', 'suggest', 'act')).toBe('suggest');
});

let stage: Stage;
/** Who may do all by scope and policy, so that the class of use alone stands in the way. */
const REGO = 'package authz\n\nallow := true\n';

beforeAll(async () => {
  stage = await Stage.open({
    acme: (manifest) => {
      for (const { ceiling, id } of manifest.principals) {
        if (!ceiling) continue;
        ceiling.scopes = ['docs.read', 'docs.suggest', 'docs.write'];
        ceiling.audiences = ['docs-mcp', 'docs-api'];
        ceiling.use = id === 'research-agent' ? 'act' : 'suggest';
        ceiling.max_depth = 3;
      }
    },
    acmeFiles: {
      'authz/agents.rego': 'package authz\n',
      'authz/documents.rego': REGO,
      'authz/handbook.rego': 'package authz\n',
      'authz/authz_test.rego': 'package authz_test\n',
      'delegation/use.rego':
        'package delegation\n\nlimits := {"use": "read"} if "limited" in input.action.properties.scopes\n\nlimits := {"use": "write"} if "malformed" in input.action.properties.scopes\n',
    },
  });
});
afterAll(() => stage[Symbol.asyncDispose]());

const all = { scope: 'docs.read docs.suggest docs.write' };

/** The codes of the reasons why an action is denied; `allow` where it is not. */
async function said(token: string, action: string, server = mcp): Promise<string> {
  const { body } = await check(
    stage.server.data,
    {
      tenant: 'acme',
      subjectToken: token,
      action: { name: action },
      resource: { type: 'document', id: 'd' },
    },
    bearer(server.secret),
  );
  return body.decision === 'DECISION_ALLOW'
    ? 'allow'
    : (body.reasons ?? []).map(({ code }) => code).join(' ');
}

describe('the class of use of a grant', () => {
  test('lets through what is declared as no more than it; what is not declared is acting', async () => {
    const expected = {
      read: ['allow', 'use_insufficient', 'use_insufficient'],
      suggest: ['allow', 'allow', 'use_insufficient'],
      act: ['allow', 'allow', 'allow'],
    };
    for (const use of uses) {
      const token = await stage.granted({ ...all, use });
      const actions = ['document.read', 'document.suggest', 'document.edit'];
      const answers: string[] = [];
      for (const action of actions) answers.push(await said(token, action));
      expect(answers, use).toEqual(expected[use]);
    }
  });

  test('is in the answer, the token, introspection and the record', async () => {
    const { body } = await stage.exchange(await stage.issuer.sign(), { use: 'suggest' });
    expect(body).toMatchObject({ use: 'suggest' });
    expect(claimsOf(body.access_token)).toMatchObject({ use: 'suggest' });
    expect(await stage.introspect(body.access_token)).toMatchObject({ use: 'suggest' });
    const [record] = await stage.records({ kind: 'exchange' });
    expect(JSON.parse(Buffer.from(String(record?.['body']), 'base64').toString())).toMatchObject({
      input: { grant: { use: 'suggest' } },
    });
  });

  test('of a child is no more than that of its parent, and than each ceiling', async () => {
    const reading = await stage.granted({ ...all, use: 'read' });
    for (const use of [{}, { use: 'act' }]) {
      const { body } = await stage.exchange(reading, { ...all, ...use });
      expect(body).toMatchObject({ use: 'read' });
      expect(await said(body.access_token, 'document.suggest')).toBe('use_insufficient');
    }
    const acting = await stage.granted(all);
    const { body } = await stage.exchange(acting, { ...all, audience: 'docs-api', use: 'act' }, mcp);
    expect(body).toMatchObject({ use: 'suggest' });
  });

  test('is narrowed by limits, which say what they took; limits to no class deny', async () => {
    const { body } = await stage.exchange(await stage.issuer.sign(), { scope: 'docs.read limited' });
    expect(body).toMatchObject({ use: 'read', cut: { use: 'act' } });
    const malformed = await stage.exchange(await stage.issuer.sign(), { scope: 'docs.read malformed' });
    expect(refusalOf(malformed)).toEqual(refused('exchange_denied'));
    expect(malformed.body.error_description).toContain('limits_malformed');
  });

  test('that is none is refused', async () => {
    for (const use of ['write', 'ACT', '__proto__'])
      expect(refusalOf(await stage.exchange(await stage.issuer.sign(), { use })), use).toEqual(
        refused('invalid_request'),
      );
  });

  test('over Connect and by the command line', async () => {
    const subjectToken = await stage.issuer.sign();
    const { body } = await connect<{ accessToken: string }>(
      stage.server.data,
      'DelegationService/Exchange',
      {
        tenant: 'acme',
        subjectToken,
        audience: 'docs-mcp',
        scopes: ['docs.read', 'limited'],
        use: 'suggest',
      },
      basic(agent.id, agent.secret),
    );
    expect(body).toMatchObject({ use: 'read', cut: { use: 'suggest' } });
    const run = at(stage.server, agent.secret);
    const ask = `token exchange -t acme --audience docs-mcp --scope docs.read --subject-token ${subjectToken}`;
    const { stdout } = await run('--json', ...ask.split(' '), '--use', 'suggest');
    expect(JSON.parse(stdout)).toMatchObject({ use: 'suggest' });
    const wrong = await run(...ask.split(' '), '--use', 'write');
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining('read, suggest, act') });
  });
});
