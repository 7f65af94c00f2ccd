import { once } from 'node:events';
import path from 'node:path';
import type { Worker } from 'node:worker_threads';
import { describe, expect, test, vi } from 'vitest';
import { readConfig } from '../../../src/config.ts';
import type { Served } from '../../containment/tenants.ts';
import { logIn } from '../../fault/log.ts';
import type { Grpc } from '../grpc.ts';
import { request } from '../requests.ts';
import { eventually } from '../server.ts';
import { type Answer, allSay, alone, ask, started, THREADS, watched } from './started.ts';

/** What becomes of connections, and of what is asked on them, when a thread ends; and when the server does. */

const ready = ({ mandate }: Served): number | undefined => mandate.services.accepting?.ready;
const verbose = async (served: Served): Promise<string> =>
  (await request<{ text: string }>(`${served.admin}/readyz?verbose`)).body.text;

/** Which record each decision has, as the files say it. */
function recorded({ mandate }: Served, tenant: string): Map<number, string> {
  const store = path.join(path.dirname(path.dirname(mandate.tenants.get(tenant).folder)), 'data');
  return new Map(logIn(store, tenant).map(({ index, decisionId }) => [index, decisionId]));
}

interface Asked {
  readonly answers: Answer[];
  readonly errors: { code: number; details: string }[];
}

/** Asks on and on over each connection; one whose call failed asks no more. */
function asking(peps: readonly Grpc[]): Asked & { stop(): Promise<void> } {
  const seen: Asked = { answers: [], errors: [] };
  const state = { over: false };
  const under = peps.map(async (pep) => {
    while (!state.over)
      try {
        seen.answers.push(await ask(pep, 'two'));
      } catch (error) {
        seen.errors.push(error as Asked['errors'][number]);
        return;
      }
  });
  return {
    ...seen,
    stop: async () => {
      state.over = true;
      await Promise.all(under);
    },
  };
}

/** Later than any rest is over. */
const later = (): Disposable => {
  const now = performance.now.bind(performance);
  return vi.spyOn(performance, 'now').mockImplementation(() => now() + 11_000);
};

describe('a thread that ends', () => {
  test('ends its connections, and no others; no answer was given without its record', async () => {
    await using fresh = await watched();
    await allSay(fresh, 'two', 'DECISION_ALLOW');
    const load = asking(fresh.peps);
    await eventually(
      async () => load.answers.length,
      (count) => count > 100,
    );
    await fresh.workers[0]?.terminate();
    const before = load.answers.length;
    await eventually(
      async () => load.answers.length,
      (count) => count > before + 100,
    );
    await load.stop();
    // It had some of the connections, and the other one has the rest.
    expect(load.errors.length).toBeGreaterThan(0);
    expect(load.errors.length).toBeLessThan(fresh.peps.length);
    expect(new Set(load.errors.map(({ code }) => code))).toEqual(new Set([14]));
    const log = recorded(fresh.served, 'two');
    for (const { record_index, decision_id } of load.answers) expect(log.get(record_index)).toBe(decision_id);
    expect(ready(fresh.served)).toBe(1);
    expect(await verbose(fresh.served)).toContain(
      'a thread that accepts connections ended; others accept until another starts',
    );
    // Whoever connects anew is taken by the one that is left.
    await allSay(fresh, 'two', 'DECISION_ALLOW');
  });

  test('is followed by another after a rest', async () => {
    await using fresh = await watched();
    const [first] = fresh.workers;
    await first?.terminate();
    expect(ready(fresh.served)).toBe(1);
    await eventually(
      async () => ready(fresh.served),
      (count) => count === 2,
    );
    expect(fresh.workers.length).toBe(3);
    using _ = later();
    expect(await verbose(fresh.served)).not.toContain('accepts connections ended');
    await allSay(fresh, 'two', 'DECISION_ALLOW');
  });

  test('was the last: main accepts until others start', async () => {
    await using fresh = await watched({ accept_threads: 1 }, undefined, 4);
    await allSay(fresh, 'two', 'DECISION_ALLOW');
    await fresh.workers[0]?.terminate();
    expect(ready(fresh.served)).toBe(0);
    expect(await verbose(fresh.served)).toContain('main accepts until another starts');
    const pep = alone(fresh.served.data);
    // The port is opened in a turn of its own.
    await eventually(
      () => ask(pep, 'two').catch(() => undefined),
      (answer) => answer?.decision === 'DECISION_ALLOW',
    );
    const { mandate } = fresh.served;
    const before = mandate.services.accepting?.counts;
    expect((await ask(pep, 'two')).decision).toBe('DECISION_ALLOW');
    expect(mandate.services.accepting?.counts).toEqual(before);
    await eventually(
      async () => ready(fresh.served),
      (count) => count === 1,
    );
    // A connection of main's stays where it is, and new ones are the thread's.
    expect((await ask(pep, 'two')).decision).toBe('DECISION_ALLOW');
    await allSay({ served: fresh.served, peps: fresh.peps }, 'two', 'DECISION_ALLOW');
    pep[Symbol.dispose]();
  });

  test('and another after it: main accepts meanwhile, and nothing once the next one does', async () => {
    await using fresh = await watched({ accept_threads: 1 }, undefined, 0);
    const end = (worker: Worker): void => {
      if (worker.threadName !== 'mandate-accepting') return;
      process.off('worker', end);
      void worker.terminate();
    };
    process.on('worker', end);
    await fresh.workers[0]?.terminate();
    await eventually(
      async () => fresh.workers.length === 3 && ready(fresh.served) === 1,
      (isNext) => isNext,
    );
    const { accepting } = fresh.served.mandate.services;
    // Main's door closes a moment after the thread's has opened.
    await eventually(
      async () => {
        const peps = Array.from({ length: 12 }, () => alone(fresh.served.data));
        const before = accepting?.counts.handed ?? 0;
        // One that comes as the door closes is ended.
        await Promise.all(peps.map((pep) => ask(pep, 'two').catch(() => undefined)));
        for (const pep of peps) pep[Symbol.dispose]();
        return (accepting?.counts.handed ?? 0) - before;
      },
      (handed) => handed === 12,
    );
  });

  test('gives back the places of its connections, and of decisions under way', async () => {
    await using fresh = await watched({ max_connections_per_address: 16, max_open_decisions: 40 });
    await allSay(fresh, 'two', 'DECISION_ALLOW');
    const load = fresh.peps.flatMap((pep) =>
      Array.from({ length: 50 }, () => ask(pep, 'two').catch(() => undefined)),
    );
    await Promise.race(load);
    await Promise.all(fresh.workers.map((worker) => worker.terminate()));
    await Promise.all(load);
    await eventually(
      async () => ready(fresh.served),
      (count) => count === 2,
    );
    const open = async (): Promise<string | undefined> => {
      const { body } = await request<{ text: string }>(`${fresh.served.admin}/metrics`);
      return /^mandate_decisions_open (\d+)$/m.exec(body.text)?.[1];
    };
    expect(await eventually(open, (count) => count === '0')).toBe('0');
    // Sixteen connections again, which is all that the address may have.
    await eventually(
      async () => {
        const answers = await Promise.all(fresh.peps.map((pep) => ask(pep, 'two').catch(() => undefined)));
        return answers.filter((answer) => answer?.decision === 'DECISION_ALLOW').length;
      },
      (count) => count === fresh.peps.length,
    );
  });

  test('ends the requests that main served for it, and what they had taken there is free', async () => {
    // A stranger has a hundred streams of one connection.
    await using fresh = await watched({ accept_threads: 1 }, undefined, 2);
    const { peps } = fresh;
    // So many calls without a credential may be open; health is watched by main.
    const watching = async (count: number): Promise<(number | undefined)[]> => {
      const firsts = Array.from({ length: count }, (_, at) => {
        const stream = (peps[at % 2] as Grpc).stream('grpc.health.v1.Health', 'Watch', { service: '' });
        const ended = new Promise<number>((resolve) =>
          stream.on('error', ({ code }: { code: number }) => resolve(code)),
        );
        ends.push(ended);
        return Promise.race([once(stream, 'data').then(() => undefined), ended]);
      });
      return await Promise.all(firsts);
    };
    const ends: Promise<number>[] = [];
    expect(await watching(128)).toEqual(Array.from({ length: 128 }, () => undefined));
    expect(await watching(1)).toEqual([8]);
    await fresh.workers[0]?.terminate();
    expect(new Set((await Promise.all(ends)).slice(0, 128))).toEqual(new Set([14]));
    expect(
      await eventually(
        () => watching(1),
        ([first]) => first !== 14,
      ),
    ).toEqual([undefined]);
    expect(await watching(127)).toEqual(Array.from({ length: 127 }, () => undefined));
  });
});

