import { once } from 'node:events';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';
import { describe, expect, test, vi } from 'vitest';
import { asks, serve } from '../../containment/tenants.ts';
import { logIn } from '../../fault/log.ts';
import { Grpc, struct } from '../grpc.ts';
import { connect, request } from '../requests.ts';
import {
  type Answer,
  ask,
  askAlone,
  FLOOD,
  flood,
  onThread,
  principals,
  SECRET,
  started,
  until,
} from './started.ts';

/** How many decision threads there are, when they start, and what becomes of requests when one ends. */

test('without a decision thread main decides alone', async () => {
  const tenant = { id: 'two', rego: 'package authz\n\nallow := true\n', manifest: { principals } };
  await using alone = await serve([tenant], { decision_threads: 0 });
  using client = new Grpc(alone.data, SECRET);
  expect((await ask(client, 'two')).decision).toBe('DECISION_ALLOW');
  expect(alone.mandate.services.offload).toBeUndefined();
});

test('a thread that dies takes no decision with it: who waits gets an error, and main decides on', async () => {
  const workers: Worker[] = [];
  const watch = (worker: Worker): void => void workers.push(worker);
  process.on('worker', watch);
  await using fresh = await started();
  process.off('worker', watch);
  const thread = workers.at(-1);
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
  await using fresh = await started({ decision_threads: 2 });
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

test('threads start one after the other, each when those before it are behind', async () => {
  const readyAtStart: (number | undefined)[] = [];
  await using fresh = await started({ decision_threads: 3 });
  const note = (): void => void readyAtStart.push(fresh.served.mandate.services.offload?.ready);
  process.on('worker', note);
  await Promise.all([flood(fresh.pep), flood(fresh.pep)]);
  await until(() => (fresh.served.mandate.services.offload?.ready ?? 0) > readyAtStart.length);
  process.off('worker', note);
  expect(readyAtStart.length).toBeGreaterThan(0);
  expect(readyAtStart).toEqual(readyAtStart.map((_, at) => at + 1));
});

test('a failing policy has its share once, however many threads there are', async () => {
  await using fresh = await started({ decision_threads: 3 });
  for (let turn = 0; turn < 5 && fresh.served.mandate.services.offload?.ready !== 3; turn += 1)
    await Promise.all([flood(fresh.pep), flood(fresh.pep)]);
  const stream = fresh.pep.duplex('DecisionService', 'CheckStream');
  let failed = 0;
  const began = Date.now();
  stream.on('data', ({ response }: { response?: Answer }) => {
    if (response?.reasons[0]?.code === 'deadline_exceeded') failed += 1;
  });
  for (let round = 0; round < 20; round += 1) {
    const context = struct({ padding: 'x'.repeat(3_000) });
    for (let id = 1; id <= 10; id += 1)
      stream.write({ correlation_id: id, request: { ...asks('one', 'loop'), context } });
    await delay(20);
  }
  stream.end();
  await once(stream, 'end');
  // A burst of three, eight a second after it, and what each thread had begun before main heard: one and the next.
  const share = 3 + (8 * (Date.now() - began)) / 1_000 + 6;
  expect(failed).toBeGreaterThan(0);
  expect(failed).toBeLessThanOrEqual(share);
});

describe('a single call', () => {
  test('is decided by main where it is cheap, and needs no thread', async () => {
    await using fresh = await started();
    const { value, answered } = await onThread(fresh.served, () => askAlone(fresh.pep, 'two'));
    expect([answered, value.decision]).toEqual([0, 'DECISION_ALLOW']);
  });

  test('goes to a thread where it is large', async () => {
    await using fresh = await started();
    const context = struct({ padding: 'x'.repeat(5_000) });
    const { value, answered } = await onThread(fresh.served, () => askAlone(fresh.pep, 'two', { context }));
    expect([answered, value.decision]).toEqual([1, 'DECISION_ALLOW']);
  });

  test("goes to a thread once the tenant's decisions are dear, and not the others'", async () => {
    await using fresh = await started();
    const dear = { action: { name: 'dear' } };
    const first = await onThread(fresh.served, () => askAlone(fresh.pep, 'one', dear));
    expect(first.value.cost).toBeGreaterThan(200_000);
    const second = await onThread(fresh.served, () => askAlone(fresh.pep, 'one', dear));
    const other = await onThread(fresh.served, () => askAlone(fresh.pep, 'two'));
    expect([first.answered, second.answered, other.answered]).toEqual([0, 1, 0]);
  });
});
