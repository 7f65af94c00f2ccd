import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FolderArchive } from '../../../src/audit/keeping/archive.ts';
import { type Verdict } from '../../../src/audit/proof/verification.ts';
import { verifyStore } from '../../../src/audit/proof/verify-store.ts';
import { volumesIn } from '../../../src/cli/audit/verify-volumes.ts';
import { databaseFile } from '../../../src/storage/database.ts';
import { Heads, nameHash, principalHash } from '../../../src/storage/log/heads.ts';
import type { RecordFilter } from '../../../src/storage/log/records.ts';
import { openReader } from '../../../src/storage/reader.ts';
import { recordId } from '../../../src/storage/rows.ts';
import { VolumeFile } from '../../../src/storage/volume/file.ts';
import { heardFaults } from '../../audit/witnessed-store.ts';
import { rowOf, T0, temporaryFolder } from '../store.ts';
import { allOf, DAY, type Kept, kept, state } from './kept.ts';

const people = ['alice', 'ben', 'cleo'];

/** Records of several days, a hundred a day. */
const rowsOf = ({ no }: Kept, count: number, from = T0) =>
  Array.from({ length: count }, (_, n) =>
    rowOf(no, {
      time: from + n * (DAY / 100),
      subject: { class: 'user', id: people[n % 3] ?? '' },
      named: { action: 'document.read', resource: { type: 'document', id: `d${n % 7}` }, actors: [] },
      members: `,"n":${n}`,
    }),
  );

const verified = ({ folder, key }: Kept): Verdict => {
  const db = openReader(folder);
  try {
    const [verdict] = verifyStore(db, {
      policy: { logs: [key], witnesses: [], quorum: undefined },
      kept: [],
      progress: () => undefined,
    });
    if (!verdict) throw new Error('there is no log');
    return verdict;
  } finally {
    db.close();
  }
};

const search = ({ records, no }: Kept, filter: RecordFilter) =>
  records.search(no, filter, { order: 'newest', at: 768 }, 1_000, (record) => record);

const bodiesIn = ({ reader }: Kept): number =>
  reader.prepare<[], number>('SELECT coalesce(sum(length(bodies)), 0) FROM runs').pluck().get() ?? 0;

const alice = principalHash({ class: 'user', id: 'alice' });