describe('the port', () => {
  test('is not shared with a second server', async () => {
    await using first = await started({}, undefined, 0);
    const data = `127.0.0.1:${first.served.mandate.dataPort}`;
    await expect(started({ data }, undefined, 0)).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringContaining('is Mandate running already?'),
    });
    await expect(started({ data, accept_threads: 0 }, undefined, 0)).rejects.toMatchObject({
      code: 'config_invalid',
    });
    const pep = alone(first.served.data);
    expect((await ask(pep, 'two')).decision).toBe('DECISION_ALLOW');
    pep[Symbol.dispose]();
  });

  test.each([
    ['tracing', { tracing: true }],
    ['http2: node', { http2: 'node' }],
  ] as const)('with %s one thread accepts, and who asks for more is told so', (name, members) => {
    expect(() => readConfig({}, { ...THREADS, ...members })).toThrow(
      expect.objectContaining({
        code: 'config_invalid',
        message: expect.stringMatching(
          new RegExp(`^accept_threads: with ${name}.*leave it out, or make it 0$`),
        ),
      }),
    );
    expect(readConfig({}, { ...members, accept_threads: 0 }).accept_threads).toBe(0);
    expect(readConfig({}, members).accept_threads).toBeUndefined();
  });
});

test('a server that stops answers what it was asked: each answer is in the log, each other call was refused', async () => {
  await using fresh = await watched({ drain_seconds: 20 });
  await allSay(fresh, 'two', 'DECISION_ALLOW');
  const { mandate } = fresh.served;
  const load = asking([...fresh.peps, ...fresh.peps, ...fresh.peps]);
  await eventually(
    async () => load.answers.length,
    (count) => count > 200,
  );
  const log = path.join(path.dirname(path.dirname(mandate.tenants.get('two').folder)), 'data');
  await mandate[Symbol.asyncDispose]();
  await load.stop();
  const records = new Map(logIn(log, 'two').map(({ index, decisionId }) => [index, decisionId]));
  for (const { record_index, decision_id } of load.answers)
    expect(records.get(record_index)).toBe(decision_id);
  // grpc-js asks again by itself what was never taken, and then finds nobody.
  for (const { details } of load.errors) expect(details).toMatch(/ECONNREFUSED|No connection established/);
  expect(load.errors.length).toBeGreaterThan(0);
});
