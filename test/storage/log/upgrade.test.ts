import { mkdirSync } from 'node:fs';
import path from 'node:path';
import Database from 'better-sqlite3';
import { expect, test } from 'vitest';
import { queryRecords } from '../../../src/audit/query.ts';
import { buildRecord } from '../../../src/audit/record.ts';
import { HEAD_BYTES, Heads } from '../../../src/storage/log/heads.ts';
import { recordStore } from '../../../src/storage/log/records.ts';
import { SEGMENT_RECORDS, sealSegment } from '../../../src/storage/log/segments.ts';
import { migrations } from '../../../src/storage/migrations.ts';
import { openReader } from '../../../src/storage/reader.ts';
import { RUN_RECORDS, recordId, type TenantNo } from '../../../src/storage/rows.ts';
import { draftOf, openStore, rowOf, sourceOf, T0, temporaryFolder, tenantNo } from '../store.ts';

const COUNT = SEGMENT_RECORDS + 10;

/** A store as the first version left it: no sums, no count of records, no spans. */
function writeFirst(folder: string): string[] {
  mkdirSync(folder, { recursive: true });
  const db = new Database(path.join(folder, 'mandate.db'));
  db.pragma('journal_mode = WAL');
  db.exec(migrations[0] ?? '');
  db.pragma('user_version = 1');
  const no = 1 as TenantNo;
  db.exec("INSERT INTO tenants (id) VALUES ('acme'), ('empty')");
  const insert = db.prepare('INSERT INTO runs (id, heads, bodies) VALUES (?, ?, ?)');
  const ids: string[] = [];
  const runs: Heads[] = [];
  for (let first = 0; first < COUNT; first += RUN_RECORDS) {
    const count = Math.min(RUN_RECORDS, COUNT - first);
    const bytes = new Uint8Array(count * HEAD_BYTES);
    const heads = Heads.stored(bytes);
    let bodies = '';
    for (let at = 0; at < count; at += 1) {
      const draft = draftOf(no, { time: T0 + first + at });
      const { subject, actor, body } = buildRecord(draft);
      ids.push(draft.decisionId);
      bodies += body;
      heads.put(at, draft.time, no, bodies.length, subject, actor, 'decision', 'allow', 0);
    }
    insert.run(recordId(no, first), bytes, Buffer.from(bodies));
    runs.push(heads);
  }
  const { principals } = sealSegment(runs.slice(0, SEGMENT_RECORDS / RUN_RECORDS));
  db.prepare('INSERT INTO segments (id, principals) VALUES (?, ?)').run(recordId(no, 0), principals);
  db.close();
  return ids;
}

test('a store of the first version is read, searched and appended to as one of this', async () => {
  await using place = await temporaryFolder();
  const ids = writeFirst(place.folder);
  await using writer = await openStore(place.folder);
  const no = await tenantNo(writer, 'acme');
  expect(await writer.append(rowOf(no, { time: T0 + COUNT }))).toBe(COUNT);
  expect(await writer.append(rowOf(await tenantNo(writer, 'empty')))).toBe(0);
  const db = openReader(place.folder);
  const store = recordStore(db);
  expect(store.range(no, 0, 10_000).map(({ index }) => index)).toEqual(
    Array.from({ length: COUNT + 1 }, (_, at) => at),
  );
  const page = { pageSize: 10, pageToken: '' };
  for (const at of [0, 2_000, SEGMENT_RECORDS, COUNT - 1])
    expect(queryRecords(sourceOf(store), no, { ...page, decisionId: ids[at] ?? '' }).records).toMatchObject([
      { index: at },
    ]);
  const within = queryRecords(sourceOf(store), no, { ...page, since: T0 + 100, until: T0 + 103 });
  expect(within.records.map(({ index }) => index)).toEqual([102, 101, 100]);
  const alice = queryRecords(sourceOf(store), no, {
    ...page,
    principal: { class: 'user', id: 'alice' },
    until: T0 + 2,
  });
  expect(alice.records.map(({ index }) => index)).toEqual([1, 0]);
  db.close();
  expect(writer.problem).toBe('');
});
