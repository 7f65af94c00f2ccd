import { closeSync, fstatSync, openSync, readSync, type Stats, statSync } from 'node:fs';
import path from 'node:path';
import { describe } from '../../errors.ts';

/** The first bytes of a write-ahead log; the last bit tells the order of bytes in its checksums (sqlite.org/fileformat2). */
const MAGIC = 0x377f0682;

/**
 * Whether the store's files are still those that were opened. A process holds on to files that were removed or replaced
 * and goes on with them as if nothing were amiss, and SQLite writes behind the end of one that was cut off. What is
 * found once stays found.
 *
 * The database is never opened here: to close it once more would take away the locks that SQLite has on it.
 */
export class Identity {
  readonly #database: string;
  readonly #opened = new Map<string, Stats>();
  readonly #sizes = new Map<string, number>();
  readonly #header = Buffer.alloc(4);
  #log: number | undefined;
  #problem = '';

  /** Of an open database in WAL mode. */
  constructor(database: string) {
    this.#database = database;
  }

  /** What became of the files; empty if they are as they were. */
  get problem(): string {
    return this.#problem;
  }

  /** Called before each commit, as what is cut off is no longer seen to be when more was written behind it. */
  beforeCommit(): string {
    return this.#looked(() => this.#ofLog());
  }

  /** Called after each commit, before anybody hears of it. A system call each: what takes more is looked at by `look`. */
  afterCommit(): string {
    return this.#looked(() => this.#same(this.#database));
  }

  /** Called when it is open, and each second. */
  look(): string {
    return this.#looked(() => {
      for (const file of [this.#database, this.#logFile, `${this.#database}-shm`]) this.#same(file);
      this.#log ??= this.#opened.has(this.#logFile) ? openSync(this.#logFile, 'r') : undefined;
      if (this.#log === undefined || readSync(this.#log, this.#header, 0, 4, 0) < 4) return;
      if ((this.#header.readUInt32BE() & ~1) >>> 0 !== MAGIC) this.#found(this.#logFile, 'was written over');
    });
  }

  #looked(look: () => void): string {
    try {
      look();
      return this.#problem;
    } catch (error) {
      return `its files cannot be looked at: ${describe(error)}`;
    }
  }

  /** Called after the write-ahead log was cut off by who may. */
  truncated(): void {
    this.#sizes.delete(this.#logFile);
  }

  close(): void {
    if (this.#log !== undefined) closeSync(this.#log);
    this.#log = undefined;
  }

  get #logFile(): string {
    return `${this.#database}-wal`;
  }

  #ofLog(): void {
    if (this.#log === undefined) return;
    const now = fstatSync(this.#log);
    if (now.nlink === 0) this.#found(this.#logFile, 'is gone');
    this.#sized(this.#logFile, now);
  }

  #same(file: string): void {
    const now = statSync(file, { throwIfNoEntry: false });
    const opened = this.#opened.get(file);
    if (!opened) {
      // The write-ahead log comes with the first commit.
      if (now) this.#opened.set(file, now);
    } else if (!now) this.#found(file, 'is gone');
    else if (now.ino !== opened.ino || now.dev !== opened.dev) this.#found(file, 'is another file');
    else this.#sized(file, now);
  }

  /** None of them ever becomes smaller by itself. */
  #sized(file: string, { size }: Stats): void {
    if (size < (this.#sizes.get(file) ?? 0)) this.#found(file, 'was cut off');
    this.#sizes.set(file, size);
  }

  #found(file: string, what: string): void {
    this.#problem ||= `its file ${path.basename(file)} ${what} while it was open; stop the server, put the store right, start again`;
  }
}
