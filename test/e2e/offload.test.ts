import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Overrides } from '../../src/config.ts';
import { asks, type Served, serve } from '../containment/tenants.ts';
import { logIn } from '../fault/log.ts';
import { failure, Grpc, struct } from './grpc.ts';
import { check, connect, request } from './requests.ts';
import { bearer, sha256 } from './server.ts';

/** The decision threads decide as main does, and know what main knows. */

const SECRET = 'offload-test-enforcement-point-secret-01';
const caller = { class: 'service', id: 'pep', credentials: [{ secret_sha256: sha256(SECRET) }] };
const principals = [{ class: 'user', id: 'u', roles: ['reader'], properties: { team: 'a' } }, caller];

const POLICY = `package authz

default allow := false

allow if {
	input.action.name == "read"
	"reader" in input.subject.roles
}

allow if {
	input.action.name == "loop"
	xs := numbers.range(1, 200000)
	count([1 | some x in xs; some y in xs; x + y == -1]) == 0
}

deny contains {"code": "archived", "message": "it rests"} if input.resource.properties.archived

obligations contains {"type": "watermark", "on": "allow"} if input.context.marked
`;

interface Answer {
  decision: string;
  reasons: { code: string }[];
  obligations: object[];
  decision_id: string;
  policy_revision: string;
  record_index: number;
  cost: number;
}

const workers: Worker[] = [];
const watch = (worker: Worker): void => void workers.push(worker);

async function started(overrides: Overrides = {}): Promise<{ served: Served; pep: Grpc }> {
  const served = await serve(
    [
      { id: 'one', rego: POLICY, manifest: { principals } },
      { id: 'two', rego: 'package authz\n\nallow := true\n', manifest: { principals } },
    ],
    { fuel: 3_000_000, ...overrides },
  );
  const pep = new Grpc(served.data, SECRET);
  // The first request that could use it makes it start.
  await ask(pep, 'one');
  await until(() => served.mandate.services.offload?.ready === 1);
  return { served, pep };
}

const ask = (pep: Grpc, tenant: string, changes: object = {}): Promise<Answer> =>
  pep.call<Answer>('DecisionService', 'Check', { ...asks(tenant), context: struct({}), ...changes });

/** Runs calls and counts those that the thread answered. */
async function onThread<T>(served: Served, calls: () => Promise<T>): Promise<{ value: T; answered: number }> {
  const before = served.mandate.services.offload?.answered ?? 0;
  const value = await calls();
  return { value, answered: (served.mandate.services.offload?.answered ?? 0) - before };
}

let served: Served;
let pep: Grpc;
beforeAll(async () => {
  process.on('worker', watch);
  ({ served, pep } = await started());
});
afterAll(async () => {
  process.off('worker', watch);
  pep[Symbol.dispose]();
  await served[Symbol.asyncDispose]();
});

