import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import Database from 'better-sqlite3';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openWriter } from '../../src/storage/database.ts';
import { faultChannel, type StoreFault } from '../../src/storage/faults.ts';
import { LogAppender } from '../../src/storage/log/appender.ts';
import type { TenantNo } from '../../src/storage/rows.ts';
import { Scrub } from '../../src/storage/watch/scrub.ts';
import { eventually } from '../e2e/server.ts';
import { ruinPagesWith } from '../fault/damage.ts';
import { appendRows, openStore, rowOf, temporaryFolder, tenantNo } from './store.ts';

/** A pass over a store of four logs, with damage in it that nobody has come across. */

const COUNT = 2_000;
const SPAN = 2 ** 36;
/** In the order of their numbers. */
const TENANTS = ['acme', 'brief', 'globex', 'zoo'];

let whole: Awaited<ReturnType<typeof temporaryFolder>>;
let place: Awaited<ReturnType<typeof temporaryFolder>>;
const numbers: TenantNo[] = [];

beforeAll(async () => {
  whole = await temporaryFolder();
  await using writer = await openStore(whole.folder);
  for (const tenant of TENANTS) {
    const no = await tenantNo(writer, tenant);
    numbers.push(no);
    const padding = 'x'.repeat(300);
    const rows = Array.from({ length: tenant === 'brief' ? 3 : COUNT }, (_, n) =>
      rowOf(no, {
        input: JSON.stringify({ subject: { class: 'user', id: 'alice' }, mark: `${tenant}-${n}-`, padding }),
      }),
    );
    for (let at = 0; at < rows.length; at += 40) await appendRows(writer, rows.slice(at, at + 40));
  }
});
afterAll(() => whole[Symbol.asyncDispose]());

let faults: StoreFault[];
const hear = (fault: unknown): void => void faults.push(fault as StoreFault);
beforeEach(async () => {
  place = await temporaryFolder();
  cpSync(whole.folder, place.folder, { recursive: true });
  faults = [];
  subscribe(faultChannel.name, hear);
});
afterEach(async () => {
  unsubscribe(faultChannel.name, hear);
  await place[Symbol.asyncDispose]();
});

const noOf = (tenant: string): TenantNo => numbers[TENANTS.indexOf(tenant)] as TenantNo;
const idOf = (tenant: string, index: number): number => noOf(tenant) * SPAN + index;

/** What somebody does to the file. */
function attack(change: (db: Database.Database) => void): void {
  const db = new Database(path.join(place.folder, 'mandate.db'));
  const triggers = db.prepare<[], string>("SELECT name FROM sqlite_master WHERE type = 'trigger'");
  for (const name of triggers.pluck().all()) db.exec(`DROP TRIGGER ${name}`);
  change(db);
  db.close();
}

const remove = (tenant: string, from: number, end: number): void =>
  attack((db) =>
    db.prepare('DELETE FROM runs WHERE id >= ? AND id < ?').run(idOf(tenant, from), idOf(tenant, end)),
  );

/** Changes a byte of a record, as rot does. */
function rot(tenant: string, index: number): void {
  const file = path.join(place.folder, 'mandate.db');
  const bytes = readFileSync(file);
  const at = bytes.indexOf(`"mark":"${tenant}-${index}-`);
  expect(at).toBeGreaterThan(0);
  bytes[at + 3] = (bytes[at + 3] ?? 0) ^ 1;
  writeFileSync(file, bytes);
}

interface Pass extends Disposable {
  /** How many logs' ends were looked at. */
  checked(): number;
}

/** `busyMs`: how long the first look at a log's end takes; beyond 300 ms the rest comes behind the start. */
function begin(busyMs = 0, isBusy = false, folder = place.folder): Pass {
  const db = openWriter({ folder });
  const appender = new LogAppender(db);
  let count = 0;
  const check = (no: TenantNo): void => {
    for (const end = performance.now() + (count === 0 ? busyMs : 0); performance.now() < end; );
    count += 1;
    appender.check(no);
  };
  new Scrub(db, check, () => isBusy).begin();
  return { checked: () => count, [Symbol.dispose]: () => void db.close() };
}

const told = (tenant: string, words: string): object => ({
  tenantNo: noOf(tenant),
  text: words,
  lasts: true,
});

/** Timers that are left read a store that is closed: they are the last of their test. */
const said = (count: number): Promise<StoreFault[]> =>
  eventually(
    () => Promise.resolve(faults),
    (all) => all.length >= count,
  );

test('a store that is whole is read, and nothing said', () => {
  using pass = begin();
  expect([pass.checked(), faults]).toEqual([TENANTS.length, []]);
});

