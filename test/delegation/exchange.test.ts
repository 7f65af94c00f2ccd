import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type ExchangeFacts, MAX_LIFETIME_SECONDS, narrow } from '../../src/delegation/exchange.ts';
import type { GrantId, PrincipalRef } from '../../src/ids.ts';
import { principalKey } from '../../src/ids.ts';
import type { GrantRow } from '../../src/storage/rows.ts';
import { uses } from '../../src/storage/use.ts';
import type { Ceiling } from '../../src/tenancy/manifest.ts';

/** The exchange rule by itself: facts in, what may be granted at most out. */

const NOW = 1_767_225_600_000;
const alice: PrincipalRef = { class: 'user', id: 'alice' };
const agent: PrincipalRef = { class: 'agent', id: 'research-agent' };
const docs: PrincipalRef = { class: 'mcp_server', id: 'docs-mcp' };

const ceiling = (changes: Partial<Ceiling> = {}): Ceiling => ({
  scopes: ['read'],
  audiences: ['api'],
  max_lifetime_seconds: 300,
  max_depth: 3,
  use: 'act',
  authorization_details: [],
  ...changes,
});

const facts = (changes: Partial<ExchangeFacts> = {}): ExchangeFacts => ({
  request: {
    audiences: ['docs-mcp'],
    scopes: ['read'],
    use: undefined,
    details: [],
    mayAct: undefined,
    lifetimeSeconds: 0,
  },
  actor: agent,
  ceiling: ceiling({ scopes: ['read', 'suggest'], audiences: ['docs-mcp'], max_depth: 2 }),
  chain: [],
  audiences: new Map([
    ['docs-mcp', docs],
    ['https://docs.example/mcp', docs],
    ['api', { class: 'service', id: 'api' }],
  ]),
  detailTypes: {},
  subject: alice,
  subjectScopes: new Set(['read', 'suggest', 'write']),
  mayAct: undefined,
  presentedUntil: NOW + 3_600_000,
  parent: undefined,
  asserted: undefined,
  renews: false,
  joins: false,
  now: NOW,
  ...changes,
});

const grant = (changes: Partial<GrantRow> = {}): GrantRow => ({
  id: 'parent' as GrantId,
  parentId: null,
  depth: 1,
  subject: alice,
  actors: [agent],
  scopes: ['read'],
  use: 'act',
  details: [],
  audience: 'docs-mcp',
  moreAudiences: [],
  mayAct: null,
  jkt: null,
  x5tS256: null,
  task: null,
  authentication: {},
  issuedAt: NOW - 1_000,
  expiresAt: NOW + 60_000,
  issuer: 'https://login.acme.example',
  revokedAt: null,
  ...changes,
});

const asking = (request: Partial<ExchangeFacts['request']>, changes: Partial<ExchangeFacts> = {}) =>
  facts({ ...changes, request: { ...facts().request, ...request } });

const codeOf = (given: ExchangeFacts): string => {
  try {
    narrow(given);
    return 'granted';
  } catch (error) {
    return (error as { code: string }).code;
  }
};

