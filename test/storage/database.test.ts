import { statSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { describe, expect, test, vi } from 'vitest';
import { type Connection, openWriter } from '../../src/storage/database.ts';
import { migrations } from '../../src/storage/migrations.ts';
import { openReader } from '../../src/storage/reader.ts';
import { Disk } from '../../src/storage/watch/disk.ts';
import { WriteAheadLog } from '../../src/storage/watch/write-ahead-log.ts';
import { openStore, rowOf, temporaryFolder, tenantNo } from './store.ts';

/** A writer's own connection to a store that holds two records. */
async function withRecords(use: (db: Connection, folder: string) => void): Promise<void> {
  await using place = await temporaryFolder();
  {
    await using writer = await openStore(place.folder);
    const no = await tenantNo(writer, 'acme');
    await writer.append(rowOf(no));
    await writer.append(rowOf(no));
  }
  const db = openWriter(place);
  try {
    use(db, place.folder);
  } finally {
    db.close();
  }
}

test('a store has one server: a second is refused while the first runs, and welcome after it', async () => {
  await using place = await temporaryFolder();
  {
    await using _first = await openStore(place.folder);
    await expect(openStore(place.folder)).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringContaining('another Mandate serves from it') as unknown,
    });
  }
  await using second = await openStore(place.folder);
  expect(second.problem).toBe('');
});

describe('records are append-only', () => {
  test.each([
    'UPDATE runs SET bodies = heads',
    'UPDATE runs SET id = id + 100',
    'DELETE FROM runs',
    "INSERT OR REPLACE INTO runs SELECT id, heads, x'00' FROM runs",
    "REPLACE INTO runs SELECT id, heads, x'00' FROM runs",
    'UPDATE OR REPLACE runs SET id = (SELECT max(id) FROM runs)',
    "INSERT INTO runs SELECT * FROM runs WHERE 1 ON CONFLICT (id) DO UPDATE SET bodies = x'00'",
  ])('%s is refused', async (statement) => {
    await withRecords((db) => {
      const before = db.prepare('SELECT * FROM runs').all();
      expect(before).toHaveLength(2);
      expect(() => db.prepare(statement).run()).toThrow(/append-only/);
      expect(db.prepare('SELECT * FROM runs').all()).toEqual(before);
    });
  });

  test('a second record at the same place is refused', async () => {
    await withRecords((db) => {
      expect(() => db.prepare('INSERT INTO runs SELECT * FROM runs').run()).toThrow(/UNIQUE/);
    });
  });

  test('readers cannot write at all', async () => {
    await withRecords((_db, folder) => {
      const reader = openReader(folder);
      expect(() => reader.prepare('DELETE FROM tenants').run()).toThrow(/readonly/);
      reader.close();
    });
  });
});

