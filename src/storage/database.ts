import { chmodSync } from 'node:fs';
import path from 'node:path';
import Database from 'better-sqlite3';
import { ServiceError } from '../errors.ts';
import { Damaged, reportFault } from './faults.ts';
import { makeFolder } from './files.ts';
import { Runs } from './log/runs.ts';
import { segmentSealer } from './log/sealing.ts';
import { growTiles } from './log/tree.ts';
import { migrations } from './migrations.ts';
import type { TenantNo } from './rows.ts';

export type Connection = Database.Database;

export interface StoreOptions {
  /** The folder of the store; made with mode 0700 if it is not there. */
  readonly folder: string;
  /** The most bytes the database file may take. A write beyond it fails, and with it the answer. */
  readonly maxBytes?: number | undefined;
}

const BUSY_TIMEOUT = 'busy_timeout = 2000';

/** Records are most of a kilobyte: larger pages hold more of them and are written less often. */
const PAGE_BYTES = 8192;

/** Opens the only connection that writes, and brings the schema up to date. Throws `storage_unsupported`. */
export function openWriter(options: StoreOptions): Connection {
  makeFolder(options.folder);
  const file = databaseFile(options.folder);
  const db = new Database(file);
  chmodSync(file, 0o600);
  db.pragma(`page_size = ${PAGE_BYTES}`);
  // better-sqlite3 builds SQLite so that WAL means NORMAL; a record must survive a power cut.
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = FULL');
  // Without it INSERT OR REPLACE deletes rows past the append-only trigger.
  db.pragma('recursive_triggers = ON');
  db.pragma('foreign_keys = ON');
  // What is destroyed leaves nothing in pages that are free.
  db.pragma('secure_delete = ON');
  db.pragma(BUSY_TIMEOUT);
  db.pragma('wal_autocheckpoint = 2000');
  db.pragma('cache_size = -16384');
  migrate(db, file);
  // A key may have been destroyed, and who destroyed it killed before the log of that was cut off.
  db.pragma('wal_checkpoint(TRUNCATE)');
  return db;
}

/**
 * Makes the store this process's own until the connection is closed or the process ends, however it does. SQLite would
 * keep a store whole under two servers, but neither would hear of what the other changes: whom one disables, the other
 * would go on to allow. Throws if it is another's.
 */
export function claim(folder: string): Connection {
  makeFolder(folder);
  const db = new Database(path.join(folder, 'mandate.lock'), { timeout: 0 });
  try {
    db.exec('BEGIN EXCLUSIVE');
    return db;
  } catch (cause) {
    db.close();
    if ((cause as { code?: string }).code !== 'SQLITE_BUSY') throw cause;
    throw new Error('another Mandate serves from it; stop that one, or name another data_dir', { cause });
  }
}

export const databaseFile = (folder: string): string => path.join(folder, 'mandate.db');

function sealAgain(db: Connection): void {
  const seal = segmentSealer(db);
  const starts = db.prepare<[], number>('SELECT id FROM segments').pluck().all();
  for (const start of starts) seal(start);
}

/** Of the logs of a store that had no trees. One that is damaged has none, and is not appended to. */
function growTrees(db: Connection): void {
  const logs = db.prepare<[], TenantNo>('SELECT tenant_no FROM logs').pluck().all();
  const runs = new Runs(db);
  for (const no of logs)
    try {
      growTiles(db, no, runs.size(no));
    } catch (error) {
      if (!(error instanceof Damaged)) throw error;
      reportFault(error.fault);
    }
}

function migrate(db: Connection, file: string): void {
  db.transaction(() => {
    const version = db.pragma('user_version', { simple: true }) as number;
    if (version > migrations.length)
      throw new ServiceError(
        'storage_unsupported',
        `the store ${file} was written by a newer version of Mandate (schema ${version}, this one knows ${migrations.length}); upgrade Mandate or point data_dir at another folder`,
      );
    for (const step of migrations.slice(version)) db.exec(step);
    // A store that had segments before they had spans.
    if (version === 1) sealAgain(db);
    if (version === 1 || version === 2) growTrees(db);
    db.pragma(`user_version = ${migrations.length}`);
  }).immediate();
}
