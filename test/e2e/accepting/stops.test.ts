import { once } from 'node:events';
import type { Worker } from 'node:worker_threads';
import { expect, test, vi } from 'vitest';
import { allSay, started, watched } from './started.ts';

/** Threads end with the server by themselves, each when its connections have. */

const exits = (workers: readonly Worker[]): Promise<unknown[]> =>
  Promise.all(workers.map(async (worker) => (await once(worker, 'exit'))[0] as unknown));

test('those that accept connections', async () => {
  const fresh = await watched();
  await allSay(fresh, 'two', 'DECISION_ALLOW');
  const ended = exits(fresh.workers);
  await fresh[Symbol.asyncDispose]();
  expect(await ended).toEqual([0, 0]);
});

test('one that is only about to', async () => {
  const fresh = await started({ accept_from: 'load', decision_threads: 1 }, undefined, 0);
  const { offload } = fresh.served.mandate.services;
  if (!offload) throw new Error('there are no decision threads');
  const next = new Promise<Worker>((resolve) => {
    const watch = (worker: Worker): void => {
      if (worker.threadName !== 'mandate-accepting') return;
      process.off('worker', watch);
      resolve(worker);
    };
    process.on('worker', watch);
  });
  using _ = vi.spyOn(offload, 'isFull', 'get').mockReturnValue(true);
  const ended = exits([await next]);
  await fresh[Symbol.asyncDispose]();
  expect(await ended).toEqual([0]);
});