describe('narrow', () => {
  test('grants what is asked, within everything', () => {
    expect(narrow(facts())).toEqual({
      scopes: ['read'],
      use: 'act',
      details: [],
      audiences: ['docs-mcp'],
      mayAct: undefined,
      actors: [agent],
      depth: 1,
      expiresAt: NOW + 300_000,
    });
  });

  test('leaves out scopes the subject lacks, the ceiling lacks or the parent lacks, and repeats none', () => {
    const scopes = ['read', 'read', 'suggest', 'write', 'other'];
    expect(narrow(asking({ scopes })).scopes).toEqual(['read', 'suggest']);
    expect(narrow(asking({ scopes }, { subjectScopes: new Set(['read', 'write']) })).scopes).toEqual([
      'read',
    ]);
    expect(narrow(asking({ scopes }, { parent: grant() })).scopes).toEqual(['read']);
    expect(codeOf(asking({ scopes: ['write'] }))).toBe('invalid_scope');
    expect(codeOf(asking({ scopes: [] }))).toBe('invalid_scope');
  });

  test('an actor without a ceiling gets nothing', () => {
    expect(codeOf(facts({ ceiling: undefined }))).toBe('exchange_denied');
  });

  test('RFC 8707 2: the target is one the ceiling names, by principal or by resource', () => {
    expect(narrow(asking({ audiences: ['https://docs.example/mcp'] })).audiences).toEqual([
      'https://docs.example/mcp',
    ]);
    for (const audience of ['api', 'nowhere', 'alice', ''])
      expect(codeOf(asking({ audiences: [audience] }))).toBe('invalid_target');
    const onlyResource = ceiling({ audiences: ['https://docs.example/mcp'] });
    expect(codeOf(facts({ ceiling: onlyResource }))).toBe('invalid_target');
  });

  test('RFC 8693 4.1: the new actor stands outermost, and no earlier one is dropped', () => {
    const parent = grant();
    const onward = asking({ audiences: ['api'] }, { actor: docs, ceiling: ceiling(), parent });
    expect(narrow(onward).actors).toEqual([docs, agent]);
    expect(narrow(facts({ parent })).actors).toEqual([agent]);
  });

  test('only the actor of a token and the one it is for may exchange it', () => {
    const other: PrincipalRef = { class: 'agent', id: 'other' };
    expect(codeOf(facts({ parent: grant({ actors: [other] }) }))).toBe('exchange_denied');
    // An earlier actor is history.
    expect(codeOf(facts({ parent: grant({ actors: [other, agent] }) }))).toBe('exchange_denied');
    // Nor does a principal of another class with the same id count.
    const twin: PrincipalRef = { class: 'service', id: agent.id };
    expect(codeOf(facts({ parent: grant({ actors: [twin] }) }))).toBe('exchange_denied');
  });

  test('RFC 8693 2.1: several audiences are those of one server, each open to the agent, each once', () => {
    const both = ['https://docs.example/mcp', 'docs-mcp', 'docs-mcp'];
    expect(narrow(asking({ audiences: both })).audiences).toEqual(['https://docs.example/mcp', 'docs-mcp']);
    const open = ceiling({ audiences: ['docs-mcp', 'api'] });
    expect(codeOf(asking({ audiences: ['docs-mcp', 'api'] }, { ceiling: open }))).toBe('invalid_target');
    expect(codeOf(asking({ audiences: ['docs-mcp', 'nowhere'] }, { ceiling: open }))).toBe('invalid_target');
    const one = ceiling({ audiences: ['https://docs.example/mcp'] });
    expect(codeOf(asking({ audiences: both }, { ceiling: one }))).toBe('invalid_target');
  });

  test('RFC 8693 4.4: whom may_act names alone may take a token on, and whatever comes of it', () => {
    const other: PrincipalRef = { class: 'agent', id: 'other' };
    const held = grant({ mayAct: docs });
    const take = (actor: PrincipalRef, mayAct?: PrincipalRef) =>
      asking({ audiences: ['api'], mayAct }, { actor, ceiling: ceiling(), parent: held, mayAct: docs });
    expect(narrow(take(docs)).mayAct).toEqual(docs);
    expect(narrow(take(docs, docs)).mayAct).toEqual(docs);
    expect(codeOf(take(docs, other))).toBe('exchange_denied');
    // Neither its own actor nor anybody else.
    expect(codeOf(take(agent))).toBe('exchange_denied');
    expect(codeOf(take(other))).toBe('exchange_denied');
    expect(codeOf(take({ class: 'service', id: 'docs-mcp' }))).toBe('exchange_denied');
  });

  test('who may act is kept of an issuer too, and can be asked for where nobody is named', () => {
    expect(narrow(facts({ mayAct: agent })).mayAct).toEqual(agent);
    expect(narrow(asking({ mayAct: docs })).mayAct).toEqual(docs);
    expect(codeOf(asking({ mayAct: docs }, { mayAct: agent }))).toBe('exchange_denied');
  });

  test('is not deeper than the cap of the actor', () => {
    expect(narrow(facts({ parent: grant({ depth: 1 }) })).depth).toBe(2);
    expect(codeOf(facts({ parent: grant({ depth: 2 }) }))).toBe('exchange_denied');
  });

  test('the ceilings of those who acted before bind whoever exchanges on: depth, scopes, and that there is one', () => {
    const wide = ceiling({ max_depth: 8 });
    const onward = (chain: ExchangeFacts['chain'], depth = 2): ExchangeFacts =>
      asking({ audiences: ['api'] }, { actor: docs, ceiling: wide, parent: grant({ depth }), chain });
    expect(narrow(onward([{ ...wide, max_depth: 3 }])).depth).toBe(3);
    expect(codeOf(onward([{ ...wide, max_depth: 2 }]))).toBe('exchange_denied');
    expect(
      codeOf(
        onward([
          { ...wide, max_depth: 3 },
          { ...wide, max_depth: 2 },
        ]),
      ),
    ).toBe('exchange_denied');
    expect(codeOf(onward([{ ...wide, scopes: ['suggest'] }]))).toBe('invalid_scope');
    expect(codeOf(onward([undefined]))).toBe('exchange_denied');
  });

  test('the ceilings of those who acted before bind its details and its class of use too', () => {
    const call = { type: 'tool_call', max_calls: 5 };
    const types = { tool_call: { members: { max_calls: 'at_most' as const }, required: [], bounds: {} } };
    const onward = (before: Partial<Ceiling>): ExchangeFacts =>
      asking(
        { audiences: ['api'], details: [call] },
        {
          actor: docs,
          ceiling: ceiling({ authorization_details: [{ type: 'tool_call' }] }),
          parent: grant({ details: [call] }),
          chain: [ceiling({ authorization_details: [{ type: 'tool_call' }], ...before })],
          detailTypes: types,
        },
      );
    expect(narrow(onward({}))).toMatchObject({ details: [call], use: 'act' });
    expect(narrow(onward({ use: 'read' })).use).toBe('read');
    for (const most of [[], [{ ...call, max_calls: 4 }]])
      expect(codeOf(onward({ authorization_details: most }))).toBe('invalid_authorization_details');
  });

  test('ends in whole seconds, with what it came from, and never in the past', () => {
    expect(narrow(facts({ now: NOW + 999 })).expiresAt % 1000).toBe(0);
    expect(narrow(facts({ presentedUntil: NOW + 5_999 })).expiresAt).toBe(NOW + 5_000);
    expect(narrow(asking({ lifetimeSeconds: 30 })).expiresAt).toBe(NOW + 30_000);
    for (const presentedUntil of [NOW - 1, NOW, NOW + 999])
      expect(codeOf(facts({ presentedUntil }))).toBe('token_expired');
  });
});

