import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Served, serve } from '../containment/tenants.ts';
import { check, connect, postJson } from './requests.ts';

/** Callers say who asks, as with OPA and Cerbos: the directory adds to it and disables, and no guardrail gives way. */

const REGO = `package authz

default allow := false

allow if "buyer" in input.subject.roles

allow if "staff" in input.subject.groups

allow if input.action.name == "anything"

reasons contains {"code": "seen", "message": json.marshal([input.subject.status, sort(input.subject.roles), sort(input.subject.groups), input.subject.properties])}
`;

const principals = [
  { class: 'user', id: 'ann', roles: ['reader'], properties: { team: 'a' } },
  { class: 'user', id: 'eve', roles: ['buyer'], status: 'disabled' },
  { class: 'agent', id: 'bot' },
  { class: 'agent', id: 'old', status: 'disabled' },
];

const stated_principals = { classes: ['user', 'job'], roles: ['buyer', 'reader'], groups: 'any' };
const subject_types = { person: 'user', robot: 'agent' };

let server: Served;
beforeAll(async () => {
  server = await serve([
    { id: 'open', rego: REGO, manifest: { principals, stated_principals, subject_types } },
    { id: 'closed', rego: REGO, manifest: { principals, subject_types } },
  ]);
});
afterAll(() => server[Symbol.asyncDispose]());

type Stated = { readonly type: string; readonly id: string; readonly properties?: object };

const question = (subject: Stated, tenant = 'open', action = 'read') => ({
  tenant,
  subject,
  action: { name: action },
  resource: { type: 'thing', id: 't' },
});

const decided = async (subject: Stated, tenant?: string, action?: string) => {
  const { status, body } = await check(server.data, question(subject, tenant, action));
  const {
    decision,
    reasons = [],
    message = '',
  } = body as unknown as {
    decision?: string;
    reasons?: { code: string; message: string }[];
    message?: string;
  };
  const seen = reasons.find(({ code }) => code === 'seen')?.message;
  return {
    status,
    message,
    isAllowed: decision === 'DECISION_ALLOW',
    codes: reasons.map(({ code }) => code),
    seen: seen === undefined ? undefined : (JSON.parse(seen) as unknown),
  };
};

describe('a caller states', () => {
  test('somebody whom the directory does not know: with roles, groups and properties', async () => {
    const zoe = { type: 'user', id: 'zoe', properties: { roles: ['buyer'], groups: ['x'], age: 7 } };
    expect(await decided(zoe)).toMatchObject({
      isAllowed: true,
      seen: ['active', ['buyer'], ['x'], { age: 7 }],
    });
    expect(await decided({ type: 'user', id: 'zoe' })).toMatchObject({
      isAllowed: false,
      seen: ['active', [], [], {}],
    });
    expect(await decided({ type: 'job', id: 'nightly', properties: { groups: ['staff'] } })).toMatchObject({
      isAllowed: true,
    });
  });

  test('more of somebody whom it knows; what the directory says stays, and wins', async () => {
    const properties = { roles: ['buyer'], team: 'b', age: 7 };
    expect(await decided({ type: 'user', id: 'ann', properties })).toMatchObject({
      isAllowed: true,
      seen: ['active', ['buyer', 'reader'], [], { age: 7, team: 'a' }],
    });
  });

  test('a type of its own, in every protocol', async () => {
    const person = { type: 'person', id: 'zoe', properties: { roles: ['buyer'] } };
    expect(await decided(person)).toMatchObject({ isAllowed: true });
    const { tenant: _tenant, ...asked } = question(person);
    const authzen = await postJson(`${server.data}/t/open/access/v1/evaluation`, asked);
    expect(authzen.body).toMatchObject({ decision: true });
    const batch = await connect<{ results?: { decision: string }[] }>(
      server.data,
      'DecisionService/CheckBatch',
      {
        tenant: 'open',
        items: [asked, { ...asked, subject: { ...person, properties: { roles: ['admin'] } } }],
      },
    );
    expect(JSON.stringify(batch.body)).toMatch(/DECISION_ALLOW.*DECISION_DENY/s);
    const plan = await connect(server.data, 'DecisionService/Plan', {
      tenant: 'open',
      subject: person,
      action: { name: 'read' },
      resourceType: 'thing',
    });
    expect(plan.body).toMatchObject({ outcome: 'PLAN_OUTCOME_ALWAYS_ALLOWED' });
  });

  test('and the record holds what it was decided by', async () => {
    await decided({ type: 'person', id: 'kim', properties: { roles: ['buyer'] } });
    const { body } = await connect<{ records: { body: string }[] }>(server.admin, 'AuditService/Query', {
      tenant: 'open',
      principal: { class: 'user', id: 'kim' },
    });
    const [record] = body.records.map((each) => JSON.parse(Buffer.from(each.body, 'base64').toString()));
    expect(record.input.subject).toMatchObject({
      class: 'user',
      id: 'kim',
      status: 'active',
      roles: ['buyer'],
      groups: [],
    });
  });
});

