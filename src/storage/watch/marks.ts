import { createHash } from 'node:crypto';
import { constants, existsSync, readFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import path from 'node:path';
import Database from 'better-sqlite3';
import type { Connection } from '../database.ts';
import { faultIn } from '../faults.ts';
import { writeDurably } from '../files.ts';

/**
 * How far the store was known to be durable, beside the store. SQLite cuts a write-ahead log where its checksums end,
 * without a word: what was answered from behind that would be gone, its indexes given away again, and who was disabled
 * there allowed. The marks are of constant size, since all logs and all changes are in the order of one write-ahead log:
 * whatever is cut off it makes one of these two totals smaller.
 */
export interface Mark {
  /** The store's own id. */
  readonly store: string;
  /** Records of all logs. */
  readonly records: number;
  /** Transactions that changed state. */
  readonly changes: number;
}

/** Two files, written in turns: one that a power cut tears leaves the other. */
const NAMES = ['mandate.heads.0', 'mandate.heads.1'] as const;

/** What is written over is not longer. */
const FILE_BYTES = 512;

export class Marks {
  readonly #folder: string;
  #mark: Mark;
  #written: Mark;
  #sequence: number;
  #writing: Promise<void> | undefined;

  private constructor(folder: string, mark: Mark, sequence: number) {
    this.#folder = folder;
    this.#mark = mark;
    this.#written = mark;
    this.#sequence = sequence;
  }

  /** Of an open store that was compared. */
  static open(folder: string, db: Connection): Marks {
    const marks = new Marks(folder, markOf(db), newestIn(folder)?.sequence ?? 0);
    // Both, so that neither tells of another time.
    for (const _ of NAMES) marks.#writeNow();
    return marks;
  }

  /** Called after each commit. */
  committed(records: number, changes: number): void {
    const { store } = this.#mark;
    this.#mark = { store, records: this.#mark.records + records, changes: this.#mark.changes + changes };
  }

  /** Called each second; does not wait for the disk. */
  look(): void {
    if (this.#mark === this.#written || this.#writing) return;
    this.#writing = this.#write().finally(() => {
      this.#writing = undefined;
    });
  }

  /** Called when nothing is committed any more. */
  async close(): Promise<void> {
    await this.#writing;
    if (this.#mark !== this.#written) this.#writeNow();
  }

  async #write(): Promise<void> {
    const mark = this.#mark;
    let file: FileHandle | undefined;
    try {
      file = await open(this.#next(), constants.O_RDWR | constants.O_CREAT, 0o600);
      await file.write(this.#bytes(mark), 0, FILE_BYTES, 0);
      await file.datasync();
      this.#written = mark;
    } catch {
      // The disk's fault shows with the next commit; a mark that is behind refuses nothing.
    } finally {
      await file?.close();
    }
  }

  #writeNow(): void {
    const name = this.#next();
    try {
      writeDurably(name, this.#bytes(this.#mark));
      this.#written = this.#mark;
    } catch {
      // As above.
    }
  }

  #next(): string {
    this.#sequence += 1;
    return path.join(this.#folder, NAMES[this.#sequence % 2] ?? NAMES[0]);
  }

  #bytes(mark: Mark): Buffer {
    const text = JSON.stringify({ ...mark, sequence: this.#sequence });
    return Buffer.from(`${text}\n${sumOf(text)}\n`.padEnd(FILE_BYTES, ' '));
  }
}

function markOf(db: Connection): Mark {
  const mark = db
    .prepare<[], Mark>(
      'SELECT id AS store, changes, (SELECT coalesce(sum(size), 0) FROM logs) AS records FROM store',
    )
    .get();
  if (!mark) throw new Error('it does not say which store it is');
  return mark;
}

const namesIn = (folder: string): string[] => NAMES.filter((name) => existsSync(path.join(folder, name)));

function newestIn(folder: string): { mark: Mark; sequence: number } | undefined {
  const kept = namesIn(folder).map((name) => read(folder, name));
  return kept.reduce(
    (best, each) => ((each?.sequence ?? -1) > (best?.sequence ?? -1) ? each : best),
    undefined,
  );
}

function read(folder: string, name: string): { mark: Mark; sequence: number } | undefined {
  const [text = '', sum] = readFileSync(path.join(folder, name), 'utf8').split('\n');
  if (sum !== sumOf(text)) return undefined;
  const { store, records, changes, sequence } = JSON.parse(text) as Mark & { sequence: number };
  return { mark: { store, records, changes }, sequence };
}

/**
 * Throws, in an operator's words, where the marks are ahead of the store, or another's. Called before the store is opened
 * to be written to, which would bring what is left of its write-ahead log into it: what is refused is left as it is.
 */
export function compareWithMarks(folder: string, file: string): void {
  if (namesIn(folder).length === 0) return;
  const files = NAMES.join(' and ');
  const otherwise = `To go on with the store as it is, knowing that answers and changes may be missing, remove ${files}`;
  const marked = newestIn(folder)?.mark;
  if (!marked) throw new Error(`neither of ${files} can be read. ${otherwise}`);
  const found = foundIn(file);
  if (found?.store !== marked.store)
    throw new Error(
      `${files} are another store's, or the store is gone. Put back the files that belong together. ${otherwise}`,
    );
  if (marked.records <= found.records && marked.changes <= found.changes) return;
  throw new Error(
    `it ends with ${found.records} records and ${found.changes} changes, but ${marked.records} records and ${marked.changes} changes were durable: its write-ahead log was cut off or damaged, or an older copy is in its place. Put the newer files back. ${otherwise}`,
  );
}

/** Undefined where there is no store, or none that has marks. */
function foundIn(file: string): Mark | undefined {
  if (!existsSync(file)) return undefined;
  const db = new Database(file, { readonly: true, fileMustExist: true });
  try {
    return markOf(db);
  } catch (error) {
    if (faultIn(error)) throw error;
    return undefined;
  } finally {
    db.close();
  }
}

const sumOf = (text: string): string => createHash('sha256').update(text).digest('hex');