describe('what is in volumes', () => {
  test('is read as before, by its place and by all that finds it, and proved as before', async () => {
    await using log = await kept({ maxMib: 0.05 });
    for (let n = 0; n < 6; n += 1) await log.grow(rowsOf(log, 128, T0 + n * DAY));
    const before = allOf(log);
    const found = search(log, { principal: { class: 'user', id: 'alice' } });
    const resource = nameHash('resource', 'document:d3');
    const named = search(log, { resource });
    const receipt = log.proofs.receipt(log.no, 300);
    expect(await log.keeper.make(log.no)).toBe(3);
    expect(log.failures).toEqual([]);
    expect(bodiesIn(log)).toBe(0);
    expect(allOf(log)).toEqual(before);
    expect(search(log, { principal: { class: 'user', id: 'alice' } })).toEqual(found);
    expect(search(log, { resource })).toEqual(named);
    expect(found.found).toHaveLength(258);
    expect(log.proofs.receipt(log.no, 300)).toBe(receipt);
    expect(verified(log)).toMatchObject({ entries: 768, proved: 768, faults: [], notes: [] });
    await log.grow(rowsOf(log, 10));
    expect(allOf(log).size).toBe(778);
  });

  test('proves itself, and is the file that the store says', async () => {
    await using log = await kept();
    await log.grow(rowsOf(log, 512));
    await log.keeper.make(log.no);
    for (const row of log.volumes.list(log.no)) {
      const file = log
        .files()
        .find((each) => each.endsWith(`/${row.id % 2 ** 36}-${row.endId % 2 ** 36}.jsonl.zst`));
      const bytes = readFileSync(file ?? '');
      expect(createHash('sha256').update(bytes).digest('hex')).toBe(row.sha256);
      expect(bytes.length).toBe(row.bytes);
    }
    expect(volumesIn(log.files(), { logs: [log.key], witnesses: [], quorum: undefined })).toEqual([
      { origin: log.key.name, entries: 512, proved: 512, faults: [], notes: [] },
    ]);
  });

  test('stands there as lines that any tool for Zstandard shows', async (context) => {
    if (!hasZstd()) context.skip();
    await using log = await kept();
    await log.grow(rowsOf(log, 512));
    const before = [...allOf(log).values()];
    await log.keeper.make(log.no);
    const shown = log.files().map((file) => execFileSync('zstd', ['-dcq', file]).toString());
    expect(shown.join('')).toBe(before.map((each) => `${each}\n`).join(''));
  });

  test('is the same however it is cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ rows: fc.integer({ min: 1, max: 400 }), make: fc.boolean() }), {
          minLength: 1,
          maxLength: 5,
        }),
        fc.integer({ min: 8, max: 200 }),
        async (steps, kib) => {
          await using log = await kept({ maxMib: kib / 1024 });
          const expected: string[] = [];
          for (const { rows: count, make } of steps) {
            const rows = rowsOf(log, count);
            expected.push(...rows.map(({ body }) => body));
            await log.grow(rows);
            if (make) await log.keeper.make(log.no);
            expect([...allOf(log).values()]).toEqual(expected);
          }
          expect(log.failures).toEqual([]);
          expect(verified(log)).toMatchObject({ proved: expected.length, faults: [], notes: [] });
          const list = log.volumes.list(log.no);
          for (const [at, { id }] of list.entries())
            expect(id).toBe(list[at - 1]?.endId ?? recordId(log.no, 0));
        },
      ),
      { numRuns: 8, seed: 11 },
    );
  });
});

const hasZstd = (): boolean => {
  try {
    execFileSync('zstd', ['--version']);
    return true;
  } catch {
    return false;
  }
};

describe('a volume that is not what was made', () => {
  const damage: [string, (file: string, other: string) => void][] = [
    ['is gone', (file) => rmSync(file)],
    ['is empty', (file) => writeFileSync(file, '')],
    ['was cut', (file) => writeFileSync(file, readFileSync(file).subarray(0, -9))],
    ['is another one', (file, other) => writeFileSync(file, readFileSync(other))],
    ['has one bit flipped at its beginning', (file) => flip(file, () => 40)],
    ['has one bit flipped in its index', (file) => flip(file, (size) => size - 400)],
    ['has one bit flipped in its length', (file) => flip(file, (size) => size - 10)],
    ['was written anew with a record changed', (file) => rewritten(file)],
  ];

  test.each(damage)(
    '%s: nothing of it is shown, it is told, and the others are read',
    async (_what, harm) => {
      const heard = heardFaults();
      using _ = heard;
      await using log = await kept({ maxMib: 0.06 });
      await log.grow(rowsOf(log, 1_024));
      await log.keeper.make(log.no);
      const [first = '', second = ''] = log.files();
      const whole = allOf(log);
      harm(first, second);
      await using fresh = await reread(log);
      const left = allOf(fresh);
      expect(left.size).toBeLessThan(1_024);
      expect(left.size).toBeGreaterThanOrEqual(512);
      for (const [index, body] of left) expect(body).toBe(whole.get(index));
      expect(heard.faults.length).toBeGreaterThan(0);
      expect(heard.faults.every(({ tenantNo, lasts }) => tenantNo === log.no && lasts)).toBe(true);
      const verdict = verified(log);
      expect(verdict.proved).toBe(0);
      expect(verdict.faults.length).toBeGreaterThan(0);
    },
  );

  test.each([
    ['its entries', () => 60],
    ['the signature of its checkpoint', (size: number) => size - 40],
  ])('is found by the scrub, wherever it is damaged: %s', async (_where, place) => {
    await using store = await temporaryFolder();
    {
      await using log = await kept({ folder: store.folder });
      await log.grow(rowsOf(log, 300));
      await log.keeper.make(log.no);
      for (const file of log.files()) flip(file, place);
    }
    const heard = heardFaults();
    using _ = heard;
    await using log = await kept({ folder: store.folder });
    await expect
      .poll(() => heard.faults.map(({ text }) => text), { timeout: 90_000 })
      .toContainEqual(expect.stringMatching(/^the volume of records \d+ to \d+ of its log is damaged: /));
    expect(log.no).toBe(1);
  });

  /** A reader that has nothing in its memory. */
  async function reread(log: Kept): Promise<Kept & AsyncDisposable> {
    const { recordStore } = await import('../../../src/storage/log/records.ts');
    const reader = openReader(log.folder);
    return {
      ...log,
      records: recordStore(reader),
      [Symbol.asyncDispose]: () => Promise.resolve(void reader.close()),
    };
  }
});