const scope = fc.constantFrom('read', 'suggest', 'write', 'admin');
const scopes = fc.uniqueArray(scope, { maxLength: 4 });
const use = fc.constantFrom(...uses);
const audience = fc.constantFrom('docs-mcp', 'https://docs.example/mcp', 'api', 'nowhere');
const principal = fc.constantFrom(
  agent,
  docs,
  { class: 'service', id: 'api' } as const,
  {
    class: 'agent',
    id: 'other',
  } as const,
);

const anyGrant = fc
  .record({
    depth: fc.integer({ min: 1, max: 9 }),
    actors: fc.array(principal, { minLength: 1, maxLength: 4 }),
    scopes,
    audience,
    use,
    mayAct: fc.option(principal, { nil: null }),
    expiresAt: fc.integer({ min: NOW - 2_000, max: NOW + 400_000 }),
  })
  .map(grant);

const anyFacts: fc.Arbitrary<ExchangeFacts> = fc
  .record({
    request: fc.record({
      audiences: fc.array(audience, { minLength: 1, maxLength: 3 }),
      scopes: fc.array(scope, { maxLength: 6 }),
      mayAct: fc.option(principal, { nil: undefined }),
      use: fc.option(use, { nil: undefined }),
      details: fc.constant([]),
      lifetimeSeconds: fc.oneof(fc.constant(0), fc.nat(), fc.constant(4_294_967_295)),
    }),
    actor: principal,
    ceiling: fc.option(
      fc.record({
        scopes,
        audiences: fc.uniqueArray(audience, { maxLength: 3 }),
        max_lifetime_seconds: fc.integer({ min: 1, max: 300 }),
        max_depth: fc.integer({ min: 1, max: 8 }),
        use,
        authorization_details: fc.constant<Ceiling['authorization_details']>([]),
      }),
      { nil: undefined },
    ),
    subjectScopes: scopes.map((each) => new Set<string>(each)),
    presentedUntil: fc.integer({ min: NOW - 2_000, max: NOW + 4_000_000 }),
    parent: fc.option(anyGrant, { nil: undefined }),
    now: fc.integer({ min: NOW, max: NOW + 2_000 }),
  })
  .map(facts)
  .map((given) => ({ ...given, mayAct: given.parent?.mayAct ?? undefined }));

