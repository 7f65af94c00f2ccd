import { expect, test } from 'vitest';
import { verifyStore } from '../../../src/audit/proof/verify-store.ts';
import { Receiver } from '../../../src/audit/receiving/receiver.ts';
import { systemMonotonic, systemRandom } from '../../../src/effects.ts';
import { tenantId } from '../../../src/ids.ts';
import { policyOf } from '../../../src/merkle/policy.ts';
import { LogTrees } from '../../../src/storage/log/tree.ts';
import { VolumeFile } from '../../../src/storage/volume/file.ts';
import { eventually } from '../../e2e/server.ts';
import { rowOf, T0 } from '../../storage/store.ts';
import { DAY, type Kept, kept } from '../../storage/volume/kept.ts';
import { OtherLog } from './other-server.ts';

/** Other servers' logs are kept as long as the tenant's own: in volumes that their own keys have signed, and no longer. */

const HOUR = DAY / 24;

async function open() {
  const store = await kept({ maxDays: 2 });
  const log = new OtherLog();
  const receiver = new Receiver({
    store: store.received,
    records: store.records,
    trees: new LogTrees(store.reader),
    writer: store.writer,
    full: () => '',
    node: 'main',
    clock: () => store.now,
    monotonic: systemMonotonic,
    random: systemRandom,
  });
  const owner = { id: tenantId('acme'), no: store.no };
  const no = () => store.received.find(store.no, 'other')?.no ?? store.no;
  /** So many records now, which are sent at once. */
  const grow = async (count: number): Promise<void> => {
    const from = log.entries.length;
    for (let at = 0; at < count; at += 1)
      log.entries.push(Buffer.from(rowOf(store.no, { time: store.now + at }).body));
    const { length } = log.entries;
    expect(await receiver.take(owner, 'operator:one', log.shipment(from, length))).toBe(length);
    await eventually(
      () => Promise.resolve(store.volumes.size(no())),
      (counted) => counted === length,
    );
  };
  return { store, log, grow, no };
}

const verdictsOf = ({ reader }: Kept, log: OtherLog) => [
  ...verifyStore(reader, { policy: policyOf(log.key), kept: [], progress: () => undefined }),
];

test('a volume ends at a checkpoint of its server, proves itself by its key, and the log goes on', async () => {
  const { store, log, grow, no } = await open();
  await using _ = store;
  await grow(300);
  store.now += HOUR;
  await grow(10);
  store.now += 3 * DAY;
  await store.keeper.turn();
  expect(store.failures).toEqual([]);
  // The second checkpoint came too soon after the first to be kept.
  expect(store.volumes.list(no()).map(({ id, endId }) => endId - id)).toEqual([300]);
  using file = new VolumeFile(store.files()[0] ?? '');
  expect(file.index).toMatchObject({ origin: log.key.name, first: 0, end: 300 });
  await grow(50);
  const found = store.records.range(no(), 0, 1_000).map(({ body }) => Buffer.from(body));
  expect(found).toEqual(log.entries);
  expect(verdictsOf(store, log).find(({ origin }) => origin === log.key.name)).toMatchObject({
    entries: 360,
    proved: 360,
    faults: [],
  });
});

test('what is kept for no longer is removed, with a record of that in the log of this server; a hold holds it', async () => {
  const { store, log, grow, no } = await open();
  await using _ = store;
  store.retention = { days: 8 };
  await grow(40);
  store.now += 2 * DAY;
  await grow(5);
  await store.keeper.turn();
  expect(store.volumes.list(no())).toHaveLength(1);
  await store.keeper.hold({ id: tenantId('acme'), no: store.no }, 'a case', 'operator:ann');
  store.now += 20 * DAY;
  await store.keeper.turn();
  expect(store.records.range(no(), 0, 100)).toHaveLength(45);
  await store.keeper.release({ id: tenantId('acme'), no: store.no }, 'operator:ann');
  await store.keeper.turn();
  expect(store.failures).toEqual([]);
  const left = store.records.range(no(), 0, 100).map(({ index }) => index);
  expect(left.length).toBeLessThan(45);
  const told = store.records.range(store.no, 0, 100).map(({ body }) => Buffer.from(body).toString());
  expect(told.filter((text) => text.includes('log.remove')).length).toBeGreaterThan(0);
  await grow(3);
  const verdict = verdictsOf(store, log).find(({ origin }) => origin === log.key.name);
  expect(verdict).toMatchObject({ entries: 48, proved: 48, faults: [] });
  expect(verdict?.notes.join()).toMatch(/removed/);
});

test('a log whose records came a moment ago is in no volume', async () => {
  const { store, grow, no } = await open();
  await using _ = store;
  await grow(600);
  store.now += DAY;
  await store.keeper.turn();
  expect(store.volumes.list(no())).toEqual([]);
  expect(store.now).toBeGreaterThan(T0);
});