function flip(file: string, place: (size: number) => number): void {
  const bytes = readFileSync(file);
  const at = place(bytes.length);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(file, bytes);
}

/** Whole and readable, with frames of the same number: only its hashes tell. */
function rewritten(file: string): void {
  const { entriesFrame, endOfVolume } = volumeWriting;
  using volume = new VolumeFile(file);
  const { parts: _, ...index } = volume.index;
  const frames = [0];
  const out: Uint8Array[] = [];
  for (let at = index.first; at < index.end; ) {
    const { entries } = volume.frameOf(at);
    const changed = entries.map((entry) =>
      Buffer.from(Buffer.from(entry).toString().replaceAll('alice', 'mallo')),
    );
    out.push(entriesFrame(changed));
    frames.push((frames.at(-1) ?? 0) + (out.at(-1)?.length ?? 0));
    at += entries.length;
  }
  writeFileSync(file, Buffer.concat([...out, endOfVolume({ ...index, frames }, volume.parts())]));
}

const volumeWriting = await import('../../../src/storage/volume/file.ts');

describe('no volume is made', () => {
  test('of a log that was changed with all its hashes, and nothing is signed of it', async () => {
    await using place = await temporaryFolder();
    let key: Kept['key'] | undefined;
    {
      await using log = await kept({ folder: place.folder });
      await log.grow(rowsOf(log, 300));
      ({ key } = log);
    }
    forge(place.folder);
    await using log = await kept({ folder: place.folder });
    Object.assign(log.key, key);
    await expect(log.keeper.make(log.no)).rejects.toMatchObject({
      code: 'unavailable',
      detail: 'log 1: its first 256 records are not those that it stated',
    });
    expect(log.files()).toEqual([]);
    expect(log.volumes.list(log.no)).toEqual([]);
  });

  test('of a log whose checkpoint is signed by another key', async () => {
    await using place = await temporaryFolder();
    {
      await using log = await kept({ folder: place.folder });
      await log.grow(rowsOf(log, 300));
    }
    await using log = await kept({ folder: place.folder });
    await expect(log.keeper.make(log.no)).rejects.toMatchObject({
      detail: 'log 1: its checkpoint is not signed by its key',
    });
  });

  test('of records that no checkpoint covers', async () => {
    await using log = await kept();
    const { appendRows } = await import('../store.ts');
    await appendRows(log.writer, rowsOf(log, 300));
    expect(await log.keeper.make(log.no)).toBe(0);
    await state(log);
    await log.grow([]);
    expect(await log.keeper.make(log.no)).toBe(1);
  });

  /** Changes record 5, its hash and that of its tile, as somebody would who knows how they are kept. */
  function forge(folder: string): void {
    const db = new Database(databaseFile(folder));
    for (const trigger of ['runs_no_update', 'tiles_no_update']) db.exec(`DROP TRIGGER ${trigger}`);
    const row = db
      .prepare<[], { id: number; heads: Buffer; bodies: Buffer }>('SELECT * FROM runs ORDER BY id LIMIT 1')
      .get();
    if (!row) throw new Error('there is no run');
    const heads = Heads.stored(row.heads);
    const bodies = Buffer.from(row.bodies);
    const [start, end] = [heads.start(5), heads.end(5)];
    bodies.set(Buffer.from(bodies.subarray(start, end).toString().replace('cleo', 'mole')), start);
    heads.putLeaf(5, leafOf(bodies.subarray(start, end)));
    heads.seal(row.id);
    db.prepare('UPDATE runs SET heads = ?, bodies = ? WHERE id = ?').run(heads.all, bodies, row.id);
    db.prepare('UPDATE tiles SET hash = ? WHERE level = 1 AND at = 0').run(tileOf(heads));
    db.close();
  }
});