describe('what the decision thread answers', () => {
  const archived = { resource: { type: 'thing', id: 't', properties: struct({ archived: true }) } };
  test.each([
    ['an allow', {}],
    ['a deny with a reason', archived],
    ['a deny without', { action: { name: 'write' } }],
    ['an obligation', { context: struct({ marked: true }) }],
    ['somebody unknown', { subject: { type: 'user', id: 'nobody' } }],
    [
      'properties the caller states',
      { subject: { type: 'user', id: 'u', properties: struct({ team: 'b', x: 1 }) } },
    ],
  ])('is what main would: %s', async (_, changes) => {
    const { value, answered } = await onThread(served, () => ask(pep, 'one', changes));
    expect(answered).toBe(1);
    const json = JSON.parse(JSON.stringify({ ...asks('one'), ...changes }, unstruct)) as object;
    const { body } = await check(served.data, json, bearer(SECRET));
    const { cost = 0, policyRevision } = body as { cost?: number; policyRevision?: string };
    expect(value).toMatchObject({ decision: body.decision, cost, policy_revision: policyRevision });
    expect(value.reasons.map(({ code }) => code)).toEqual((body.reasons ?? []).map(({ code }) => code));
    expect(value.obligations.length).toBe((body.obligations ?? []).length);
    const { body: log } = await connect<{
      records: { decisionId: string; caller: string; outcome: string }[];
    }>(served.admin, 'AuditService/Query', { tenant: 'one', decisionId: value.decision_id });
    expect(log.records).toMatchObject([{ decisionId: value.decision_id, caller: 'service:pep' }]);
  });

  test('a batch, with one record an item, side by side', async () => {
    const items = Array.from({ length: 300 }, (_, at) => ({ resource: { type: 'thing', id: String(at) } }));
    const { value, answered } = await onThread(served, () =>
      pep.call<{ results: Answer[] }>('DecisionService', 'CheckBatch', {
        ...asks('one'),
        context: undefined,
        items,
      }),
    );
    expect(answered).toBe(1);
    const [first] = value.results;
    expect(value.results.map(({ record_index }) => record_index)).toEqual(
      items.map((_, at) => (first?.record_index ?? 0) + at),
    );
  });

  test('a stream of both tenants, each message in its own', async () => {
    const stream = pep.duplex('DecisionService', 'CheckStream');
    const answers: { correlation_id: number; response?: Answer; error?: { code: string } }[] = [];
    stream.on('data', (answer) => answers.push(answer as never));
    for (let id = 1; id <= 200; id += 1) {
      const tenant = ['one', 'two', 'nowhere'][id % 3] as string;
      const message = { ...asks(tenant, 'write'), context: undefined };
      stream.write({ correlation_id: id, request: message });
    }
    stream.end();
    await once(stream, 'end');
    const said = answers
      .toSorted((a, b) => a.correlation_id - b.correlation_id)
      .map(({ response, error }) => error?.code ?? response?.decision);
    expect(said).toEqual(
      Array.from(
        { length: 200 },
        (_, at) => ['DECISION_DENY', 'DECISION_ALLOW', 'tenant_unknown'][(at + 1) % 3],
      ),
    );
  });

  test('is counted in the metrics, and wakes who follows the log', async () => {
    const counted = async (): Promise<number> => {
      const { body } = await request<{ text: string }>(`${served.admin}/metrics`);
      return Number(
        /mandate_decisions_total\{tenant="two",outcome="allow"\} (\d+)/.exec(body.text)?.[1] ?? 0,
      );
    };
    const before = await counted();
    const { answered } = await onThread(served, () => Promise.all([1, 2, 3].map(() => ask(pep, 'two'))));
    expect(answered).toBe(3);
    expect(await counted()).toBe(before + 3);
  });
});