describe('in one pass at the start', () => {
  test('rot is found in each log, record by record, those side by side as one', () => {
    for (const index of [0, 777, 778, 779, COUNT - 1]) rot('acme', index);
    rot('brief', 2);
    rot('zoo', 1_024);
    using _ = begin();
    expect(faults).toEqual([
      told('acme', 'record 0 of its log is damaged'),
      told('acme', 'records 777 to 779 of its log are damaged'),
      told('acme', `record ${COUNT - 1} of its log is damaged`),
      told('brief', 'record 2 of its log is damaged'),
      told('zoo', 'record 1024 of its log is damaged'),
    ]);
  });

  test('what is missing is found: the first, some between, the last, and all', () => {
    remove('acme', 0, 40);
    remove('acme', 1_000, 1_080);
    remove('globex', COUNT - 40, COUNT);
    remove('brief', 0, 3);
    using _ = begin();
    const texts = faults.map(
      ({ tenantNo, text }) => `${TENANTS[numbers.indexOf(tenantNo as TenantNo)]}: ${text}`,
    );
    expect(texts).toContain('acme: records 0 to 39 of its log are damaged');
    expect(texts.some((text) => /^acme: records 1000 to 10\d\d of its log are damaged$/.test(text))).toBe(
      true,
    );
    expect(texts).toContain(
      `globex: its log has ${COUNT} records by their count, and ends with ${COUNT - 40} by their index`,
    );
    expect(texts).toContain('brief: its log has 3 records by their count, and ends with 0 by their index');
    expect(texts.filter((text) => text.startsWith('zoo'))).toEqual([]);
  });

  test('hashes above the records that are of others, or are gone, are found', () => {
    attack((db) => {
      const { changes } = db
        .prepare('UPDATE tiles SET hash = randomblob(32) WHERE tenant_no = ? AND level = 1 AND at = 2')
        .run(noOf('globex'));
      expect(changes).toBe(1);
      db.prepare('DELETE FROM tiles WHERE tenant_no = ? AND level = 1 AND at = 0').run(noOf('zoo'));
    });
    using _ = begin();
    expect(faults).toContainEqual(told('globex', 'records 512 to 767 of its log are damaged'));
    expect(faults).toContainEqual(told('zoo', 'records 0 to 255 of its log are damaged'));
    expect(faults.every(({ tenantNo }) => tenantNo === noOf('globex') || tenantNo === noOf('zoo'))).toBe(
      true,
    );
  });

  test('a page that cannot be read ends it neither for its log nor for those behind', () => {
    expect(ruinPagesWith(place.folder, '"mark":"acme-500-')).toBe(1);
    rot('acme', 1_900);
    rot('zoo', 5);
    using _ = begin();
    expect(faults).toContainEqual(told('acme', 'record 1900 of its log is damaged'));
    expect(faults).toContainEqual(told('zoo', 'record 5 of its log is damaged'));
    expect(faults.some(({ tenantNo, text }) => tenantNo === noOf('acme') && / (?:49|50)\d /.test(text))).toBe(
      true,
    );
  });

  test('nor do those that hold many small logs', async () => {
    await using small = await temporaryFolder();
    {
      await using writer = await openStore(small.folder);
      for (let at = 0; at < 60; at += 1) {
        const no = await tenantNo(writer, `tenant-${at}`);
        const input = JSON.stringify({ subject: { class: 'user', id: 'alice' }, mark: `small-${at}-` });
        await appendRows(writer, [rowOf(no, { input })]);
      }
    }
    const file = path.join(small.folder, 'mandate.db');
    const db = new Database(file);
    const leaves = db.prepare<[], number>(
      "SELECT pageno FROM dbstat WHERE name = 'runs' AND pagetype = 'leaf'",
    );
    const pages = leaves.pluck().all();
    db.close();
    expect(pages.length).toBeGreaterThan(2);
    const bytes = readFileSync(file);
    for (const page of pages.slice(0, -1)) bytes.fill(0xff, (page - 1) * 8_192, (page - 1) * 8_192 + 64);
    bytes.write('smalX', bytes.lastIndexOf('small-59-'));
    writeFileSync(file, bytes);
    using _ = begin(0, false, small.folder);
    expect(faults.some(({ text }) => text.includes('malformed'))).toBe(true);
    expect(faults.at(-1)).toEqual({ tenantNo: 60, text: 'record 0 of its log is damaged', lasts: true });
  });

  test('a log that was set aside is passed by', () => {
    attack((db) => db.prepare("UPDATE tenants SET id = 'globex~1' WHERE no = ?").run(noOf('globex')));
    remove('globex', 0, 40);
    rot('globex', 1_500);
    rot('zoo', 5);
    using _ = begin();
    expect(faults).toEqual([told('zoo', 'record 5 of its log is damaged')]);
  });
});

describe('behind the start', () => {
  test('it reads what is left, each log to its end', async () => {
    rot('acme', 1_999);
    rot('zoo', 1_999);
    using pass = begin(350);
    expect([pass.checked(), faults]).toEqual([1, []]);
    expect(await said(2)).toEqual([
      told('acme', 'record 1999 of its log is damaged'),
      told('zoo', 'record 1999 of its log is damaged'),
    ]);
    expect(pass.checked()).toBe(TENANTS.length);
  });

  test('it does so, more slowly, where something always is committed', async () => {
    rot('acme', 5);
    using pass = begin(350, true);
    expect([pass.checked(), faults]).toEqual([1, []]);
    expect(await said(1)).toEqual([told('acme', 'record 5 of its log is damaged')]);
  });
});