const { leafHash: leafOf } = await import('../../../src/merkle/hashes.ts');
const { rootOfTile } = await import('../../../src/merkle/tree.ts');
const tileOf = (heads: Heads): Uint8Array => rootOfTile(heads.leaves(0, 256) ?? new Uint8Array());

describe('retention', () => {
  const aged = (log: Kept) => log.grow(rowsOf(log, 2_000));

  test('removes what is older, oldest first, and what remains is proved as before', async () => {
    await using log = await kept({ maxDays: 4 });
    await aged(log);
    const before = allOf(log);
    log.now = T0 + 20 * DAY;
    log.retention = { days: 12 };
    for (let turn = 0; turn < 2; turn += 1) await log.keeper.turn();
    expect(log.failures).toEqual([]);
    const removed = log.volumes.list(log.no).filter(({ state: where }) => where === 'removed');
    // All of it is one volume, and not all of that is older.
    expect(removed).toHaveLength(0);
    log.now = T0 + 33 * DAY;
    await log.keeper.turn();
    const list = log.volumes.list(log.no);
    expect(list.map(({ state: where }) => where)).toEqual(list.map(() => 'removed'));
    expect(log.files()).toEqual([]);
    const left = allOf(log);
    for (const [index, body] of before) if (left.has(index)) expect(left.get(index)).toBe(body);
    expect(left.has(0)).toBe(false);
    await state(log);
    const verdict = verified(log);
    expect(verdict.faults).toEqual([]);
    expect(verdict.proved).toBe(verdict.entries);
    expect(verdict.notes).toContain('entries 0 to 1999 were removed: here are their hashes alone');
  });

  test('leaves nothing of who, what or when, and none of what records had in common', async () => {
    await using log = await kept();
    const parcel = log.writer.parcel();
    const body = JSON.stringify({ secret: 'moonlight' });
    const digest = createHash('sha256').update(body).digest('hex');
    for (let n = 0; n < 300; n += 1)
      parcel.add(rowOf(log.no, { members: `,"input_parts":{"context":"${digest}"}` }));
    await log.writer.appendAll(parcel, log.no, [{ digest, body }]);
    await log.grow(rowsOf(log, 10));
    await log.keeper.make(log.no);
    using file = new VolumeFile(log.files()[0] ?? '');
    expect(file.parts()).toEqual([body]);
    log.retention = { days: 1 };
    log.now = T0 + 40 * DAY;
    await log.keeper.turn();
    expect(log.failures).toEqual([]);
    expect(log.volumes.list(log.no).every(({ state: where }) => where === 'removed')).toBe(true);
    expect(log.reader.prepare('SELECT count(*) FROM parts').pluck().get()).toBe(0);
    for (const { id, heads: stored } of log.reader
      .prepare<[number], { id: number; heads: Buffer }>('SELECT id, heads FROM runs WHERE id < ? ORDER BY id')
      .all(recordId(log.no, 300))) {
      const heads = Heads.stored(stored);
      expect(heads.isSound(id)).toBe(true);
      for (let at = 0; at < heads.capacity; at += 1) {
        expect([heads.subject(at), heads.time(at), heads.key(at), heads.end(at)]).toEqual([0, 0, 0, 0]);
        expect(heads.subject(at)).not.toBe(alice);
      }
    }
    expect(
      log.records.search(log.no, {}, { order: 'newest', at: 300 }, 10, (record) => record).found,
    ).toEqual([]);
    expect(() => log.proofs.receipt(log.no, 3)).toThrow(/^records 0 to 255 were removed on /);
  });

  test('waits for a hold to be released, and each is a record', async () => {
    await using log = await kept();
    await aged(log);
    await log.keeper.make(log.no);
    const tenant = { id: 'acme', no: log.no } as Parameters<typeof log.keeper.hold>[0];
    expect(await log.keeper.hold(tenant, 'case 7', 'operator:ann')).toBe(true);
    expect(await log.keeper.hold(tenant, 'case 8', 'operator:ben')).toBe(false);
    expect(log.volumes.hold(log.no)).toMatchObject({ reason: 'case 7', caller: 'operator:ann' });
    log.retention = { days: 1 };
    log.now = T0 + 90 * DAY;
    await log.keeper.turn();
    expect(log.volumes.list(log.no).filter(({ state: where }) => where === 'removed')).toEqual([]);
    // Nor does the store itself let anybody.
    const [first] = log.volumes.list(log.no);
    const { value } = await log.writer.run('endVolume', {
      id: first?.id ?? 0,
      state: 'removed',
      place: '',
      at: 1,
    });
    expect(value).toBeUndefined();
    expect(await log.keeper.release(tenant, 'operator:ann')).toBe(true);
    expect(await log.keeper.release(tenant, 'operator:ann')).toBe(false);
    await log.keeper.turn();
    expect(log.volumes.list(log.no).every(({ state: where }) => where === 'removed')).toBe(true);
    const actions = [...allOf(log).values()].map((body) => /"action":\{"name":"(log\.\w+)"/.exec(body)?.[1]);
    expect(actions.filter((each) => each)).toEqual(['log.hold', 'log.release', 'log.remove', 'log.remove']);
  });

  test('by size keeps the newest, and no fewer days than the operator has kept', async () => {
    await using log = await kept({ maxMib: 0.05 });
    await aged(log);
    log.now = T0 + 100 * DAY;
    await log.keeper.turn();
    const total = log.volumes.list(log.no).reduce((sum, { bytes }) => sum + bytes, 0);
    log.retention = { mib: total / 2 / 1024 / 1024, atLeastDays: 400 };
    await log.keeper.turn();
    expect(log.volumes.list(log.no).every(({ state: where }) => where === 'here')).toBe(true);
    log.retention = { mib: total / 2 / 1024 / 1024, atLeastDays: 30 };
    await log.keeper.turn();
    const states = log.volumes.list(log.no).map(({ state: where }) => where);
    expect(states[0]).toBe('removed');
    expect(states.at(-1)).toBe('here');
    expect(states).toEqual(states.toSorted().toReversed());
  });

  test('and the archive wait for a sink that has not had the records, and say so', async () => {
    await using place = await temporaryFolder();
    await using log = await kept({ maxMib: 0.05, archive: new FolderArchive(place.folder) });
    await aged(log);
    await log.keeper.make(log.no);
    log.unsent = { sink: 'siem', next: 300 };
    log.retention = { days: 1 };
    log.now = T0 + 25 * DAY;
    await log.keeper.turn();
    const stays = 'records 300 to 511 of acme stay until the sink siem has them, or is configured no more';
    expect(log.keeper.problem).toBe(stays);
    const states = log.volumes.list(log.no).map(({ state: where }) => where);
    expect(states.slice(0, 3)).toEqual(['removed', 'here', 'here']);
    const tenant = { id: 'acme', no: log.no } as Parameters<typeof log.keeper.hold>[0];
    await expect(log.keeper.archive(tenant, T0 + 99 * DAY, 'x').next()).rejects.toMatchObject({
      code: 'unavailable',
      message: stays,
    });
    log.unsent = { sink: 'siem', next: 5_000 };
    await log.keeper.turn();
    expect(log.keeper.problem).toBe('');
    expect(log.files()).toEqual([]);
  });

  test('never removes one while an older one is there', async () => {
    await using log = await kept({ maxMib: 0.05 });
    await aged(log);
    await log.keeper.make(log.no);
    const [, second] = log.volumes.list(log.no);
    const { value } = await log.writer.run('endVolume', {
      id: second?.id ?? 0,
      state: 'removed',
      place: '',
      at: 1,
    });
    expect(value).toBeUndefined();
  });
});

test('of thousands of logs each has its look, and the thread is others between', async () => {
  await using log = await kept();
  await log.grow(rowsOf(log, 10));
  log.times = 20_000;
  const seen = new Set<number>();
  log.looked = () => void seen.add(turns);
  let turns = 0;
  let isOver = false;
  const count = (): void => {
    turns += 1;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  await log.keeper.turn();
  isOver = true;
  expect(log.failures).toEqual([]);
  expect(seen.size).toBeGreaterThan(10);
});

test('who asks for volumes again and again is told to wait', async () => {
  await using log = await kept();
  await log.grow(rowsOf(log, 300));
  const outcomes = await Promise.allSettled(Array.from({ length: 60 }, () => log.keeper.make(log.no)));
  const refused = outcomes.filter(({ status }) => status === 'rejected');
  expect(refused).toHaveLength(28);
  expect(refused[0]).toMatchObject({ reason: { code: 'resource_exhausted' } });
  expect(await log.keeper.make(log.no)).toBe(0);
});

describe('the archive', () => {
  test('holds what proves itself, and the store says where', async () => {
    await using place = await temporaryFolder();
    await using log = await kept({ maxMib: 0.05, archive: new FolderArchive(place.folder) });
    await log.grow(rowsOf(log, 900));
    const before = allOf(log);
    await log.keeper.make(log.no);
    const tenant = { id: 'acme', no: log.no } as Parameters<typeof log.keeper.hold>[0];
    const places: string[] = [];
    for await (const { place: where } of log.keeper.archive(tenant, T0 + 4 * DAY, 'operator:ann'))
      places.push(where);
    expect(places.length).toBeGreaterThan(0);
    const verdicts = volumesIn(places, { logs: [log.key], witnesses: [], quorum: undefined });
    expect(verdicts).toMatchObject([{ origin: log.key.name, faults: [], notes: [] }]);
    const archived = verdicts[0]?.proved ?? 0;
    const left = allOf(log);
    expect([...left.keys()][0]).toBe(archived);
    for (const [index, body] of before) if (index >= archived) expect(left.get(index)).toBe(body);
    expect(() => log.proofs.receipt(log.no, 3)).toThrow(/were archived on .*: \//);
    await state(log);
    expect(verified(log).notes).toContain(
      `entries 0 to ${archived - 1} were archived: here are their hashes alone`,
    );
    expect(verified(log).faults).toEqual([]);
  });

  test('that fails, or lies, takes nothing away', async () => {
    let answer: () => Promise<string> = () => Promise.reject(new Error('it is full'));
    await using log = await kept({ archive: { name: 'a', put: () => answer() } });
    await log.grow(rowsOf(log, 300));
    await log.keeper.make(log.no);
    const files = log.files();
    const tenant = { id: 'acme', no: log.no } as Parameters<typeof log.keeper.hold>[0];
    await expect(log.keeper.archive(tenant, T0 + 99 * DAY, 'x').next()).rejects.toMatchObject({
      code: 'unavailable',
      detail: 'a: it is full',
    });
    expect(log.files()).toEqual(files);
    expect(log.volumes.list(log.no).every(({ state: where }) => where === 'here')).toBe(true);
    answer = () => Promise.resolve('there');
    await using place = await temporaryFolder();
    await expect(new FolderArchive(place.folder).put(files[0] ?? '', 'a/b', '00'.repeat(32))).rejects.toThrow(
      /is not what was made/,
    );
  });
});