describe('what the decision thread refuses is refused as main would', () => {
  test.each([
    ['a wrong credential', 'unauthenticated', () => new Grpc(served.data, 'wrong'), asks('one')],
    ['an unknown tenant', 'tenant_unknown', () => pep, asks('nowhere')],
    ['no action', 'invalid_request', () => pep, { ...asks('one'), action: undefined }],
    [
      'an unknown class',
      'principal_class_unknown',
      () => pep,
      { ...asks('one'), subject: { type: 'x', id: 'u' } },
    ],
  ])('%s', async (_, code, by, message) => {
    const client = by();
    const { code: said } = await failure(
      client.call('DecisionService', 'Check', { ...message, context: undefined }),
    );
    expect(said).toBe(code);
    if (client !== pep) client[Symbol.dispose]();
  });

  test('a member that runs over the end of another, so that two readers see two tenants', async () => {
    // tenant one; an action of two bytes whose name claims five; an audience in which the generated code finds tenant two.
    const action = [0x22, 2, 0x0a, 5];
    const audience = [0x3a, 8, 0x70, 0x71, 0x72, 0x0a, 3, ...Buffer.from('two')];
    const bytes = Buffer.from([0x0a, 3, ...Buffer.from('one'), ...action, ...audience]);
    const { value, answered } = await onThread(served, () =>
      failure(pep.raw('DecisionService', 'Check', bytes)),
    );
    expect(value.code).toBe('invalid_request');
    expect(answered).toBe(1);
    // The same with a token in the place of the second tenant.
    const hidden = [0x3a, 8, 0x70, 0x71, 0x72, 0x1a, 3, ...Buffer.from('tok')];
    const other = Buffer.from([0x0a, 3, ...Buffer.from('one'), ...action, ...hidden]);
    expect((await failure(pep.raw('DecisionService', 'Check', other))).code).toBe('invalid_request');
  });

  test('a policy that loops: denied, slowed down, and shown as degraded by main', async () => {
    const loops = await Promise.allSettled(
      Array.from({ length: 12 }, () => ask(pep, 'one', { action: { name: 'loop' } })),
    );
    const denied = loops.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    expect(denied.length).toBeGreaterThan(0);
    for (const { decision, reasons, cost } of denied) {
      expect([decision, reasons[0]?.code]).toEqual(['DECISION_DENY', 'deadline_exceeded']);
      expect(cost).toBe(3_000_000);
    }
    expect(denied.length).toBeLessThan(12);
    const { body } = await request<{ text: string }>(`${served.data}/readyz?verbose`);
    expect(body.text).toMatch(/tenant one: its policy failed repeatedly \(deadline_exceeded\)/);
    expect((await ask(pep, 'two')).decision).toBe('DECISION_ALLOW');
  });
});

describe('what changes counts for the next decision of the thread', () => {
  test('a disabled principal, and one that is enabled again', async () => {
    await using fresh = await own();
    const set = async (status: string): Promise<string> => {
      await connect(fresh.served.admin, 'TenantService/SetPrincipalStatus', {
        tenant: 'two',
        class: 'user',
        id: 'u',
        status: `PRINCIPAL_STATUS_${status}`,
      });
      const { value, answered } = await onThread(fresh.served, () => ask(fresh.pep, 'two'));
      expect(answered).toBe(1);
      return value.decision;
    };
    expect(await set('DISABLED')).toBe('DECISION_DENY');
    expect(await set('ACTIVE')).toBe('DECISION_ALLOW');
  });

  test('a principal disabled after the tenant changed, with no decision in between', async () => {
    await using fresh = await own();
    expect((await ask(fresh.pep, 'two')).decision).toBe('DECISION_ALLOW');
    const { folder } = fresh.served.mandate.tenants.get('two');
    await writeFile(path.join(folder, 'policy.rego'), 'package authz\n\nallow if true\n');
    await connect(fresh.served.admin, 'PolicyService/ReloadPolicy', { tenant: 'two' });
    await connect(fresh.served.admin, 'TenantService/SetPrincipalStatus', {
      tenant: 'two',
      class: 'user',
      id: 'u',
      status: 'PRINCIPAL_STATUS_DISABLED',
    });
    const { value, answered } = await onThread(fresh.served, () => ask(fresh.pep, 'two'));
    expect([answered, value.decision]).toEqual([1, 'DECISION_DENY']);
  });

  test.each([
    ['disabled', [{ ...principals[0], status: 'disabled' }, caller]],
    ['taken out', [caller]],
  ])('a principal %s in the manifest', async (_, left) => {
    await using fresh = await own();
    const decisions = async (): Promise<unknown[]> => {
      const { value, answered } = await onThread(fresh.served, () => ask(fresh.pep, 'two'));
      expect(answered).toBe(1);
      const { body } = await check(fresh.served.data, asks('two'), bearer(SECRET));
      return [value.decision, body.decision];
    };
    expect(await decisions()).toEqual(['DECISION_ALLOW', 'DECISION_ALLOW']);
    const { folder } = fresh.served.mandate.tenants.get('two');
    await writeFile(path.join(folder, 'tenant.yaml'), JSON.stringify({ id: 'two', principals: left }));
    await connect(fresh.served.admin, 'PolicyService/ReloadPolicy', { tenant: 'two' });
    expect(await decisions()).toEqual(['DECISION_DENY', 'DECISION_DENY']);
  });

  test('a policy that was edited, and a credential that was taken out', async () => {
    await using fresh = await own();
    const folder = fresh.served.mandate.tenants.get('two').folder;
    const reload = () => connect(fresh.served.admin, 'PolicyService/ReloadPolicy', { tenant: 'two' });
    await writeFile(path.join(folder, 'policy.rego'), 'package authz\n\nallow := false\n');
    await reload();
    const { value, answered } = await onThread(fresh.served, () => ask(fresh.pep, 'two'));
    expect([answered, value.decision]).toEqual([1, 'DECISION_DENY']);
    await writeFile(
      path.join(folder, 'tenant.yaml'),
      JSON.stringify({ id: 'two', principals: [principals[0]] }),
    );
    await reload();
    expect(await failure(ask(fresh.pep, 'two'))).toMatchObject({ code: 'unauthenticated' });
  });
});

