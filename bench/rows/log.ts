import { mkdirSync } from 'node:fs';
import path from 'node:path';
import Database from 'better-sqlite3';
import { verifyStore } from '../../src/audit/proof/verify-store.ts';
import { buildRecord } from '../../src/audit/record.ts';
import { systemRandom } from '../../src/effects.ts';
import { tenantId, uuidv7 } from '../../src/ids.ts';
import { openReader } from '../../src/storage/reader.ts';
import type { RecordRow, TenantNo } from '../../src/storage/rows.ts';
import { Writer } from '../../src/storage/writer.ts';
import { interleaved, median, rawOf } from '../harness/rounds.ts';
import { type Bench, type Row, type RowGroup, row } from '../row.ts';
import { questions } from '../scenario/questions.ts';

/** Records of one transaction, and how many of those are under way at a time. */
const AT_ONCE = 512;
const IN_FLIGHT = 4;
const WANTED_PER_SECOND = 300_000;
const WANTED_BYTES = 1.3;

/** What the log costs: to append to, in room, and to prove. */
export const logRows: RowGroup = {
  names: ['append_vs_sqlite', 'verify_records_per_s', 'bytes_per_decision'],
  measure: async (bench) => {
    const folder = path.join(bench.folder, 'log');
    const ours = await appended(bench, folder);
    return [ours, ...proved(bench, folder)];
  },
};

async function appended(bench: Bench, folder: string): Promise<Row> {
  await using writer = await Writer.open({ folder });
  const { value } = await writer.run('putTenant', { id: tenantId('bench') });
  const rows = recordsOf(value.no);
  const count = (bench.quick ? 8 : 200) * AT_ONCE;
  const bare = bareTable(path.join(bench.folder, 'bare.db'), rows);
  const log = async (): Promise<number> => {
    const began = performance.now();
    let left = count;
    const some = async (): Promise<void> => {
      for (; left > 0; ) {
        left -= AT_ONCE;
        const parcel = writer.parcel();
        for (const each of rows) parcel.add(each);
        await writer.appendAll(parcel);
      }
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, some));
    return perSecond(count, began);
  };
  const table = async (): Promise<number> => {
    const began = performance.now();
    for (let done = 0; done < count; done += AT_ONCE) bare.insert();
    return perSecond(count, began);
  };
  const rounds = await interleaved(bench.rounds, { log, table }, bench.tries);
  bare.close();
  const [log_, table_] = [rounds['log']?.figures ?? [], rounds['table']?.figures ?? []];
  bench.say(`append: ${median(log_).toFixed(0)} records/s, bare SQLite ${median(table_).toFixed(0)}`);
  return row('append_vs_sqlite', 'records/s', median(log_), median(table_), {
    note: 'durable records with their hashes, beside bare inserts of the same bytes, in FULL transactions of 512; wanted: 0.5 or more',
    raw: Object.fromEntries(Object.entries(rounds).map(([name, each]) => [name, rawOf(each)])),
  });
}

function proved(bench: Bench, folder: string): Row[] {
  const db = openReader(folder);
  try {
    const began = performance.now();
    const options = { policy: { logs: [], quorum: undefined }, kept: [], progress: () => undefined };
    const [verdict] = [...verifyStore(db, options)];
    const entries = verdict?.entries ?? 0;
    const speed = perSecond(entries, began);
    bench.say(`verify: ${speed.toFixed(0)} records/s`);
    const pages = db
      .prepare<[], { bytes: number }>(
        "SELECT sum(pgsize) AS bytes FROM dbstat WHERE name IN ('runs', 'tiles') AND aggregate = TRUE",
      )
      .get();
    const own = db.prepare<[], number>('SELECT sum(length(bodies)) FROM runs').pluck().get() ?? 0;
    return [
      row('verify_records_per_s', 'records/s', speed, WANTED_PER_SECOND, {
        note: `a store of ${entries} records, each read, hashed and compared; wanted: 300,000 or more`,
      }),
      row('bytes_per_decision', 'bytes', (pages?.bytes ?? 0) / entries, own / entries, {
        note: `in the store, with its head, its hash and its part of the tree, indexes apart, beside its own; wanted: ${WANTED_BYTES} or less`,
      }),
    ];
  } finally {
    db.close();
  }
}

const perSecond = (count: number, began: number): number => count / ((performance.now() - began) / 1000);

/** As decisions leave them. */
function recordsOf(no: TenantNo): RecordRow[] {
  const time = 1_767_225_600_000;
  return questions(AT_ONCE, 200).map(({ principal, action, document: { id, ...properties } }) => {
    const subject = { class: 'user' as const, id: principal.id };
    return buildRecord({
      tenantNo: no,
      time,
      kind: 'decision',
      outcome: 'allow',
      decisionId: uuidv7(time, systemRandom(10)),
      caller: 'service:docs-api',
      subject,
      actor: undefined,
      members: `,"revision":"sha256:${'0'.repeat(64)}","cost":5120,"rules":["authz.allow"],"reasons":[]`,
      input: JSON.stringify({
        tenant: 'bench',
        subject: { ...subject, status: 'active', properties: {}, groups: [], roles: ['reader'] },
        actors: [],
        action: { name: action },
        resource: { type: 'document', id, properties },
        context: {},
      }),
    });
  });
}

function bareTable(file: string, rows: readonly RecordRow[]): { insert: () => void; close: () => void } {
  mkdirSync(path.dirname(file), { recursive: true });
  const db = new Database(file);
  db.pragma('page_size = 8192');
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = FULL');
  db.exec('CREATE TABLE records (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT');
  const insert = db.prepare('INSERT INTO records (body) VALUES (?)');
  const bodies = rows.map(({ body }) => Buffer.from(body));
  return {
    insert: db.transaction(() => {
      for (const body of bodies) insert.run(body);
    }),
    close: () => void db.close(),
  };
}
