import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { type CheckJson, check, connect } from '../e2e/requests.ts';
import { type Running, startIn } from '../e2e/server.ts';

/** What the platform makes of whatever a tenant's Rego says. A tenant for each policy, one server for all. */

const policies: Record<string, string> = {
  allows: 'allow := true',
  'says-nothing': 'x := 1',
  'default-false': 'default allow := false',
  'is-undefined': 'allow if input.context.never',
  text: 'allow := "true"',
  number: 'allow := 1',
  object: 'allow := {"allowed": true}',
  null: 'allow := null',
  'set-allow': 'allow contains "me"',
  'deny-wins': 'allow := true\n\ndeny contains {"code": "no", "message": "never"}\n\ndeny contains "plain"',
  'deny-array': 'allow := true\n\ndeny := ["no"]',
  'deny-empty': 'allow := true\n\ndeny := set()',
  'deny-dynamic': 'allow := true\n\ndeny := input.context.deny',
  'deny-constant': 'allow := true\n\ndeny := "no"',
  'deny-odd': 'allow := true\n\ndeny contains 17',
  challenges: 'allow := true\n\nchallenge := {"type": "step_up"}',
  'challenge-text': 'allow := true\n\nchallenge := "step_up"',
  'challenge-denied': 'challenge := {"type": "step_up"}\n\ndeny contains "no"',
  'challenge-no-allow': 'challenge := {"type": "step_up"}',
  conflict: 'allow := true if input.subject.id == "alice"\n\nallow := false if input.action.name == "read"',
  obliges: 'allow := true\n\nobligations contains {"type": "log"}',
  'obliges-text': 'allow := true\n\nobligations contains "log"',
  'obliges-denied': 'allow := false\n\nobligations contains {"type": "log"}',
  endless:
    'allow if count([1 | some i in numbers.range(1, 20000); some j in numbers.range(1, 20000); i == j]) > 0',
  reasons: 'allow := true\n\nreasons contains "because"\n\nreasons contains {"code": "c", "message": "m"}',
};

let folder: string;
let server: Running;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-guardrails-'));
  for (const [id, rego] of Object.entries(policies)) {
    const place = path.join(folder, 'tenants', id);
    await mkdir(place, { recursive: true });
    const principals = [
      { class: 'user', id: 'alice' },
      { class: 'user', id: 'gone', status: 'disabled' },
    ];
    await writeFile(path.join(place, 'tenant.yaml'), stringify({ id, principals }));
    await writeFile(path.join(place, 'authz.rego'), `package authz\n\n${rego}\n`);
  }
  server = await startIn(folder);
});
afterAll(() => server[Symbol.asyncDispose]());

const ask = async (tenant: string, subject = 'alice', context = {}): Promise<CheckJson> => {
  const { status, body } = await check(server.data, {
    tenant,
    subject: { type: 'user', id: subject },
    action: { name: 'read' },
    resource: { type: 'document', id: 'd' },
    context,
  });
  expect(status).toBe(200);
  return body;
};

const said = async (tenant: string, subject?: string, context?: object): Promise<string> => {
  const { decision, reasons = [] } = await ask(tenant, subject, context);
  return [
    decision.replace('DECISION_', '').toLowerCase(),
    ...reasons.map(({ code }) => code).toSorted(),
  ].join(' ');
};

describe('default deny', () => {
  test.each([
    ['says-nothing', 'deny policy_undefined'],
    ['is-undefined', 'deny policy_undefined'],
    ['text', 'deny policy_undefined'],
    ['number', 'deny policy_undefined'],
    ['object', 'deny policy_undefined'],
    ['null', 'deny policy_undefined'],
    ['set-allow', 'deny policy_undefined'],
    ['default-false', 'deny not_allowed'],
    ['allows', 'allow'],
  ])('a policy that %s: %s', async (tenant, answer) => {
    expect(await said(tenant)).toBe(answer);
  });
});

describe('any deny wins', () => {
  test.each([
    ['deny-wins', 'deny no plain'],
    ['deny-array', 'deny no'],
    ['deny-odd', 'deny unspecified'],
    ['challenge-denied', 'deny no'],
    ['deny-empty', 'allow'],
  ])('a policy that says %s: %s', async (tenant, answer) => {
    expect(await said(tenant)).toBe(answer);
  });

  test.each([
    [undefined, 'allow'],
    [false, 'allow'],
    [[], 'allow'],
    [['no'], 'deny no'],
    [true, 'deny deny_malformed'],
    [null, 'deny deny_malformed'],
    ['no', 'deny deny_malformed'],
    [1, 'deny deny_malformed'],
    [{}, 'deny deny_malformed'],
    [{ code: 'no' }, 'deny deny_malformed no'],
  ])('a deny of %j fails closed where it is not plainly none: %s', async (deny, answer) => {
    expect(await said('deny-dynamic', 'alice', { deny })).toBe(answer);
  });

  test('a deny that the compiler sees is no set does not compile, and the tenant denies', async () => {
    expect(await said('deny-constant')).toBe('deny policy_undefined');
    const { body } = await connect<{ revision: object }>(server.admin, 'PolicyService/GetActiveRevision', {
      tenant: 'deny-constant',
    });
    expect(JSON.stringify(body.revision)).toContain('rego_type_error');
  });

  test('the guardrails of the platform deny whatever the policy allows', async () => {
    expect(await said('allows', 'nobody')).toBe('deny principal_unknown');
    expect(await said('allows', 'gone')).toBe('deny principal_disabled');
    expect(await said('challenges', 'gone')).toBe('deny principal_disabled');
  });
});

describe('a challenge', () => {
  test('goes before allow, and says what is to be proven', async () => {
    for (const tenant of ['challenges', 'challenge-no-allow'])
      expect(await ask(tenant)).toMatchObject({
        decision: 'DECISION_CHALLENGE',
        challenge: { type: 'step_up' },
      });
  });

  test('that is no object is none', async () => {
    expect((await ask('challenge-text')).challenge).toBeUndefined();
  });
});

describe('obligations and reasons', () => {
  test('go out with an allow', async () => {
    expect(await ask('obliges')).toMatchObject({
      decision: 'DECISION_ALLOW',
      obligations: [{ type: 'log' }],
    });
    expect(await said('reasons')).toBe('allow because c');
  });

  test('an obligation that cannot be read denies: the caller would not have met it', async () => {
    expect(await said('obliges-text')).toBe('deny policy_failed');
  });

  test('a deny obliges to nothing', async () => {
    expect((await ask('obliges-denied')).obligations ?? []).toEqual([]);
  });
});

describe('a policy that fails', () => {
  test.each([
    ['conflict', 'policy_failed'],
    ['endless', 'deadline_exceeded'],
  ])('%s: denied with %s, and recorded', async (tenant, code) => {
    const { decisionId, ...answer } = await ask(tenant);
    expect(answer).toMatchObject({ decision: 'DECISION_DENY', reasons: [{ code }] });
    const { body } = await connect<{ records: object[] }>(server.admin, 'AuditService/Query', {
      tenant,
      decisionId,
    });
    expect(body.records).toMatchObject([{ outcome: 'deny', decisionId, reasons: [{ code }] }]);
    // Neither the next request of the tenant nor any other tenant suffers from it.
    expect(await said(tenant)).toBe(`deny ${code}`);
    expect(await said('allows')).toBe('allow');
  });

  test('costs the same each time', async () => {
    const costs = new Set<number | undefined>();
    for (let round = 0; round < 5; round += 1) costs.add((await ask('deny-wins')).cost);
    expect(costs.size).toBe(1);
  });
});