test('without a decision thread main decides alone', async () => {
  const tenant = { id: 'two', rego: 'package authz\n\nallow := true\n', manifest: { principals } };
  await using alone = await serve([tenant], { decision_threads: 0 });
  using client = new Grpc(alone.data, SECRET);
  expect((await ask(client, 'two')).decision).toBe('DECISION_ALLOW');
  expect(alone.mandate.services.offload).toBeUndefined();
});

test('a thread that dies takes no decision with it: who waits gets an error, and main decides on', async () => {
  const known = workers.length;
  await using fresh = await own();
  const thread = workers.slice(known).at(-1);
  const asked = Promise.allSettled(Array.from({ length: 100 }, () => ask(fresh.pep, 'two')));
  await Promise.race([asked, delay(2)]);
  await thread?.terminate();
  const answers = (await asked).flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  expect((await ask(fresh.pep, 'two')).decision).toBe('DECISION_ALLOW');
  expect(fresh.served.mandate.services.offload?.ready).toBe(0);
  const { body } = await request<{ text: string }>(`${fresh.served.data}/readyz?verbose`);
  expect(body.text).toContain('a decision thread ended; main decides alone until another starts');
  const store = path.join(path.dirname(path.dirname(fresh.served.mandate.tenants.get('two').folder)), 'data');
  const recorded = new Map(logIn(store, 'two').map(({ index, decisionId }) => [index, decisionId]));
  for (const { record_index, decision_id } of answers) expect(recorded.get(record_index)).toBe(decision_id);
  // After a rest another one starts.
  const now = performance.now.bind(performance);
  using _ = vi.spyOn(performance, 'now').mockImplementation(() => now() + 11_000);
  await ask(fresh.pep, 'two');
  await until(() => fresh.served.mandate.services.offload?.ready === 1);
  const again = await onThread(fresh.served, () => ask(fresh.pep, 'two'));
  expect([again.answered, again.value.decision]).toEqual([1, 'DECISION_ALLOW']);
  expect((await request<{ text: string }>(`${fresh.served.data}/readyz?verbose`)).body.text).toBe('ready\n');
});

test('what one thread is behind with goes to a second, which knows what the first knows', async () => {
  await using fresh = await own({ decision_threads: 2 });
  const { offload } = fresh.served.mandate.services;
  await flood(fresh.pep);
  await until(() => offload?.ready === 2);
  const { value: before, answered } = await onThread(fresh.served, () => flood(fresh.pep));
  expect(answered).toBe(FLOOD);
  expect(before).toEqual({ DECISION_ALLOW: FLOOD });
  await connect(fresh.served.admin, 'TenantService/SetPrincipalStatus', {
    tenant: 'two',
    class: 'user',
    id: 'u',
    status: 'PRINCIPAL_STATUS_DISABLED',
  });
  expect(await flood(fresh.pep)).toEqual({ DECISION_DENY: FLOOD });
  const store = path.join(path.dirname(path.dirname(fresh.served.mandate.tenants.get('two').folder)), 'data');
  const indexes = logIn(store, 'two').map(({ index }) => index);
  expect(indexes).toEqual(indexes.map((_, at) => at));
});

