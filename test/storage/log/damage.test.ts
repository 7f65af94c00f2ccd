import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { queryRecords } from '../../../src/audit/query.ts';
import { openWriter } from '../../../src/storage/database.ts';
import { faultChannel, type StoreFault } from '../../../src/storage/faults.ts';
import { LogAppender } from '../../../src/storage/log/appender.ts';
import { Heads } from '../../../src/storage/log/heads.ts';
import { Parcel } from '../../../src/storage/log/parcel.ts';
import { recordStore } from '../../../src/storage/log/records.ts';
import { openReader } from '../../../src/storage/reader.ts';
import type { TenantNo } from '../../../src/storage/rows.ts';
import { tailRecords } from '../../audit/tail.ts';
import { appendRows, openStore, rowOf, sourceOf, temporaryFolder, tenantNo } from '../store.ts';

/** What a log with damage in it still gives, and that it says what it does not. */

const COUNT = 4_500;
const PAGE_BYTES = 8192;

let place: Awaited<ReturnType<typeof temporaryFolder>>;
let no: TenantNo;
let whole: Buffer;

const fileOf = (folder: string): string => path.join(folder, 'mandate.db');

beforeAll(async () => {
  place = await temporaryFolder();
  {
    await using writer = await openStore(place.folder);
    no = await tenantNo(writer, 'acme');
    const padding = 'x'.repeat(500);
    const rows = Array.from({ length: COUNT }, (_, at) =>
      rowOf(no, { input: JSON.stringify({ subject: { class: 'user', id: 'alice' }, n: at, padding }) }),
    );
    // Small runs, so that their tree has levels.
    for (let at = 0; at < COUNT; at += 10) await appendRows(writer, rows.slice(at, at + 10));
  }
  whole = readFileSync(fileOf(place.folder));
});
afterAll(() => place[Symbol.asyncDispose]());

/** The store with some of its bytes changed, read by `use`; answers what was reported. */
async function damaged(
  change: (bytes: Buffer) => void,
  use: (folder: string) => void | Promise<void>,
): Promise<string[]> {
  const bytes = Buffer.from(whole);
  change(bytes);
  writeFileSync(fileOf(place.folder), bytes);
  const reported = new Set<string>();
  const hear = (message: unknown): void => void reported.add((message as StoreFault).text);
  subscribe(faultChannel.name, hear);
  try {
    await use(place.folder);
  } finally {
    unsubscribe(faultChannel.name, hear);
    writeFileSync(fileOf(place.folder), whole);
  }
  return [...reported];
}

function reading<T>(folder: string, read: (store: ReturnType<typeof recordStore>) => T): T {
  const db = openReader(folder);
  try {
    return read(recordStore(db));
  } finally {
    db.close();
  }
}

/** All indexes that reading on and on gives. */
function indexesIn(folder: string): number[] {
  return reading(folder, (store) => {
    const indexes: number[] = [];
    let next = 0;
    for (let page = 0; page < 1_000; page += 1) {
      const read = store.read(no, next, 100);
      indexes.push(...read.records.map(({ index }) => index));
      if (read.next === next) return indexes;
      next = read.next;
    }
    throw new Error('it does not end');
  });
}

const searched = (folder: string, filter: object = {}): number[] =>
  reading(folder, (store) => {
    const indexes: number[] = [];
    let pageToken = '';
    for (let page = 0; page < 1_000; page += 1) {
      const answer = queryRecords(sourceOf(store), no, { ...filter, pageSize: 500, pageToken });
      indexes.push(...answer.records.map(({ index }) => index));
      pageToken = answer.nextPageToken;
      if (pageToken === '') return indexes.toReversed();
    }
    throw new Error('it does not end');
  });

const all = Array.from({ length: COUNT }, (_, at) => at);
const without = (from: number, end: number): number[] => all.filter((at) => at < from || at >= end);

/** Where the record of a number stands. */
const placeOf = (bytes: Buffer, n: number): number => bytes.indexOf(`"n":${n},`);
const flip = (bytes: Buffer, at: number, bit = 0): void => {
  bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
};

test('undamaged, nothing is missing and nothing reported', async () => {
  const reported = await damaged(
    () => {},
    (folder) => {
      expect(indexesIn(folder)).toEqual(all);
      expect(searched(folder)).toEqual(all);
    },
  );
  expect(reported).toEqual([]);
});

describe('one flipped bit in a record', () => {
  const change = (bytes: Buffer): void => flip(bytes, placeOf(bytes, 1_234) + 8);

  test('it is left out and named, by whatever way it is read; its neighbours are there', async () => {
    const reported = await damaged(change, (folder) => {
      expect(indexesIn(folder)).toEqual(without(1_234, 1_235));
      expect(searched(folder)).toEqual(without(1_234, 1_235));
      expect(searched(folder, { principal: { class: 'user', id: 'alice' } })).toEqual(without(1_234, 1_235));
    });
    expect(reported).toEqual(['record 1234 of its log is damaged']);
  });

  test('a tail goes on behind it', async () => {
    await damaged(change, async (folder) => {
      const db = openReader(folder);
      const abort = new AbortController();
      const seen: number[] = [];
      for await (const { index } of tailRecords(recordStore(db), no, 1_230, abort.signal)) {
        seen.push(index);
        if (seen.length === 8) abort.abort();
      }
      db.close();
      expect(seen).toEqual([1_230, 1_231, 1_232, 1_233, 1_235, 1_236, 1_237, 1_238]);
    });
  });
});

