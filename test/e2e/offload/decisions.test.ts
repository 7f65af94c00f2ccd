import { once } from 'node:events';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { asks } from '../../containment/tenants.ts';
import { failure, Grpc, struct } from '../grpc.ts';
import { check, connect, request } from '../requests.ts';
import { bearer } from '../server.ts';
import { type Answer, ask, onThread, SECRET, type Started, started } from './started.ts';

/** The decision threads decide as main does. */

let fresh: Started;
beforeAll(async () => {
  fresh = await started();
});
afterAll(() => fresh[Symbol.asyncDispose]());

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
    const { value, answered } = await onThread(fresh.served, () => ask(fresh.pep, 'one', changes));
    expect(answered).toBe(1);
    const json = JSON.parse(JSON.stringify({ ...asks('one'), ...changes }, unstruct)) as object;
    const { body } = await check(fresh.served.data, json, bearer(SECRET));
    const { cost = 0, policyRevision } = body as { cost?: number; policyRevision?: string };
    expect(value).toMatchObject({ decision: body.decision, cost, policy_revision: policyRevision });
    expect(value.reasons.map(({ code }) => code)).toEqual((body.reasons ?? []).map(({ code }) => code));
    expect(value.obligations.length).toBe((body.obligations ?? []).length);
    const { body: log } = await connect<{
      records: { decisionId: string; caller: string; outcome: string }[];
    }>(fresh.served.admin, 'AuditService/Query', { tenant: 'one', decisionId: value.decision_id });
    expect(log.records).toMatchObject([{ decisionId: value.decision_id, caller: 'service:pep' }]);
  });

  test('a batch, with one record an item, side by side', async () => {
    const items = Array.from({ length: 300 }, (_, at) => ({ resource: { type: 'thing', id: String(at) } }));
    const { value, answered } = await onThread(fresh.served, () =>
      fresh.pep.call<{ results: Answer[] }>('DecisionService', 'CheckBatch', {
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

  test('a batch that nobody waits for any more goes no further, on the thread and on main', async () => {
    const items = Array.from({ length: 4_000 }, (_, at) => ({ resource: { type: 'thing', id: String(at) } }));
    const dear = { tenant: 'one', subject: { type: 'user', id: 'u' }, action: { name: 'dear' }, items };
    const { no } = fresh.served.mandate.tenants.get('one');
    const size = (): number => fresh.served.mandate.services.records.size(no);
    const before = size();
    const deadline = Date.now() + 150;
    const { answered } = await onThread(fresh.served, async () => {
      expect(
        await failure(fresh.pep.call('DecisionService', 'CheckBatch', dear, { deadline })),
      ).toMatchObject({
        status: status.DEADLINE_EXCEEDED,
      });
      // Whoever comes after it is answered once the thread has given it up.
      await ask(fresh.pep, 'one');
    });
    expect(answered).toBe(2);
    const { status: late } = await request(`${fresh.served.data}/mandate.v1.DecisionService/CheckBatch`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        authorization: bearer(SECRET),
        'connect-timeout-ms': '150',
      },
      body: JSON.stringify(dear),
    });
    expect(late).toBe(504);
    expect(size()).toBe(before + 1);
  });

  test('a stream of both tenants, each message in its own', async () => {
    const stream = fresh.pep.duplex('DecisionService', 'CheckStream');
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
      const { body } = await request<{ text: string }>(`${fresh.served.admin}/metrics`);
      return Number(
        /mandate_decisions_total\{tenant="two",outcome="allow"\} (\d+)/.exec(body.text)?.[1] ?? 0,
      );
    };
    const before = await counted();
    const { answered } = await onThread(fresh.served, () =>
      Promise.all([1, 2, 3].map(() => ask(fresh.pep, 'two'))),
    );
    expect(answered).toBe(3);
    expect(await counted()).toBe(before + 3);
  });
});

describe('what the decision thread refuses is refused as main would', () => {
  test.each([
    ['a wrong credential', 'unauthenticated', () => new Grpc(fresh.served.data, 'wrong'), asks('one')],
    ['an unknown tenant', 'tenant_unknown', () => fresh.pep, asks('nowhere')],
    ['no action', 'invalid_request', () => fresh.pep, { ...asks('one'), action: undefined }],
    [
      'an unknown class',
      'principal_class_unknown',
      () => fresh.pep,
      { ...asks('one'), subject: { type: 'x', id: 'u' } },
    ],
  ])('%s', async (_, code, by, message) => {
    const client = by();
    const { code: said } = await failure(
      client.call('DecisionService', 'Check', { ...message, context: undefined }),
    );
    expect(said).toBe(code);
    if (client !== fresh.pep) client[Symbol.dispose]();
  });

  test('a member that runs over the end of another, so that two readers see two tenants', async () => {
    // tenant one; an action of two bytes whose name claims five; an audience in which the generated code finds tenant two.
    const action = [0x22, 2, 0x0a, 5];
    const audience = [0x3a, 8, 0x70, 0x71, 0x72, 0x0a, 3, ...Buffer.from('two')];
    // A member that nobody knows, so that it is large enough to be handed over.
    const large = [0x7a, 0x80, 0x20, ...Buffer.alloc(4_096)];
    const bytes = Buffer.from([0x0a, 3, ...Buffer.from('one'), ...large, ...action, ...audience]);
    const { value, answered } = await onThread(fresh.served, () =>
      failure(fresh.pep.raw('DecisionService', 'Check', bytes)),
    );
    expect(value.code).toBe('invalid_request');
    expect(answered).toBe(1);
    // The same with a token in the place of the second tenant.
    const hidden = [0x3a, 8, 0x70, 0x71, 0x72, 0x1a, 3, ...Buffer.from('tok')];
    const other = Buffer.from([0x0a, 3, ...Buffer.from('one'), ...large, ...action, ...hidden]);
    expect((await failure(fresh.pep.raw('DecisionService', 'Check', other))).code).toBe('invalid_request');
  });

  test('a policy that loops: denied, slowed down, and shown as degraded by main', async () => {
    const loops = await Promise.allSettled(
      Array.from({ length: 12 }, () => ask(fresh.pep, 'one', { action: { name: 'loop' } })),
    );
    const denied = loops.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    expect(denied.length).toBeGreaterThan(0);
    for (const { decision, reasons, cost } of denied) {
      expect([decision, reasons[0]?.code]).toEqual(['DECISION_DENY', 'deadline_exceeded']);
      expect(cost).toBe(3_000_000);
    }
    expect(denied.length).toBeLessThan(12);
    const { body } = await request<{ text: string }>(`${fresh.served.admin}/readyz?verbose`);
    expect(body.text).toMatch(/tenant one: its policy failed repeatedly \(deadline_exceeded\)/);
    expect((await ask(fresh.pep, 'two')).decision).toBe('DECISION_ALLOW');
  });
});

/** proto-loader's form of a Struct, back to JSON. */
function unstruct(_: string, value: unknown): unknown {
  const { fields } = (value ?? {}) as { fields?: Record<string, { [kind: string]: unknown }> };
  return fields
    ? Object.fromEntries(Object.entries(fields).map(([name, each]) => [name, Object.values(each)[0]]))
    : value;
}
