import { existsSync } from 'node:fs';
import { open, rename, rm, rmdir } from 'node:fs/promises';
import path from 'node:path';
import Database from 'better-sqlite3';
import { describe, ServiceError } from '../errors.ts';
import { type Connection, databaseFile } from './database.ts';
import { makeFolder } from './files.ts';
import { copyProven } from './volume/copying.ts';
import { volumeStore } from './volume/store.ts';
import { type VolumeRow, volumeFile } from './volume/volumes.ts';

/** What a backup holds. */
export interface BackupDone {
  readonly file: string;
  readonly bytes: number;
  readonly logs: number;
  readonly records: number;
}

/** Pages of one step. Writers go on meanwhile. */
const STEP_PAGES = 4_096;

/**
 * Copies a store while it serves: all of it as it was at one moment, without the keys that open what is sealed in it.
 * It has its name only once it is whole and on the disk. Throws `config_invalid`.
 */
export async function backUp(
  from: string,
  to: string,
  progress: (done: number, total: number) => void,
): Promise<BackupDone> {
  const source = databaseFile(from);
  const file = databaseFile(to);
  if (!existsSync(source)) throw new ServiceError('config_invalid', `${from} holds no store (mandate.db)`);
  if (existsSync(file))
    throw new ServiceError('config_invalid', `${file} is there already; name another folder`);
  makeFolder(to);
  const part = `${file}.part`;
  await rm(part, { force: true });
  // Nobody else is to read it while it is made.
  await (await open(part, 'wx', 0o600)).close();
  const db = new Database(source, { readonly: true, fileMustExist: true });
  try {
    // Held until the end: a copy that begins anew with each commit would never be done.
    db.exec('BEGIN');
    const logs = db.prepare<[], number>('SELECT count(*) FROM logs').pluck().get() ?? 0;
    await db.backup(part, {
      progress: ({ totalPages, remainingPages }) => {
        progress(totalPages - remainingPages, totalPages);
        return STEP_PAGES;
      },
    });
    db.exec('COMMIT');
    const { records, bytes: own } = checked(part);
    const bytes = own + (await copyVolumes({ from, to, db, part }, progress));
    await synced(part);
    await rename(part, file);
    await synced(path.dirname(file));
    return { file, bytes, logs, records };
  } catch (cause) {
    await rm(part, { force: true });
    await rm(path.join(to, 'volumes'), { recursive: true, force: true });
    // Unless it was there before, and holds something.
    await rmdir(to).catch(() => undefined);
    if (cause instanceof ServiceError) throw cause;
    throw new ServiceError('config_invalid', `${from} cannot be copied: ${describe(cause)}`, { cause });
  } finally {
    db.close();
  }
}

interface Copying {
  readonly from: string;
  readonly to: string;
  readonly db: Connection;
  readonly part: string;
}

/**
 * Copies the volumes that the copy says are here; answers how many bytes they are. One that was archived or removed
 * meanwhile is that in the copy too.
 */
async function copyVolumes(
  { from, to, db, part }: Copying,
  progress: (done: number, total: number) => void,
): Promise<number> {
  const copy = new Database(part);
  try {
    const volumes = volumeStore(copy)
      .all()
      .filter(({ state }) => state === 'here');
    const now = db.prepare<[number], Pick<VolumeRow, 'state' | 'place' | 'stateAt'>>(
      'SELECT state, place, state_at AS stateAt FROM volumes WHERE id = ?',
    );
    const left = copy.prepare(
      'UPDATE volumes SET state = ?, place = ?, state_at = ?, cleared_id = id WHERE id = ?',
    );
    const total = volumes.reduce((sum, { bytes }) => sum + bytes, 0);
    let done = 0;
    for (const volume of volumes) {
      try {
        await copyProven(volumeFile(from, volume), volumeFile(to, volume), volume.sha256);
      } catch (error) {
        const { state = 'here', place = '', stateAt = 0 } = now.get(volume.id) ?? {};
        if (state === 'here') throw error;
        left.run(state, place, stateAt, volume.id);
      }
      done += volume.bytes;
      progress(done, total);
    }
    return done;
  } finally {
    copy.close();
  }
}

/** A copy that SQLite finds a fault in is none. It is one file, without a write-ahead log beside it. */
function checked(part: string): { records: number; bytes: number } {
  const db = new Database(part);
  try {
    db.pragma('journal_mode = DELETE');
    const found = db.pragma('quick_check(1)', { simple: true });
    if (found !== 'ok') throw new Error(`the copy is damaged: ${String(found)}`);
    const records = db.prepare<[], number>('SELECT coalesce(sum(size), 0) FROM logs').pluck().get() ?? 0;
    const pages = db.pragma('page_count', { simple: true }) as number;
    return { records, bytes: pages * (db.pragma('page_size', { simple: true }) as number) };
  } finally {
    db.close();
  }
}

async function synced(file: string): Promise<void> {
  const handle = await open(file, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