describe('attacks', () => {
  test('nobody states whom the directory has disabled back to life', async () => {
    for (const properties of [
      {},
      { roles: ['buyer'] },
      { status: 'active', roles: ['buyer'], groups: ['staff'] },
      { class: 'user', disabled_at: null, properties: { status: 'active' } },
    ])
      for (const type of ['user', 'person'])
        expect(await decided({ type, id: 'eve', properties }, 'open', 'anything')).toMatchObject({
          isAllowed: false,
          codes: expect.arrayContaining(['principal_disabled']),
        });
  });

  test('nor whoever is disabled a moment ago', async () => {
    await connect(server.admin, 'TenantService/PutPrincipals', {
      tenant: 'open',
      principals: [{ class: 'user', id: 'max' }],
    });
    const max = { type: 'user', id: 'max', properties: { roles: ['buyer'] } };
    expect(await decided(max)).toMatchObject({ isAllowed: true });
    await connect(server.admin, 'TenantService/SetPrincipalStatus', {
      tenant: 'open',
      class: 'user',
      id: 'max',
      status: 'PRINCIPAL_STATUS_DISABLED',
    });
    const { isAllowed, codes } = await decided(max);
    expect([isAllowed, codes]).toEqual([false, expect.arrayContaining(['principal_disabled'])]);
  });

  test("nobody takes the id of another class's principal, nor that of one who is disabled", async () => {
    for (const id of ['bot', 'old'])
      for (const type of ['user', 'person', 'job'])
        expect(
          await decided({ type, id, properties: { roles: ['buyer'] } }, 'open', 'anything'),
        ).toMatchObject({
          isAllowed: false,
          codes: expect.arrayContaining(['principal_unknown']),
        });
  });

  test('a class that the tenant does not take from callers is as ever', async () => {
    for (const [type, id, code] of [
      ['agent', 'nobody', 'principal_unknown'],
      ['robot', 'nobody', 'principal_unknown'],
      ['service', 'nobody', 'principal_unknown'],
      ['agent', 'old', 'principal_disabled'],
    ] as const)
      expect(await decided({ type, id, properties: { roles: ['buyer'] } }, 'open', 'anything')).toMatchObject(
        {
          isAllowed: false,
          codes: expect.arrayContaining([code]),
        },
      );
    // Its properties are properties, and no roles.
    const bot = { type: 'agent', id: 'bot', properties: { roles: ['buyer'], groups: ['staff'] } };
    expect(await decided(bot)).toMatchObject({ isAllowed: false, seen: ['active', [], [], bot.properties] });
  });

  test('a role that the tenant takes from nobody is refused, and not left out', async () => {
    for (const roles of [
      ['admin'],
      ['buyer', 'admin'],
      'buyer',
      [1],
      [''],
      ['x'.repeat(257)],
      Array(1_001).fill('buyer'),
      { buyer: true },
      null,
    ]) {
      const answer = await decided({ type: 'user', id: 'zoe', properties: { roles } }, 'open', 'anything');
      expect(answer, JSON.stringify(roles).slice(0, 40)).toMatchObject({ status: 400, isAllowed: false });
      expect(answer.message).toContain('subject.properties.roles');
    }
  });

  test('without stated_principals nothing that is stated makes a principal, a role or a group', async () => {
    const properties = { roles: ['buyer'], groups: ['staff'] };
    expect(await decided({ type: 'user', id: 'zoe', properties }, 'closed')).toMatchObject({
      isAllowed: false,
      codes: expect.arrayContaining(['principal_unknown']),
    });
    expect(await decided({ type: 'user', id: 'ann', properties }, 'closed')).toMatchObject({
      isAllowed: false,
      seen: ['active', ['reader'], [], { ...properties, team: 'a' }],
    });
  });

  test('whatever is stated: nobody who is disabled, or known in another class, is allowed', async () => {
    const stated = fc.record({
      type: fc.constantFrom('user', 'person', 'job', 'agent', 'robot'),
      id: fc.constantFrom('eve', 'old', 'bot'),
      properties: fc.dictionary(
        fc.constantFrom('roles', 'groups', 'status', 'class', 'id', 'type', '__proto__', 'x'),
        fc.oneof(fc.constant(['buyer']), fc.constant(['staff']), fc.constant('active'), fc.jsonValue()),
      ),
    });
    await fc.assert(
      fc.asyncProperty(stated, async (subject) => {
        const isItself = subject.id === 'bot' && ['agent', 'robot'].includes(subject.type);
        fc.pre(!isItself);
        expect((await decided(subject, 'open', 'anything')).isAllowed).toBe(false);
      }),
      { numRuns: 150 },
    );
  });
});
