import { statSync } from 'node:fs';
import { describe } from '../../errors.ts';
import type { Connection } from '../database.ts';

const MIB = 1024 * 1024;

/** How many commits go by between two looks at the write-ahead log, and how large it may be. */
const COMMITS = 256;
const MOST_BYTES = 128 * MIB;

/**
 * A checkpoint of SQLite's own, at 16 MiB, takes 12 to 20 ms of the commit that it falls to, and all that comes meanwhile
 * waits. So a smaller one is made before, where what it copies took this long to come: a log that fills faster has no
 * time to lose on pages that are copied again and again.
 */
const SMALL = { bytes: 4 * MIB, ms: 250 };
/** About what a record is, and the pages that a commit writes beside its records. */
const RECORD_BYTES = 1_200;
const COMMIT_BYTES = 16 * 1024;

/** SQLite checkpoints at 16 MiB by itself, and says nothing where it cannot: what is larger is asked for by name. */
const SQLITES_BYTES = 16 * MIB;
const USUAL_BYTES = 32 * MIB;

/** From here on somebody who keeps reading is a fault too. */
const FAR_TOO_MANY_BYTES = 1024 * MIB;

/**
 * SQLite begins its write-ahead log anew only in a moment in which nobody reads from it. Readers that follow each other
 * without a pause would let it grow for as long as they do; past the bound, commits wait until each of them has looked
 * away once, some milliseconds.
 */
export class WriteAheadLog {
  readonly #db: Connection;
  #commits = 0;
  #bytes = 0;
  #since = 0;
  #most = MOST_BYTES;
  #problem = '';
  readonly #truncated: () => void;

  /** `truncated` is called each time it was cut off here. */
  constructor(db: Connection, truncated: () => void = () => {}) {
    this.#db = db;
    this.#truncated = truncated;
  }

  /** Why it grows without an end, and will fill the disk; empty if it does not. */
  get problem(): string {
    return this.#problem;
  }

  get file(): string {
    return `${this.#db.name}-wal`;
  }

  /** Called after each batch of so many records, when its callers were told. */
  committed(records: number): void {
    this.#commits += 1;
    if (this.#commits % COMMITS === 0) this.#bound(this.#size());
    this.#bytes += records * RECORD_BYTES + COMMIT_BYTES;
    if (this.#bytes >= SMALL.bytes) this.#soon(performance.now());
  }

  #soon(now: number): void {
    const isSlow = now - this.#since >= SMALL.ms;
    if (!isSlow && this.#bytes < SQLITES_BYTES) return;
    this.#bytes = 0;
    this.#since = now;
    // One that filled fast has had SQLite's own by now.
    if (!isSlow) return;
    try {
      this.#db.pragma('wal_checkpoint(PASSIVE)');
    } catch (error) {
      this.#problem = said(this.#size(), describe(error));
    }
  }

  /** Brings all of it into the store and cuts it off. Answers false if a reader stays, or where it fails. */
  emptied(): boolean {
    try {
      return this.#truncate();
    } catch {
      return false;
    }
  }

  /** Called each second. */
  look(): void {
    const size = this.#size();
    if (size > FAR_TOO_MANY_BYTES) this.#most = FAR_TOO_MANY_BYTES;
    if (size > this.#most) this.#bound(size);
    else if (size > USUAL_BYTES) this.#attempt(size, () => this.#db.pragma('wal_checkpoint(PASSIVE)'));
    else this.#problem = '';
  }

  #size(): number {
    try {
      return statSync(this.file, { throwIfNoEntry: false })?.size ?? 0;
    } catch {
      // Who looks at the files says so.
      return 0;
    }
  }

  #bound(size: number): void {
    if (size <= this.#most) return;
    // Whoever stays, or whatever stands in the way, is not waited for again and again.
    this.#most = size + MOST_BYTES;
    this.#attempt(size, () => {
      if (this.#truncate()) this.#most = MOST_BYTES;
      else if (size > FAR_TOO_MANY_BYTES) throw new Error('somebody keeps reading from the store');
    });
  }

  #attempt(size: number, checkpoint: () => void): void {
    try {
      checkpoint();
      this.#problem = '';
    } catch (error) {
      this.#problem = said(size, describe(error));
    }
  }

  /** Answers false if a reader stays. */
  #truncate(): boolean {
    const usual = this.#db.pragma('busy_timeout', { simple: true }) as number;
    // Somebody who looks at the store with a tool of their own is not waited for any longer.
    this.#db.pragma('busy_timeout = 100');
    try {
      const [seen] = this.#db.pragma('wal_checkpoint(TRUNCATE)') as { busy: number }[];
      return seen?.busy === 0;
    } finally {
      // Also where it failed: it may have been on the way.
      this.#truncated();
      this.#db.pragma(`busy_timeout = ${usual}`);
    }
  }
}

const said = (size: number, why: string): string =>
  `the write-ahead log has ${Math.round(size / MIB)} MiB and cannot be brought into the store: ${why}`;
