import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { check, connect, postJson, request } from '../e2e/requests.ts';
import { eventually } from '../e2e/server.ts';
import { asks, type Served, serve } from './tenants.ts';

/** Asked `loop`, it would run for minutes; asked `grow`, it would build gigabytes. */
const HOSTILE = `package authz

default allow := false

allow if input.action.name == "read"

allow if {
	input.action.name == "loop"
	xs := numbers.range(1, 200000)
	count([1 | some x in xs; some y in xs; x + y == -1]) == 0
}

# A lot of fuel, and little time: the test is not to depend on how fast the machine is.
allow if {
	input.action.name == "dear"
	yaml.unmarshal(sprintf("%20000s", ["x"])) == "x"
}

allow if {
	input.action.name == "grow"
	some i in numbers.range(1, 30)
	s := concat("", [sprintf("%1048576d", [i * j]) | some j in numbers.range(1, 2048)])
	count(s) > 1
}
`;

const HARMLESS = 'package authz\n\nallow := input.action.name == "read"\n';

let served: Served;

beforeAll(async () => {
  served = await serve(
    [
      { id: 'hostile', rego: HOSTILE },
      { id: 'greedy', rego: HOSTILE, manifest: { limits: { fuel: 2_000_000_000, memory_mib: 8 } } },
      { id: 'patient', rego: HOSTILE, manifest: { limits: { fuel: 1_000_000 } } },
      { id: 'limited', rego: HARMLESS, manifest: { limits: { decisions_per_second: 5 } } },
      { id: 'dear', rego: HOSTILE, manifest: { limits: { fuel: 100_000_000 } } },
      { id: 'calm', rego: HARMLESS },
    ],
    { fuel: 5_000_000, tenant_limits: { fuel: 2_000_000_000 } },
  );
});

afterAll(async () => {
  await served[Symbol.asyncDispose]();
});

const codes = (body: { reasons?: { code: string }[] }) => body.reasons?.map(({ code }) => code);

