import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { describe } from '../errors.ts';
import { type Commands, prepareCommands } from './commands.ts';
import { type Connection, openWriter, type StoreOptions } from './database.ts';
import { recordId, recordIndex, type TenantNo } from './rows.ts';
import { type Involved, SEGMENT_RECORDS, sealSegment } from './segments.ts';
import { type Batch, type BatchDone, ENTRY_WIDTH, NO_RECORD } from './writer-protocol.ts';

/** The thread that owns the one connection that writes. A batch is one transaction: all of it is durable, or none. */
function serve(port: MessagePort, options: StoreOptions): void {
  const db = openWriter(options);
  const commands = prepareCommands(db);
  const append = prepareAppend(db);
  const begin = db.prepare('BEGIN IMMEDIATE');
  const commit = db.prepare('COMMIT');
  const rollback = db.prepare('ROLLBACK');

  /** Applies the entries from `from` to `to` in one transaction, and writes what became of them into `done`. */
  const apply = (batch: Batch, from: number, to: number, done: Outcome): void => {
    begin.run();
    try {
      for (let at = from; at < to; at += ENTRY_WIDTH) applyOne(batch, at, done);
      commit.run();
    } catch (error) {
      if (db.inTransaction) rollback.run();
      append.forget();
      throw error;
    }
  };

  const applyOne = (batch: Batch, at: number, done: Outcome): void => {
    const { entries } = batch;
    const position = at / ENTRY_WIDTH;
    const command = entries[at] as { name: keyof Commands; args: never } | null;
    if (command) {
      const value = commands[command.name](command.args);
      done.values ??= [];
      done.values[position] = value;
      if (value === undefined) return;
    }
    if (entries[at + 1] !== NO_RECORD) done.indexes[position] = append.run(batch, at + 1);
  };

  /** One entry must not take its neighbours down: each again, in a transaction of its own. */
  const applyEach = (batch: Batch): BatchDone => {
    const { entries } = batch;
    const done = outcomeOf(batch);
    const errors = new Map<number, string>();
    for (let at = 0; at < entries.length; at += ENTRY_WIDTH) {
      try {
        apply(batch, at, at + ENTRY_WIDTH, done);
      } catch (error) {
        errors.set(at / ENTRY_WIDTH, describe(error));
      }
    }
    return { ...done, errors };
  };

  const applyAll = (batch: Batch): BatchDone => {
    try {
      const done = outcomeOf(batch);
      apply(batch, 0, batch.entries.length, done);
      return done;
    } catch {
      return applyEach(batch);
    }
  };

  port.on('message', (batch: Batch | 'close') => {
    if (batch === 'close') {
      db.close();
      port.close();
      return;
    }
    port.postMessage(applyAll(batch), [batch.bodies]);
  });
  port.postMessage('ready');
}

interface Outcome {
  readonly bodies: ArrayBuffer;
  readonly indexes: Float64Array;
  values?: unknown[];
}

const outcomeOf = ({ entries, bodies }: Batch): Outcome => ({
  indexes: new Float64Array(entries.length / ENTRY_WIDTH).fill(-1),
  bodies,
});

/**
 * Appends records, each at the next index of its tenant. Where a tenant's log ends is read once and then counted on;
 * after a failure it is read again, so that it is never guessed.
 */
function prepareAppend(db: Connection) {
  const last = db
    .prepare<[number, number], number>('SELECT max(id) FROM records WHERE id >= ? AND id < ?')
    .pluck();
  const insert = db.prepare(
    'INSERT INTO records (id, time, kind, outcome, subject, actor, body) VALUES (?, ?, ?, ?, ?, ?, ?)',
  );
  const involved = db.prepare<[number, number], Involved>(
    'SELECT subject, actor FROM records WHERE id >= ? AND id <= ? ORDER BY id',
  );
  const insertSegment = db.prepare('INSERT INTO record_segments (id, principals) VALUES (?, ?)');
  const next = new Map<number, number>();
  return {
    run({ entries, bodies }: Batch, at: number): number {
      const tenantNo = entries[at] as TenantNo;
      const first = recordId(tenantNo, 0);
      const id =
        next.get(tenantNo) ?? (last.get(first, recordId((tenantNo + 1) as TenantNo, 0)) ?? first - 1) + 1;
      const body = Buffer.from(bodies, entries[at + 6] as number, entries[at + 7] as number);
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
      const index = recordIndex(id);
      if ((index + 1) % SEGMENT_RECORDS === 0) {
        const start = id + 1 - SEGMENT_RECORDS;
        insertSegment.run(start, sealSegment(involved.all(start, id)));
      }
      return index;
    },
    forget: () => next.clear(),
  };
}

if (parentPort) serve(parentPort, workerData as StoreOptions);