describe('narrow, whatever the facts', () => {
  test('a child is never wider, longer or deeper than its parent, the ceiling and the subject allow', () => {
    let granted = 0;
    fc.assert(
      fc.property(anyFacts, (given) => {
        let child: ReturnType<typeof narrow>;
        try {
          child = narrow(given);
        } catch (error) {
          expect((error as { code: string }).code).toMatch(
            /^(?:exchange_denied|invalid_(?:scope|target)|token_expired)$/,
          );
          return;
        }
        granted += 1;
        const { ceiling, parent, request, actor, now } = given;
        expect(child.scopes.length).toBeGreaterThan(0);
        expect(new Set(child.scopes).size).toBe(child.scopes.length);
        for (const each of child.scopes) {
          expect(request.scopes).toContain(each);
          expect(given.subjectScopes).toContain(each);
          expect(ceiling?.scopes).toContain(each);
          if (parent) expect(parent.scopes).toContain(each);
        }
        expect(child.audiences).toEqual([...new Set(request.audiences)]);
        const servers = child.audiences.map((each) => JSON.stringify(given.audiences.get(each)));
        expect(new Set(servers).size).toBe(1);
        for (const most of [request.use, ceiling?.use, parent?.use])
          expect(uses.indexOf(child.use)).toBeLessThanOrEqual(uses.indexOf(most ?? 'act'));
        expect(child.expiresAt).toBeGreaterThan(now);
        expect(child.expiresAt).toBeLessThanOrEqual(given.presentedUntil);
        const longest = Math.min(ceiling?.max_lifetime_seconds ?? 0, MAX_LIFETIME_SECONDS);
        expect(child.expiresAt).toBeLessThanOrEqual(now + longest * 1_000);
        if (request.lifetimeSeconds > 0)
          expect(child.expiresAt).toBeLessThanOrEqual(now + request.lifetimeSeconds * 1_000);
        expect(child.depth).toBe((parent?.depth ?? 0) + 1);
        expect(child.depth).toBeLessThanOrEqual(ceiling?.max_depth ?? 0);
        expect(child.actors[0]).toEqual(actor);
        if (!parent?.mayAct) expect(child.mayAct).toEqual(request.mayAct);
        if (!parent) {
          expect(child.actors).toEqual([actor]);
          return;
        }
        expect(child.expiresAt).toBeLessThanOrEqual(parent.expiresAt);
        if (parent.mayAct) expect(child.mayAct).toEqual(parent.mayAct);
        expect(child.actors.slice(-parent.actors.length)).toEqual(parent.actors);
        expect(child.actors.length - parent.actors.length).toBe(
          parent.actors[0] && principalKey(parent.actors[0]) === principalKey(actor) ? 0 : 1,
        );
      }),
      { numRuns: 20_000 },
    );
    // The property is about grants: it must have seen some.
    expect(granted).toBeGreaterThan(100);
  });

  test('act and may_act of a parent are never lost, whatever is left out', () => {
    let bound = 0;
    const asked = fc.record({
      mayAct: fc.option(principal, { nil: undefined }),
      lifetimeSeconds: fc.constantFrom(0, 10),
    });
    const parent = fc.record({
      actors: fc.array(principal, { minLength: 1, maxLength: 3 }),
      mayAct: fc.option(principal, { nil: null }),
    });
    fc.assert(
      fc.property(asked, parent.map(grant), principal, (request, presented, actor) => {
        const mayAct = presented.mayAct ?? undefined;
        const open = { actor, ceiling: ceiling({ max_depth: 8 }), parent: presented, mayAct };
        let child: ReturnType<typeof narrow>;
        try {
          child = narrow(asking({ ...request, audiences: ['api'] }, open));
        } catch (error) {
          expect((error as { code: string }).code).toBe('exchange_denied');
          return;
        }
        expect(child.actors.slice(-presented.actors.length)).toEqual(presented.actors);
        expect(child.actors[0]).toEqual(actor);
        expect(child.mayAct).toEqual(mayAct ?? request.mayAct);
        if (!mayAct) return;
        bound += 1;
        expect(actor).toEqual(mayAct);
      }),
      { numRuns: 2_000 },
    );
    expect(bound).toBeGreaterThan(100);
  });
});
