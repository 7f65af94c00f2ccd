import http2 from 'node:http2';
import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test, vi } from 'vitest';
import { Load } from '../../../src/server/accepting/load.ts';
import { asks } from '../../containment/tenants.ts';
import type { Grpc } from '../grpc.ts';
import { bearer, eventually } from '../server.ts';
import { alone, ask, SECRET, started } from './started.ts';

/** Threads that begin once main has no time left, and connections that move over to them. */

const FOR_LOAD = { accept_from: 'load', decision_threads: 1 } as const;

describe('Load', () => {
  /** What it has told, in order. */
  function looking(isRelieved: () => boolean): { told: string[] } & Disposable {
    const told: string[] = [];
    const load = new Load({
      utilization: (...of) => performance.eventLoopUtilization(...of),
      isRelieved,
      full: () => told.push('full'),
      lasts: () => told.push('lasts'),
    });
    return { told, [Symbol.dispose]: () => load[Symbol.dispose]() };
  }
  const busy = (ms: number): void => {
    const until = performance.now() + ms;
    while (performance.now() < until);
  };

  test('tells of a loop that has no time left, and of none that has', async () => {
    using load = looking(() => false);
    await delay(1_500);
    expect(load.told).toEqual([]);
    await eventually(
      async () => {
        busy(500);
        return load.told.length;
      },
      (count) => count > 0,
    );
    expect(load.told).toEqual(['full']);
  });

  test('counts what main leaves to others as its own, and begins again once there is time', async () => {
    const state = { isRelieved: true };
    using load = looking(() => state.isRelieved);
    await eventually(
      async () => load.told.length,
      (count) => count === 1,
    );
    state.isRelieved = false;
    await delay(1_000);
    state.isRelieved = true;
    await eventually(
      async () => load.told.length,
      (count) => count === 2,
    );
    expect(load.told).toEqual(['full', 'full']);
  });
});

interface Seen {
  answers: number;
  readonly lost: unknown[];
}

/** Asks every now and then until it is over. */
async function asking(seen: Seen, state: { over: boolean }, once: () => Promise<unknown>): Promise<void> {
  while (!state.over) {
    try {
      await once();
      seen.answers += 1;
    } catch (error) {
      seen.lost.push(error);
      return;
    }
    await delay(50);
  }
}

/** Node's own client, which makes a new connection when it is told that the old one takes no more. */
class Session implements Disposable {
  readonly #url: string;
  #session: http2.ClientHttp2Session | undefined;
  connections = 0;

  constructor(url: string) {
    this.#url = url;
  }

  #connected(): http2.ClientHttp2Session {
    if (this.#session) return this.#session;
    const session = http2.connect(this.#url);
    this.connections += 1;
    const leave = (): void => {
      if (this.#session === session) this.#session = undefined;
    };
    session.on('goaway', leave).on('close', leave).on('error', leave);
    this.#session = session;
    return session;
  }

  ask(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const stream = this.#connected().request({
      ':method': 'POST',
      ':path': '/mandate.v1.DecisionService/Check',
      'content-type': 'application/json',
      authorization: bearer(SECRET),
    });
    let status = 0;
    stream.on('response', (headers) => (status = Number(headers[':status'])));
    stream.on('end', () => (status === 200 ? resolve() : reject(new Error(`status ${status}`))));
    stream.on('error', reject);
    stream.resume();
    stream.end(JSON.stringify(asks('two')));
    return promise;
  }

  [Symbol.dispose](): void {
    this.#session?.close();
  }
}

test('while main is full a thread begins, and connections move to it without a lost call', async () => {
  await using fresh = await started(FOR_LOAD, undefined, 0);
  const { accepting, offload } = fresh.served.mandate.services;
  expect(accepting?.ready).toBe(0);
  if (!offload) throw new Error('there are no decision threads');
  const peps: Grpc[] = Array.from({ length: 16 }, () => alone(fresh.served.data));
  const sessions = Array.from({ length: 16 }, () => new Session(fresh.served.data));
  const [state, seen]: [{ over: boolean }, Seen] = [{ over: false }, { answers: 0, lost: [] }];
  const under = [
    ...peps.map((pep) => asking(seen, state, () => ask(pep, 'two'))),
    ...sessions.map((session) => asking(seen, state, () => session.ask())),
  ];
  await eventually(
    async () => seen.answers,
    (count) => count > 100,
  );
  // Nothing is a thread's yet.
  expect(accepting?.counts).toEqual({ decided: 0, handed: 0 });
  const full = vi.spyOn(offload, 'isFull', 'get').mockReturnValue(true);
  await eventually(
    async () => accepting?.ready,
    (count) => count === 1,
  );
  // Those that stand stay where they are, until it lasts.
  expect(accepting?.counts).toEqual({ decided: 0, handed: 0 });
  await eventually(
    async () => accepting?.counts.decided ?? 0,
    (count) => count > 100,
  );
  // It has time for more, so no other one is needed.
  expect(accepting?.ready).toBe(1);
  full.mockRestore();
  state.over = true;
  await Promise.all(under);
  expect(seen.lost).toEqual([]);
  expect(sessions.filter(({ connections }) => connections > 1).length).toBeGreaterThan(0);
  for (const client of [...peps, ...sessions]) client[Symbol.dispose]();
});