describe('one tenant cannot hurt another', () => {
  test('a loop of minutes is stopped by its budget, denied and recorded with what it cost', async () => {
    const { body } = await check(served.data, asks('patient', 'loop'));
    expect(body).toMatchObject({ decision: 'DECISION_DENY', cost: 1_000_000 });
    expect(codes(body)).toEqual(['deadline_exceeded']);
    const found = await connect<{
      records: { outcome: string; reasons: { code: string }[]; body: string }[];
    }>(served.admin, 'AuditService/Query', { tenant: 'patient', decisionId: body.decisionId });
    expect(found.body.records[0]).toMatchObject({
      outcome: 'deny',
      reasons: [{ code: 'deadline_exceeded' }],
    });
    expect(JSON.parse(atob(found.body.records[0]?.body ?? ''))).toMatchObject({ cost: 1_000_000 });
  });

  test('the instance that was stopped is not used again: the next decision is right', async () => {
    await check(served.data, asks('patient', 'loop'));
    expect((await check(served.data, asks('patient', 'read'))).body.decision).toBe('DECISION_ALLOW');
  });

  test('a value of gigabytes is denied with policy_memory_exceeded, and the instance is replaced', async () => {
    const { body } = await check(served.data, asks('greedy', 'grow'));
    expect(codes(body)).toEqual(['policy_memory_exceeded']);
    expect(body.cost).toBeGreaterThan(100_000);
    // It has taken more than its share for the moment, and is answered again in the next one.
    const next = () => check(served.data, asks('greedy', 'read'));
    const { body: after } = await eventually(next, ({ status }) => status === 200);
    expect(after.decision).toBe('DECISION_ALLOW');
  });

  test('the same input costs the same, whatever came before', async () => {
    const costs = new Set<number | undefined>();
    for (let round = 0; round < 5; round += 1) {
      // A policy that has failed three times in a moment is asked again in the next one.
      const same = () => check(served.data, asks('patient', 'read', { same: 'input' }));
      costs.add((await eventually(same, ({ status }) => status === 200)).body.cost);
      if (round === 2) await check(served.data, asks('patient', 'loop'));
    }
    expect(costs.size).toBe(1);
  });

  test("what a caller sends does not count against the tenant's policy", async () => {
    const large = { text: 'x'.repeat(100_000) };
    for (let round = 0; round < 20; round += 1) {
      const { body } = await check(served.data, asks('calm', 'read', large));
      expect(codes(body)).toEqual(['payload_too_large']);
      const half = await postJson(`${served.data}/t/calm/access/v1/evaluation`, {
        ...asks('calm'),
        resource: { type: 'document', id: '\ud800' },
      });
      expect(half.status).toBe(400);
    }
    expect((await check(served.data, asks('calm'))).body.decision).toBe('DECISION_ALLOW');
  });

  test('a tenant that keeps running out of fuel is slowed down with a hint, and shown as degraded', async () => {
    const answers = await Promise.all(
      Array.from({ length: 40 }, () => check(served.data, asks('hostile', 'loop'))),
    );
    const refused = answers.filter(({ status }) => status !== 200);
    expect(refused.length).toBeGreaterThan(20);
    expect(refused[0]?.body).toMatchObject({ code: 'resource_exhausted' });
    expect(Number(refused[0]?.headers.get('retry-after'))).toBeGreaterThan(0);

    // Over plain HTTP without a look at the body.
    const unread = await postJson(`${served.data}/t/hostile/access/v1/evaluation`, 'no JSON');
    expect(unread.status).toBe(429);

    expect((await check(served.data, asks('calm'))).body.decision).toBe('DECISION_ALLOW');
    const ready = await request<{ text: string }>(`${served.admin}/readyz?verbose`);
    expect(ready.status).toBe(200);
    const strangers = await request<{ text: string }>(`${served.data}/readyz?verbose`);
    expect(strangers.body.text).toMatch(/^ready\ntenants with problems: \d/);
    expect(strangers.body.text).not.toContain('hostile');
    expect(ready.body.text).toMatch(/tenant hostile: its policy failed repeatedly \(deadline_exceeded\)/);
    const metrics = await request<{ text: string }>(`${served.admin}/metrics`);
    expect(metrics.body.text).toMatch(/mandate_tenants_degraded [1-9]/);
    const tenants = await connect<{ tenants: { id: string; degraded?: string }[] }>(
      served.admin,
      'TenantService/ListTenants',
      {},
    );
    expect(tenants.body.tenants.find(({ id }) => id === 'hostile')?.degraded).toContain('deadline_exceeded');
    expect(tenants.body.tenants.find(({ id }) => id === 'calm')?.degraded).toBeUndefined();
  });

  test('a tenant with dear policies is held to its share as soon as another one asks', async () => {
    const answers = await Promise.all(
      Array.from({ length: 200 }, async (_, at) => {
        if (at % 10 === 0) return { who: 'calm', ...(await check(served.data, asks('calm'))) };
        return { who: 'dear', ...(await check(served.data, asks('dear', 'dear'))) };
      }),
    );
    const [calm, dear] = ['calm', 'dear'].map((name) => answers.filter(({ who }) => who === name));
    expect(calm?.every(({ body }) => body.decision === 'DECISION_ALLOW')).toBe(true);
    const refused = dear?.filter(({ status }) => status === 429) ?? [];
    expect(refused.length).toBeGreaterThan(0);
    expect(refused[0]?.body).toMatchObject({ code: 'resource_exhausted' });
    expect(dear?.some(({ body }) => body.decision === 'DECISION_ALLOW')).toBe(true);
  });

  test('a tenant beyond its rate is refused with a hint, the others are not', async () => {
    const answers = await Promise.all(Array.from({ length: 30 }, () => check(served.data, asks('limited'))));
    const refused = answers.filter(({ status }) => status !== 200);
    expect(refused.length).toBeGreaterThanOrEqual(15);
    expect(refused[0]?.body).toMatchObject({ code: 'resource_exhausted' });
    expect((await check(served.data, asks('calm'))).status).toBe(200);
  });

  test('questions about tokens are held to the rate too', async () => {
    const ask = () => connect(served.data, 'DelegationService/Introspect', { tenant: 'limited', token: 'x' });
    const answers = await Promise.all(Array.from({ length: 30 }, ask));
    const refused = answers.filter(({ status }) => status === 429);
    expect(refused.length).toBeGreaterThanOrEqual(15);
    expect(refused[0]?.body).toMatchObject({ code: 'resource_exhausted' });
  });
});

describe('overload is refused, not queued', () => {
  test('beyond the bound callers are told to come back, and everybody is answered', async () => {
    await using small = await serve([{ id: 'calm', rego: HARMLESS }], { max_open_decisions: 8 });
    const answers = await Promise.all(Array.from({ length: 200 }, () => check(small.data, asks('calm'))));
    const allowed = answers.filter(({ body }) => body.decision === 'DECISION_ALLOW');
    const refused = answers.filter(({ status }) => status !== 200);
    expect(allowed.length + refused.length).toBe(200);
    expect(allowed.length).toBeGreaterThan(0);
    for (const { body } of refused) expect(body).toMatchObject({ code: 'resource_exhausted' });
    expect((await check(small.data, asks('calm'))).status).toBe(200);
  });
});
