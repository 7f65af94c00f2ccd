import fs, { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import { checkpointText } from '../../../src/merkle/checkpoint.ts';
import { signNote } from '../../../src/merkle/note.ts';
import type { Disk } from '../../../src/storage/files.ts';
import { VolumeMaker } from '../../../src/storage/volume/making.ts';
import { rowOf, tenantNo } from '../store.ts';
import { allOf, type Kept, kept } from './kept.ts';

/** A volume is made, named in the store, and its runs are cleared: what is left where that ends at any step. */

const wish = { first: 0, maxBytes: 1e9, olderThan: Number.POSITIVE_INFINITY, isPartial: false };
const rows = ({ no }: Kept, count: number) => Array.from({ length: count }, () => rowOf(no));

const stated = (log: Kept, { end, root }: { end: number; root: Uint8Array }): string =>
  signNote(checkpointText({ origin: log.key.name, size: end, root }), log.key);

/** A disk whose nth call of one kind fails, before it has done anything, or after. */
function failing(call: keyof Disk, nth: number, isDone: boolean): { disk: Disk; calls: () => number } {
  let calls = 0;
  const own = fs[call] as (...args: unknown[]) => unknown;
  const disk = {
    ...fs,
    [call]: (...args: unknown[]) => {
      calls += 1;
      if (calls !== nth) return own(...args);
      if (isDone) own(...args);
      throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
    },
  } as unknown as Disk;
  return { disk, calls: () => calls };
}

const calls = ['openSync', 'writeSync', 'fsyncSync', 'closeSync', 'renameSync', 'mkdirSync'] as const;

test.each(calls)(
  'where %s fails, done or not, there is no volume, and the log is read as before',
  async (call) => {
    await using log = await kept();
    await log.grow(rows(log, 700));
    const before = allOf(log);
    let failed = 0;
    for (let nth = 1; nth < 40; nth += 1)
      for (const isDone of [false, true]) {
        const { disk, calls: count } = failing(call, nth, isDone);
        const maker = new VolumeMaker(log.reader, log.folder, disk);
        const plan = maker.plan({ ...wish, no: log.no }, 700);
        if (!plan) throw new Error('there is nothing to be made');
        try {
          maker.make(plan, stated(log, plan));
        } catch (error) {
          expect(String(error)).toMatch(/ENOSPC/);
          failed += 1;
        }
        expect(log.files().filter((file) => file.endsWith('.part'))).toEqual([]);
        expect(allOf(log)).toEqual(before);
        if (count() < nth) break;
      }
    expect(failed).toBeGreaterThan(1);
    // Whatever was left, the next one is whole.
    expect(await log.keeper.make(log.no)).toBe(1);
    expect(allOf(log)).toEqual(before);
  },
);

test('what is written otherwise than it was given is found before it has its name', async () => {
  await using log = await kept();
  await log.grow(rows(log, 300));
  const disk = {
    ...fs,
    writeSync: (file: number, bytes: Uint8Array, from: number) => {
      const other = Uint8Array.from(bytes);
      other[other.length - 1] = (other.at(-1) ?? 0) ^ 1;
      return fs.writeSync(file, other, from);
    },
  } as unknown as Disk;
  const maker = new VolumeMaker(log.reader, log.folder, disk);
  const plan = maker.plan({ ...wish, no: log.no }, 300);
  expect(() => plan && maker.make(plan, stated(log, plan))).toThrow();
  expect(log.files()).toEqual([]);
});

test('a checkpoint of another tree makes no volume', async () => {
  await using log = await kept();
  await log.grow(rows(log, 300));
  const maker = new VolumeMaker(log.reader, log.folder);
  const plan = maker.plan({ ...wish, no: log.no }, 300);
  if (!plan) throw new Error('there is nothing to be made');
  const note = stated(log, { ...plan, root: Buffer.alloc(32, 7) });
  expect(() => maker.make(plan, note)).toThrow('entries 0 to 255 are not those of its checkpoint');
  expect(log.files()).toEqual([]);
});

test('killed after the file, and before the store knows: it is taken away, and made again', async () => {
  await using log = await kept();
  await log.grow(rows(log, 300));
  const before = allOf(log);
  const maker = new VolumeMaker(log.reader, log.folder);
  const plan = maker.plan({ ...wish, no: log.no }, 300);
  if (plan) maker.make(plan, stated(log, plan));
  mkdirSync(path.join(log.folder, 'volumes', '99'));
  writeFileSync(path.join(log.folder, 'volumes', '99', '0-9.jsonl.zst.part'), 'half');
  expect(log.files()).toHaveLength(2);
  log.keeper.begin();
  await log.keeper.turn();
  expect(log.files()).toEqual([]);
  expect(await log.keeper.make(log.no)).toBe(1);
  expect(allOf(log)).toEqual(before);
});

test('a file of a store that went further than this one stays, and is told', async () => {
  await using log = await kept();
  await log.grow(rows(log, 300));
  const folder = path.join(log.folder, 'volumes', String(log.no));
  mkdirSync(folder, { recursive: true });
  const further = path.join(folder, '0-512.jsonl.zst');
  writeFileSync(further, 'records of a store that was put back');
  writeFileSync(path.join(folder, 'notes.txt'), 'of somebody');
  log.keeper.begin();
  await log.keeper.turn();
  expect(log.files()).toHaveLength(2);
  expect(log.failures.map(String)).toContain(`Error: ${further} is of no log of this store, and stays`);
});

test('killed after the store knows: runs are cleared by the next turn, and read at every moment', async () => {
  await using log = await kept();
  for (let n = 0; n < 40; n += 1) await log.writer.appendAll(filled(log, 10));
  await log.grow(rows(log, 400));
  const before = allOf(log);
  const maker = new VolumeMaker(log.reader, log.folder);
  const plan = maker.plan({ ...wish, no: log.no }, 800);
  if (!plan) throw new Error('there is nothing to be made');
  const volume = maker.make(plan, stated(log, plan));
  await log.writer.run('putVolume', { volume, at: log.now });
  for (let isMore = true; isMore; ) {
    expect(allOf(log)).toEqual(before);
    ({ value: isMore } = await log.writer.run('clearRuns', { runs: 3 }));
  }
  expect(allOf(log)).toEqual(before);
  const left = log.reader.prepare('SELECT count(*) FROM runs WHERE length(bodies) > 0 AND id < ?').pluck();
  expect(left.get(volume.endId)).toBe(0);
});

test('killed after a removal, and before the file is gone: it goes at the next start', async () => {
  await using log = await kept();
  await log.grow(rows(log, 300));
  await log.keeper.make(log.no);
  const [first] = log.volumes.list(log.no);
  await log.writer.run('endVolume', { id: first?.id ?? 0, state: 'removed', place: '', at: log.now });
  expect(log.files()).toHaveLength(1);
  log.keeper.begin();
  await log.keeper.turn();
  expect(log.files()).toEqual([]);
  expect([...allOf(log).keys()][0]).toBe(256);
});

test('a log that is damaged keeps no other from being cleared', async () => {
  await using log = await kept();
  await log.grow(rows(log, 300));
  const maker = new VolumeMaker(log.reader, log.folder);
  const plan = maker.plan({ ...wish, no: log.no }, 300);
  if (!plan) throw new Error('there is nothing to be made');
  await log.writer.run('putVolume', { volume: maker.make(plan, stated(log, plan)), at: log.now });
  const fault = { tenantNo: log.no, text: 'its log is damaged', lasts: true };
  await log.writer.run('closeLog', { fault });
  for (let isMore = true; isMore; ) ({ value: isMore } = await log.writer.run('clearRuns', { runs: 3 }));
  expect(allOf(log).size).toBe(300);
  // Nor from being written.
  const other = await tenantNo(log.writer, 'globex');
  expect(await log.writer.append(rowOf(other))).toBe(0);
});

test('two volumes never hold one record, and none what is not in the log', async () => {
  await using log = await kept();
  await log.grow(rows(log, 300));
  await log.keeper.make(log.no);
  const [first] = log.volumes.list(log.no);
  if (!first) throw new Error('there is no volume');
  for (const volume of [
    { ...first, id: first.id + 10 },
    { ...first, id: first.id, endId: first.endId + 10 },
    { ...first, id: first.id + 300, endId: first.endId + 9_000 },
  ])
    expect((await log.writer.run('putVolume', { volume, at: 1 })).value).toBeUndefined();
  expect(log.volumes.list(log.no)).toHaveLength(1);
});

function filled(log: Kept, count: number) {
  const parcel = log.writer.parcel();
  for (const row of rows(log, count)) parcel.add(row);
  return parcel;
}