test('one flipped bit in what finds records: those of their commit are left out and named', async () => {
  const reported = await damaged(
    // The heads stand before the bodies.
    (bytes) => flip(bytes, placeOf(bytes, 2_000) - 230),
    (folder) => {
      expect(indexesIn(folder)).toEqual(without(2_000, 2_010));
      expect(searched(folder)).toEqual(without(2_000, 2_010));
    },
  );
  expect(reported).toContain('records 2000 to 2009 of its log are damaged');
});

test('a page that cannot be read hides no more than stands on it or goes with it, and ends nothing', async () => {
  const reported = await damaged(
    (bytes) => {
      const page = Math.floor(placeOf(bytes, 3_000) / PAGE_BYTES);
      bytes.fill(0xff, page * PAGE_BYTES, page * PAGE_BYTES + 64);
    },
    (folder) => {
      for (const indexes of [indexesIn(folder), searched(folder)]) {
        expect(indexes).not.toContain(3_000);
        expect(indexes.at(0)).toBe(0);
        expect(indexes.at(-1)).toBe(COUNT - 1);
        expect(indexes.length).toBeGreaterThan(COUNT - 2 * 256);
      }
    },
  );
  expect(reported.some((text) => /^records \d+ to \d+ of its log are damaged$/.test(text))).toBe(true);
});

test('an index over a segment with a flipped bit is said to be damaged, and hides nothing', async () => {
  const db = openWriter({ folder: place.folder });
  const blob = db.prepare<[], Buffer>('SELECT principals FROM segments').pluck().get() ?? Buffer.alloc(0);
  db.close();
  expect(blob.length).toBe(4_096 * 8);
  const reported = await damaged(
    (bytes) => flip(bytes, bytes.indexOf(blob.subarray(16_000, 16_032)) + 3, 5),
    (folder) => {
      expect(searched(folder, { principal: { class: 'user', id: 'alice' } })).toEqual(all);
    },
  );
  expect(reported).toEqual([expect.stringContaining('an index over its log is damaged, from record 0 on')]);
});

test('a list of the revisions of a segment with a flipped bit hides nothing either', async () => {
  const db = openWriter({ folder: place.folder });
  const list = db.prepare<[], Buffer>('SELECT revisions FROM spans').pluck().get() ?? Buffer.alloc(0);
  db.close();
  // The one there is, that of no revision, and the sum.
  expect(list.length).toBe(2 + 4);
  const reported = await damaged(
    (bytes) => flip(bytes, bytes.indexOf(list), 2),
    (folder) => {
      const wanted = (revision: string): number[] => searched(folder, { revision });
      expect([wanted(''), wanted('sha256:none')]).toEqual([all, []]);
    },
  );
  expect(reported).toEqual([expect.stringContaining('an index over its log is damaged, from record 0 on')]);
});

/** The pages of a table's tree that are not leaves: the bytes that their cells and their last child are in. */
function innerBytes(folder: string, table: string): number[] {
  const db = new Database(fileOf(folder), { readonly: true });
  const root = db
    .prepare<[string], number>('SELECT rootpage FROM sqlite_master WHERE name = ?')
    .pluck()
    .get(table);
  db.close();
  const start = ((root ?? 0) - 1) * PAGE_BYTES;
  expect(whole[start]).toBe(5);
  const cells = whole.readUInt16BE(start + 3);
  const pointers = Array.from({ length: cells }, (_, at) => whole.readUInt16BE(start + 12 + at * 2));
  const content = pointers.flatMap((at) => Array.from({ length: 4 + 7 }, (_, byte) => start + at + byte));
  return [...Array.from({ length: 12 + cells * 2 }, (_, at) => start + at), ...content];
}

test('one flipped bit in the tree of the runs hides nothing unsaid, and no index is given away twice', async () => {
  const bytes = innerBytes(place.folder, 'runs');
  // A sample over all of them; each bit of a byte has its turn.
  const sample = Array.from(
    { length: 120 },
    (_, turn) => bytes[Math.floor((turn * bytes.length) / 120)] ?? 0,
  );
  for (const [turn, at] of sample.entries()) {
    let appended: number | undefined;
    const read: number[] = [];
    let failed = '';
    const reported = await damaged(
      (changed) => flip(changed, at, turn % 8),
      (folder) => {
        try {
          read.push(...indexesIn(folder));
          appended = append(folder);
        } catch (error) {
          failed = String(error);
        }
      },
    );
    const what = `byte ${at}, bit ${turn % 8}`;
    if (appended !== undefined) expect(appended, what).toBe(COUNT);
    if (read.length !== COUNT) expect([...reported, failed].join(''), what).not.toBe('');
    expect(read, what).toEqual([...new Set(read)].toSorted((one, other) => one - other));
  }
});

/** The index at which the next record would be appended. */
function append(folder: string): number {
  const copy = path.join(folder, 'copy');
  copyFileSync(fileOf(folder), `${copy}.db`);
  const opened = new Database(`${copy}.db`);
  try {
    opened.exec('BEGIN');
    const log = new LogAppender(opened);
    const parcel = new Parcel();
    parcel.add(rowOf(no));
    const { heads, bodies } = parcel.seal();
    const index = log.add(Heads.carried(new Uint8Array(heads)), 0, Buffer.from(bodies));
    log.write();
    opened.exec('ROLLBACK');
    return index;
  } finally {
    opened.close();
  }
}
