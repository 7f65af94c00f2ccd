import { expect, test } from 'vitest';
import { Receiver } from '../../../src/audit/receiving/receiver.ts';
import { systemMonotonic, systemRandom } from '../../../src/effects.ts';
import { Shipper, YIELD_MS, YIELD_RECORDS } from '../../../src/fleet/shipping/shipper.ts';
import { Unshipped } from '../../../src/fleet/shipping/unshipped.ts';
import { tenantId } from '../../../src/ids.ts';
import { recordStore } from '../../../src/storage/log/records.ts';
import { LogTrees } from '../../../src/storage/log/tree.ts';
import { openReader } from '../../../src/storage/reader.ts';
import { receivedStore } from '../../../src/storage/received/store.ts';
import { eventually } from '../../e2e/server.ts';
import { openStore, rowOf, T0, temporaryFolder, tenantNo } from '../../storage/store.ts';
import { kept } from '../../storage/volume/kept.ts';

/** From one store to another, as a sidecar's shipper and its authority do it: what waits while the sidecar is full, and what does not. */

async function open(stack: AsyncDisposableStack) {
  const here = stack.use(await kept());
  const { folder } = stack.use(await temporaryFolder());
  const writer = stack.use(await openStore(folder));
  const owner = { id: tenantId('acme'), no: await tenantNo(writer, 'acme') };
  const reader = stack.adopt(openReader(folder), (db) => void db.close());
  const [records, store] = [recordStore(reader), receivedStore(reader)];
  const trees = new LogTrees(reader);
  const effects = { clock: () => T0, monotonic: systemMonotonic, random: systemRandom };
  const there = new Receiver({ store, records, trees, writer, full: () => '', node: 'other', ...effects });
  const state = { now: 0, isFull: true, looks: 0, isMuch: false };
  class Waiting extends Unshipped {
    override count(...logs: Parameters<Unshipped['count']>): number {
      return state.isMuch ? YIELD_RECORDS : super.count(...logs);
    }
  }
  const shipper = new Shipper({
    address: 'http://authority.test',
    unshipped: new Waiting(here.reader, 'authority:test'),
    ship: (outgoing) => there.take(owner, 'operator:one', outgoing),
    keep: (cursors) => here.writer.run('putCursors', { sink: 'authority:test', cursors }),
    isFull: () => {
      state.looks += 1;
      return state.isFull;
    },
    monotonic: () => state.now,
  });
  const stopping = new AbortController();
  const running = shipper.run(stopping.signal);
  stack.defer(async () => {
    stopping.abort();
    await running;
  });
  const grow = (count: number) => here.grow(Array.from({ length: count }, () => rowOf(here.no)));
  const sent = (): number => {
    const row = store.find(owner.no, 'main');
    return row ? records.size(row.no) : 0;
  };
  const arrived = (count: number) =>
    eventually(
      () => Promise.resolve(sent()),
      (each) => each === count,
    );
  /** It has looked once more, from beginning to end. */
  const looked = () => {
    const from = state.looks;
    return eventually(
      () => Promise.resolve(state.looks),
      (looks) => looks >= from + 2,
    );
  };
  return { shipper, state, grow, sent, arrived, looked };
}

test.concurrent('what is recorded while the server has no time left waits, and no longer than it may', async () => {
  await using stack = new AsyncDisposableStack();
  const { shipper, state, grow, sent, arrived, looked } = await open(stack);
  await grow(50);
  await looked();
  expect(sent()).toBe(0);
  expect(shipper.state).toMatchObject({ yields: true, lag: 50, problem: '' });
  // Still younger than that; what comes after does not make it young again.
  state.now += YIELD_MS - 1;
  await grow(10);
  await looked();
  expect(sent()).toBe(0);
  state.now += 1;
  await arrived(60);
  // All was sent, so what comes now is young.
  await grow(5);
  await looked();
  expect(shipper.state).toMatchObject({ yields: true, lag: 5, shipped: 60 });
  expect(sent()).toBe(60);
});

test.concurrent('nothing waits where there is time, nor where much waits', async () => {
  await using stack = new AsyncDisposableStack();
  const { shipper, state, grow, sent, arrived, looked } = await open(stack);
  state.isFull = false;
  await grow(50);
  await arrived(50);
  expect(shipper.state.yields).toBe(false);
  state.isFull = true;
  await grow(50);
  await looked();
  expect(sent()).toBe(50);
  state.isMuch = true;
  await arrived(100);
  state.isMuch = false;
  await grow(50);
  await looked();
  expect(sent()).toBe(100);
  state.isFull = false;
  await arrived(150);
});
