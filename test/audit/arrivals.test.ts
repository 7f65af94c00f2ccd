import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Arrivals } from '../../src/audit/arrivals.ts';
import type { TenantNo } from '../../src/storage/rows.ts';
import { commitChannel } from '../../src/storage/writer.ts';

const [acme, globex] = [1 as TenantNo, 2 as TenantNo];

/** Logs by their size alone, and how often each was looked at. */
const logs = (sizes: Map<TenantNo, number>) => {
  const looks = new Map<TenantNo, number>();
  return {
    looks,
    size: (no: TenantNo): number => {
      looks.set(no, (looks.get(no) ?? 0) + 1);
      return sizes.get(no) ?? 0;
    },
  };
};

test('a commit wakes who waits for a log that has grown, and nobody else', async () => {
  const sizes = new Map([
    [acme, 5],
    [globex, 5],
  ]);
  const store = logs(sizes);
  const arrivals = new Arrivals(store);
  const abort = new AbortController();
  const woken: string[] = [];
  const wait = (name: string, no: TenantNo, next: number): Promise<void> =>
    arrivals.after(no, next, abort.signal).then(() => void woken.push(name));
  const [first, other] = [wait('acme', acme, 5), wait('globex', globex, 5)];
  const further = wait('acme, further on', acme, 7);
  sizes.set(acme, 6);
  commitChannel.publish({ entries: 1 });
  await first;
  expect(woken).toEqual(['acme']);
  abort.abort();
  await Promise.all([other, further]);
  expect(woken).toHaveLength(3);
});

test('many sleepers and many commits of a moment are one look', async () => {
  const store = logs(new Map([[acme, 5]]));
  const arrivals = new Arrivals(store);
  const abort = new AbortController();
  const sleepers = Array.from({ length: 50 }, () => arrivals.after(acme, 5, abort.signal));
  const before = store.looks.get(acme) ?? 0;
  for (let each = 0; each < 1_000; each += 1) commitChannel.publish({ entries: 1 });
  await sleep(50);
  expect((store.looks.get(acme) ?? 0) - before).toBe(1);
  abort.abort();
  await Promise.all(sleepers);
  expect(commitChannel.hasSubscribers).toBe(false);
});

test('what was committed before anybody slept is not slept over', async () => {
  const arrivals = new Arrivals(logs(new Map([[acme, 6]])));
  await arrivals.after(acme, 5, new AbortController().signal);
});
