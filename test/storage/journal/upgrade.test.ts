import Database from 'better-sqlite3';
import { expect, test } from 'vitest';
import { verifyStore } from '../../../src/audit/proof/verify-store.ts';
import { databaseFile } from '../../../src/storage/database.ts';
import { recordStore } from '../../../src/storage/log/records.ts';
import { migrations } from '../../../src/storage/migrations.ts';
import { openReader } from '../../../src/storage/reader.ts';
import type { TenantNo } from '../../../src/storage/rows.ts';
import { appendRows, openStore, rowOf, temporaryFolder, tenantNo } from '../store.ts';

type Columns = ReadonlyMap<string, readonly string[]>;

/** The tables that so many steps make, and their columns. */
function columnsAfter(steps: readonly string[]): Columns {
  const db = new Database(':memory:');
  for (const step of steps) db.exec(step);
  const tables = db.prepare<[], string>("SELECT name FROM sqlite_master WHERE type = 'table'").pluck().all();
  const columns = db.prepare<[string], string>('SELECT name FROM pragma_table_info(?)').pluck();
  const all = new Map(tables.map((table) => [table, columns.all(table)]));
  db.close();
  return all;
}

function indexesAfter(steps: readonly string[]): readonly string[] {
  const db = new Database(':memory:');
  for (const step of steps) db.exec(step);
  const made = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL";
  const names = db.prepare<[], string>(made).pluck().all();
  db.close();
  return names;
}

/** Takes a store back to the version before it had a journal. */
function withoutJournal(folder: string): void {
  const step = migrations.findIndex((each) => each.includes('CREATE TABLE journal'));
  const before = columnsAfter(migrations.slice(0, step));
  const db = new Database(databaseFile(folder));
  const now = [...columnsAfter(migrations)];
  // Triggers go with their tables, and may name columns of others.
  for (const [table] of now) if (!before.has(table)) db.exec(`DROP TABLE ${table}`);
  for (const name of indexesAfter(migrations))
    if (!indexesAfter(migrations.slice(0, step)).includes(name)) db.exec(`DROP INDEX IF EXISTS ${name}`);
  for (const [table, columns] of now)
    for (const name of columns)
      if (before.get(table)?.includes(name) === false) db.exec(`ALTER TABLE ${table} DROP COLUMN ${name}`);
  db.pragma(`user_version = ${step}`);
  db.close();
}

test('a store of before is read and verified as it is, and opened it goes on', async () => {
  await using place = await temporaryFolder();
  const numbers: TenantNo[] = [];
  {
    await using writer = await openStore(place.folder);
    for (let n = 0; n < 20; n += 1) numbers.push(await tenantNo(writer, `t${n}`));
    await appendRows(
      writer,
      numbers.map((no) => rowOf(no)),
    );
  }
  withoutJournal(place.folder);
  const reader = openReader(place.folder);
  const options = { policy: { logs: [], quorum: undefined }, kept: [], progress: () => undefined };
  expect(numbers.map((no) => recordStore(reader).size(no))).toEqual(numbers.map(() => 1));
  expect([...verifyStore(reader, options)].flatMap(({ faults }) => faults)).toEqual([]);
  reader.close();
  await using writer = await openStore(place.folder);
  expect(
    await appendRows(
      writer,
      numbers.map((no) => rowOf(no)),
    ),
  ).toEqual(numbers.map(() => 1));
  const after = openReader(place.folder);
  expect(after.prepare('SELECT count(*) FROM journal').pluck().get()).toBe(1);
  expect(numbers.map((no) => recordStore(after).range(no, 0, 9).length)).toEqual(numbers.map(() => 2));
  after.close();
});
