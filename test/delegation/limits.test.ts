import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Limited, limit } from '../../src/delegation/limits.ts';
import type { GrantId } from '../../src/ids.ts';
import type { GrantRow } from '../../src/storage/rows.ts';
import type { DetailTypes } from '../../src/tenancy/details.ts';
import { at } from '../cli/run.ts';
import { claimsOf, connect } from '../e2e/requests.ts';
import { basic } from '../e2e/server.ts';
import { agent, refusalOf, refused, Stage } from './stage.ts';

/** What the limits of the package delegation make of a grant: the rule by itself, then through the endpoints. */

const NOW = 1_767_225_600_000;

const proposed: GrantRow = {
  id: 'grant' as GrantId,
  parentId: null,
  depth: 1,
  subject: { class: 'user', id: 'alice' },
  actors: [{ class: 'agent', id: 'research-agent' }],
  scopes: ['read', 'suggest'],
  use: 'act',
  details: [{ type: 'tool_call', tools: ['search', 'read'], max_calls: 5 }],
  audience: 'docs-mcp',
  moreAudiences: [],
  mayAct: null,
  jkt: null,
  x5tS256: null,
  task: null,
  authentication: {},
  issuedAt: NOW,
  expiresAt: NOW + 300_000,
  issuer: 'https://login.acme.example',
  revokedAt: null,
};

const types: DetailTypes = {
  tool_call: { members: { tools: 'subset', max_calls: 'at_most', note: 'same' }, required: [], bounds: {} },
};

const codeOf = (said: unknown): string => {
  const limited = limit(proposed, said, NOW, types);
  return 'reason' in limited ? limited.reason.code : 'granted';
};

const granted = (said: unknown, now = NOW): Limited => {
  const limited = limit(proposed, said, now, types);
  if ('reason' in limited) throw new Error(limited.reason.message);
  return limited;
};

describe('limit', () => {
  test('takes nothing where nothing is said', () => {
    expect(granted({})).toEqual({ grant: proposed, cut: {} });
  });

  test('narrows scopes and lifetime, and says what it took', () => {
    expect(granted({ lifetime_seconds: 60, scope: ['read', 'other'] })).toEqual({
      grant: { ...proposed, scopes: ['read'], expiresAt: NOW + 60_000 },
      cut: { scopes: ['suggest'], lifetimeSeconds: 240 },
    });
  });

  test('narrows the class of use', () => {
    expect(granted({ use: 'read' })).toEqual({ grant: { ...proposed, use: 'read' }, cut: { use: 'act' } });
    expect(granted({ use: 'act' })).toEqual({ grant: proposed, cut: {} });
  });

  test('narrows authorization details to what they have in common with its own', () => {
    const { grant, cut } = granted({ details: [{ type: 'tool_call', tools: ['read', 'delete'] }] });
    expect(grant.details).toEqual([{ type: 'tool_call', tools: ['read'], max_calls: 5 }]);
    expect(cut).toEqual({ details: 1 });
    expect(granted({ details: [{ type: 'tool_call' }] })).toEqual({ grant: proposed, cut: {} });
    const long = 'x'.repeat(256);
    const many = Array.from({ length: 16 }, (_, n) => ({ type: 'tool_call', note: `${n}${long}` }));
    expect(codeOf({ details: many })).toBe('limits_malformed');
    expect(codeOf({ details: [] })).toBe('limits_leave_nothing');
    expect(codeOf({ details: [{ type: 'tool_call', tools: ['delete'] }] })).toBe('limits_leave_nothing');
  });

  test('ends in whole seconds', () => {
    expect(granted({ lifetime_seconds: 60 }, NOW + 999).grant.expiresAt).toBe(NOW + 60_000);
  });

  test.each<[string, unknown]>([
    ['no object', 'none'],
    ['null', null],
    ['an array', [{ lifetime_seconds: 60 }]],
    ['a number', 60],
    ['an unknown member', { lifetime: 60 }],
    ['a known member beside an unknown one', { lifetime_seconds: 60, audience: 'docs-mcp' }],
    ['a member of the prototype', { constructor: 1 }],
    ['a lifetime of nothing', { lifetime_seconds: 0 }],
    ['a negative lifetime', { lifetime_seconds: -60 }],
    ['half a second', { lifetime_seconds: 0.5 }],
    ['a lifetime as text', { lifetime_seconds: '60' }],
    ['no lifetime', { lifetime_seconds: null }],
    ['one scope as text', { scope: 'read' }],
    ['scopes that are none', { scope: ['read', 1] }],
    ['scopes as an object', { scope: { read: true } }],
    ['a class of use that is none', { use: 'write' }],
    ['one detail that is no set', { details: { type: 'tool_call' } }],
    ['a detail of an unknown type', { details: [{ type: 'tool_call' }, { type: 'other' }] }],
    ['a detail with an unknown member', { details: [{ type: 'tool_call', max_call: 1 }] }],
  ])('denies %s', (_what, said) => {
    expect(codeOf(said)).toBe('limits_malformed');
  });

  test('denies what leaves nothing', () => {
    expect(codeOf({ scope: [] })).toBe('limits_leave_nothing');
    expect(codeOf({ scope: ['write'] })).toBe('limits_leave_nothing');
  });

  test('never widens, whatever is said', () => {
    const scope = fc.constantFrom('read', 'suggest', 'write');
    const sound = fc.record(
      { lifetime_seconds: fc.integer({ min: 1, max: 1_000 }), scope: fc.array(scope) },
      { requiredKeys: [] },
    );
    const odd = fc.record(
      { lifetime_seconds: fc.oneof(fc.integer({ max: 1 }), fc.double(), fc.string()), scope: fc.jsonValue() },
      { requiredKeys: [] },
    );
    let narrowed = 0;
    fc.assert(
      fc.property(fc.oneof(sound, odd, fc.jsonValue()), fc.integer({ min: 0, max: 999 }), (limits, later) => {
        const limited = limit(proposed, limits, NOW + later, types);
        if ('reason' in limited) return;
        const { grant, cut } = limited;
        expect(grant.scopes.length).toBeGreaterThan(0);
        for (const each of grant.scopes) expect(proposed.scopes).toContain(each);
        expect([...grant.scopes, ...(cut.scopes ?? [])].toSorted()).toEqual([...proposed.scopes]);
        expect(grant.expiresAt).toBeLessThanOrEqual(proposed.expiresAt);
        expect(grant.expiresAt).toBeGreaterThan(NOW + later);
        expect({ ...grant, scopes: 0, details: 0, expiresAt: 0 }).toEqual({
          ...proposed,
          scopes: 0,
          details: 0,
          expiresAt: 0,
        });
        if (grant.expiresAt < proposed.expiresAt || cut.scopes) narrowed += 1;
      }),
      { numRuns: 5_000 },
    );
    expect(narrowed).toBeGreaterThan(100);
  });
});

