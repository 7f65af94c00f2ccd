import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { describe } from '../errors.ts';
import { type Commands, prepareCommands } from './commands.ts';
import { type Connection, openWriter, type StoreOptions } from './database.ts';
import { recordId, recordIndex, type TenantNo } from './rows.ts';
import { type Batch, type BatchDone, ENTRY_WIDTH, type EntryResult, NO_RECORD } from './writer-protocol.ts';

/** The thread that owns the one connection that writes. A batch is one transaction: all of it is durable, or none. */
function serve(port: MessagePort, options: StoreOptions): void {
  const db = openWriter(options);
  const commands = prepareCommands(db);
  const append = prepareAppend(db);
  const begin = db.prepare('BEGIN IMMEDIATE');
  const commit = db.prepare('COMMIT');
  const rollback = db.prepare('ROLLBACK');

  const apply = (entries: Batch['entries'], from: number, to: number): EntryResult[] => {
    begin.run();
    try {
      const results: EntryResult[] = [];
      for (let at = from; at < to; at += ENTRY_WIDTH) results.push(applyOne(entries, at));
      commit.run();
      return results;
    } catch (error) {
      if (db.inTransaction) rollback.run();
      throw error;
    } finally {
      append.forget();
    }
  };

  const applyOne = (entries: Batch['entries'], at: number): EntryResult => {
    const command = entries[at] as { name: keyof Commands; args: never } | null;
    const value = command ? commands[command.name](command.args) : null;
    if (value === undefined || entries[at + 1] === NO_RECORD) return { index: -1, value };
    return { index: append.run(entries, at + 1), value };
  };

  port.on('message', (batch: Batch | 'close') => {
    if (batch === 'close') {
      db.close();
      port.close();
      return;
    }
    const { entries } = batch;
    try {
      port.postMessage({ results: apply(entries, 0, entries.length) } satisfies BatchDone);
    } catch {
      // One entry must not take its neighbours down: each again, in a transaction of its own.
      const results: EntryResult[] = [];
      for (let at = 0; at < entries.length; at += ENTRY_WIDTH) {
        try {
          results.push(...apply(entries, at, at + ENTRY_WIDTH));
        } catch (error) {
          results.push({ index: -1, value: undefined, error: describe(error) });
        }
      }
      port.postMessage({ results } satisfies BatchDone);
    }
  });
  port.postMessage('ready');
}

/** Appends records, each at the next index of its tenant. Indexes are read once a transaction, never kept longer. */
function prepareAppend(db: Connection) {
  const last = db
    .prepare<[number, number], number>('SELECT max(id) FROM records WHERE id >= ? AND id < ?')
    .pluck();
  const insert = db.prepare(
    'INSERT INTO records (id, time, kind, outcome, subject, actor, body) VALUES (?, ?, ?, ?, ?, ?, ?)',
  );
  const next = new Map<number, number>();
  return {
    run(entries: Batch['entries'], at: number): number {
      const tenantNo = entries[at] as TenantNo;
      const first = recordId(tenantNo, 0);
      const id =
        next.get(tenantNo) ?? (last.get(first, recordId((tenantNo + 1) as TenantNo, 0)) ?? first - 1) + 1;
      const body = Buffer.from(entries[at + 6] as string, 'utf8');
      insert.run(
        id,
        entries[at + 1],
        entries[at + 2],
        entries[at + 3],
        entries[at + 4],
        entries[at + 5],
        body,
      );
      next.set(tenantNo, id + 1);
      return recordIndex(id);
    },
    forget: () => next.clear(),
  };
}

if (parentPort) serve(parentPort, workerData as StoreOptions);