describe('the store', () => {
  test('is durable: a commit waits for the disk', async () => {
    await withRecords((db) => {
      expect(db.pragma('journal_mode', { simple: true })).toBe('wal');
      // 2 is FULL.
      expect(db.pragma('synchronous', { simple: true })).toBe(2);
    });
  });

  test("is its owner's alone to read", async () => {
    await withRecords((_db, folder) => {
      expect(statSync(path.join(folder, 'mandate.db')).mode & 0o077).toBe(0);
    });
  });

  test('of a newer version is refused with a message, and left as it was', async () => {
    await using place = await temporaryFolder();
    openWriter(place).close();
    const file = path.join(place.folder, 'mandate.db');
    const newer = new Database(file);
    newer.pragma(`user_version = ${migrations.length + 1}`);
    newer.close();
    await expect(openStore(place.folder)).rejects.toMatchObject({
      code: 'storage_unsupported',
      message: expect.stringMatching(/written by a newer version of Mandate .* upgrade/) as string,
    });
    const after = new Database(file);
    expect(after.pragma('user_version', { simple: true })).toBe(migrations.length + 1);
    after.close();
  });

  test('that is no database is refused with a message', async () => {
    await using place = await temporaryFolder();
    writeFileSync(path.join(place.folder, 'mandate.db'), 'not a database'.repeat(100));
    await expect(openStore(place.folder)).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringContaining('cannot open the store') as string,
    });
  });

  test('keeps its write-ahead log bounded while readers follow each other without a pause', async () => {
    await using place = await temporaryFolder();
    await using writer = await openStore(place.folder);
    const no = await tenantNo(writer, 'acme');
    const readers = [openReader(place.folder), openReader(place.folder)] as const;
    const row = rowOf(no, { input: JSON.stringify({ text: 'x'.repeat(60_000) }) });
    const writing = new AbortController();
    const read = async (): Promise<void> => {
      for (let turn = 0; !writing.signal.aborted; turn += 1) {
        // One has begun before the other ends.
        const [now, before] = [readers[turn % 2], readers[(turn + 1) % 2]];
        now?.exec('BEGIN');
        now?.prepare('SELECT count(*) FROM tenants').get();
        if (before?.inTransaction) before.exec('COMMIT');
        await setTimeout(20);
      }
    };
    const reading = read();
    const wal = path.join(place.folder, 'mandate.db-wal');
    const isBounded = (): boolean => statSync(wal).size < 200 * 1024 * 1024;
    // What is written is twice that. A reader that the machine held up was one that stays, until the log is looked at again.
    for (let commit = 0; commit < 1_700 || (!isBounded() && commit < 6_000); commit += 1)
      await Promise.all(Array.from({ length: 4 }, () => writer.append(row)));
    writing.abort();
    await reading;
    for (const reader of readers) reader.close();
    expect(isBounded()).toBe(true);
  });

  test('outlives a checkpoint that fails, says so, and does not ask for one again and again', async () => {
    await withRecords((db, folder) => {
      // Sparse: it is not written.
      truncateSync(path.join(folder, 'mandate.db-wal'), 200 * 1024 * 1024);
      const log = new WriteAheadLog(db);
      // A checkpoint within a transaction is an error.
      db.exec('BEGIN IMMEDIATE');
      expect(() => db.pragma('wal_checkpoint(TRUNCATE)')).toThrow(/locked/);
      for (let commit = 0; commit < 1_000; commit += 1) log.committed(1);
      const words = 'the write-ahead log has 200 MiB and cannot be brought into the store: ';
      expect(log.problem).toBe(`${words}database table is locked`);
      log.look();
      expect(log.problem).toBe(`${words}database table is locked`);
      db.exec('COMMIT');
      log.look();
      expect(log.problem).toBe('');
      expect(db.pragma('busy_timeout', { simple: true })).toBe(2_000);
      // A reader that stays is waited for once.
      const reader = openReader(folder);
      db.exec('CREATE TABLE noise (a)');
      reader.exec('BEGIN');
      reader.prepare('SELECT * FROM noise').all();
      db.exec('INSERT INTO noise VALUES (1)');
      truncateSync(path.join(folder, 'mandate.db-wal'), 400 * 1024 * 1024);
      const before = statSync(path.join(folder, 'mandate.db-wal')).size;
      const waits = countingPragmas(db);
      for (let commit = 0; commit < 2_560; commit += 1) log.committed(1);
      expect(waits()).toBe(1);
      expect(statSync(path.join(folder, 'mandate.db-wal')).size).toBe(before);
      reader.close();
    });
  });

  test('says that somebody keeps reading before that fills the disk, and that the disk is nearly full', async () => {
    await withRecords((db, folder) => {
      const reader = openReader(folder);
      reader.exec('BEGIN');
      reader.prepare('SELECT * FROM tenants').all();
      db.exec('CREATE TABLE noise (a)');
      truncateSync(path.join(folder, 'mandate.db-wal'), 1_100 * 1024 * 1024);
      const log = new WriteAheadLog(db);
      log.look();
      expect(log.problem).toMatch(/has 1100 MiB .*: somebody keeps reading/);
      reader.close();
      log.look();
      expect(log.problem).toBe('');
      let free = 10 * 1024 * 1024;
      const disk = new Disk(folder, () => free);
      disk.look();
      expect(disk.problem).toBe('the disk has 10 MiB left');
      free = 1024 ** 3;
      disk.look();
      expect(disk.problem).toBe('');
    });
  });
});

/** How many checkpoints were asked for since. */
function countingPragmas(db: Connection): () => number {
  const asked = vi.spyOn(db, 'pragma');
  return () => asked.mock.calls.filter(([text]) => text.startsWith('wal_checkpoint')).length;
}