/** More than a thread takes before the next one is asked, whatever it does meanwhile. */
const FLOOD = 4_000;

/** How often each decision was given. */
async function flood(pep: Grpc): Promise<Record<string, number>> {
  const stream = pep.duplex('DecisionService', 'CheckStream');
  const said: Record<string, number> = {};
  stream.on('data', ({ response, error }: { response?: Answer; error?: { code: string } }) => {
    const word = response?.decision ?? error?.code ?? '';
    said[word] = (said[word] ?? 0) + 1;
  });
  const message = { ...asks('two'), context: struct({ padding: 'x'.repeat(1_000) }) };
  for (let id = 1; id <= FLOOD; id += 1) stream.write({ correlation_id: id, request: message });
  stream.end();
  await once(stream, 'end');
  return said;
}

async function until(holds: () => boolean): Promise<void> {
  for (let turn = 0; turn < 500 && !holds(); turn += 1) await delay(10);
  expect(holds()).toBe(true);
}

test('threads start one after the other, each when those before it are behind', async () => {
  const readyAtStart: (number | undefined)[] = [];
  await using fresh = await own({ decision_threads: 3 });
  const note = (): void => void readyAtStart.push(fresh.served.mandate.services.offload?.ready);
  process.on('worker', note);
  await Promise.all([flood(fresh.pep), flood(fresh.pep)]);
  await until(() => (fresh.served.mandate.services.offload?.ready ?? 0) > readyAtStart.length);
  process.off('worker', note);
  expect(readyAtStart.length).toBeGreaterThan(0);
  expect(readyAtStart).toEqual(readyAtStart.map((_, at) => at + 1));
});

test('a failing policy has its share once, however many threads there are', async () => {
  await using fresh = await own({ decision_threads: 3 });
  for (let turn = 0; turn < 5 && fresh.served.mandate.services.offload?.ready !== 3; turn += 1)
    await Promise.all([flood(fresh.pep), flood(fresh.pep)]);
  const stream = fresh.pep.duplex('DecisionService', 'CheckStream');
  let failed = 0;
  const began = Date.now();
  stream.on('data', ({ response }: { response?: Answer }) => {
    if (response?.reasons[0]?.code === 'deadline_exceeded') failed += 1;
  });
  for (let round = 0; round < 20; round += 1) {
    const context = struct({ padding: 'x'.repeat(20_000) });
    for (let id = 1; id <= 10; id += 1)
      stream.write({ correlation_id: id, request: { ...asks('one', 'loop'), context } });
    await delay(20);
  }
  stream.end();
  await once(stream, 'end');
  // A burst of three, eight a second after it, and what each thread had begun before main heard.
  const share = 3 + (8 * (Date.now() - began)) / 1_000 + 3;
  expect(failed).toBeGreaterThan(0);
  expect(failed).toBeLessThanOrEqual(share);
});

async function own(overrides: Overrides = {}): Promise<{ served: Served; pep: Grpc } & AsyncDisposable> {
  const fresh = await started(overrides);
  return {
    ...fresh,
    [Symbol.asyncDispose]: async () => {
      fresh.pep[Symbol.dispose]();
      await fresh.served[Symbol.asyncDispose]();
    },
  };
}

/** proto-loader's form of a Struct, back to JSON. */
function unstruct(_: string, value: unknown): unknown {
  const { fields } = (value ?? {}) as { fields?: Record<string, { [kind: string]: unknown }> };
  return fields
    ? Object.fromEntries(Object.entries(fields).map(([name, each]) => [name, Object.values(each)[0]]))
    : value;
}