describe('limits of a policy', () => {
  let stage: Stage;
  /** Bob is of sales: each limit is chosen by what is asked for. */
  const REGO = `package delegation

limits := {"lifetime_seconds": 60, "scope": {"docs.read"}} if "docs.suggest" in input.action.properties.scopes

limits := {"lifetime": 60} if "typo" in input.action.properties.scopes

limits := ["docs.read"] if "array" in input.action.properties.scopes

limits := false if "false" in input.action.properties.scopes

limits := {"scope": ["docs.write"]} if "nothing" in input.action.properties.scopes
`;

  beforeAll(async () => {
    stage = await Stage.open({ acmeFiles: { 'delegation/limits.rego': REGO } });
  });
  afterAll(() => stage[Symbol.asyncDispose]());

  test('are in the token, in the answer and in the record', async () => {
    const { body } = await stage.exchange(await stage.issuer.sign(), { scope: 'docs.read docs.suggest' });
    expect(body).toMatchObject({
      scope: 'docs.read',
      expires_in: expect.any(Number),
      cut: { scope: ['docs.suggest'], lifetime_seconds: 240 },
    });
    const { scope, exp, iat } = claimsOf(body.access_token);
    expect(scope).toBe('docs.read');
    expect(Number(exp) - Number(iat)).toBeLessThanOrEqual(60);
    const [record] = await stage.records({ kind: 'exchange' });
    const stored = JSON.parse(Buffer.from(String(record?.['body']), 'base64').toString()) as object;
    expect(stored).toMatchObject({
      cut: { scope: ['docs.suggest'], lifetime_seconds: 240 },
      input: { grant: { scope: ['docs.read', 'docs.suggest'] } },
    });
  });

  test('hold for what comes of the token: a child has no more', async () => {
    const first = await stage.granted({ scope: 'docs.read docs.suggest' });
    const again = await stage.exchange(first, { scope: 'docs.suggest' });
    expect(refusalOf(again)).toEqual({ status: 400, error: 'invalid_scope', code: 'invalid_scope' });
    const child = await stage.exchange(first, { scope: 'docs.read' });
    expect(child.body).not.toHaveProperty('cut');
    expect(Number(claimsOf(child.body.access_token)['exp'])).toBeLessThanOrEqual(
      Number(claimsOf(first)['exp']),
    );
  });

  test('that cannot be read, or leave nothing, deny, and the record says by which rule', async () => {
    for (const [scope, code] of [
      ['typo', 'limits_malformed'],
      ['array', 'limits_malformed'],
      ['false', 'limits_malformed'],
      ['nothing', 'limits_leave_nothing'],
    ] as const) {
      const answer = await stage.exchange(await stage.issuer.sign(), { scope: `docs.read ${scope}` });
      expect(refusalOf(answer), scope).toEqual(refused('exchange_denied'));
      expect(answer.body.error_description).toContain(code);
      const [record] = await stage.records({ kind: 'exchange' });
      expect(record).toMatchObject({ outcome: 'deny', reasons: [{ code }], rules: ['delegation.limits'] });
    }
  });

  test('are told over Connect and by the command line', async () => {
    const subjectToken = await stage.issuer.sign();
    const { body } = await connect(
      stage.server.data,
      'DelegationService/Exchange',
      { tenant: 'acme', subjectToken, audience: 'docs-mcp', scopes: ['docs.read', 'docs.suggest'] },
      basic(agent.id, agent.secret),
    );
    expect(body).toMatchObject({ cut: { scopes: ['docs.suggest'], lifetimeSeconds: 240 } });
    const ask = `token exchange -t acme --audience docs-mcp --subject-token ${subjectToken} --scope`.split(
      ' ',
    );
    const { stdout, stderr } = await at(stage.server, agent.secret)(...ask, 'docs.read docs.suggest');
    expect(claimsOf(stdout)).toMatchObject({ scope: 'docs.read' });
    expect(stderr).toContain('{"scope":["docs.suggest"],"lifetime_seconds":240}');
  });
});
