import { describe } from '../../errors.ts';
import type { Connection } from '../database.ts';
import type { Heads } from '../log/heads.ts';
import type { CommandEntry } from '../writing/protocol.ts';
import type { Disk } from './disk.ts';

const MIB = 1024 * 1024;

/** Kept for revoking, disabling and administering: a sixteenth of the store, within bounds. */
const reserveOf = (maxBytes: number): number => Math.min(64 * MIB, Math.max(MIB / 4, maxBytes / 16));

/** Others stop this many pages before the reserve begins, where a commit of theirs would only be tried in vain. */
const NEARLY = 8;

/** More principals at once are no administration that cannot wait. */
const MOST_PRINCIPALS = 100;

/**
 * Room for what must not fail because the store is full: whoever fills it must not thereby keep a grant alive or a
 * principal enabled. Decisions, exchanges and introspections stop where the reserve begins.
 */
export class Room {
  readonly #db: Connection;
  readonly #disk: Disk;
  readonly #pages;
  /** In pages; undefined where the store is bounded by the disk alone. */
  readonly #bounds: { readonly ordinary: number; readonly all: number } | undefined;
  #isOpen = false;

  constructor(db: Connection, maxBytes: number | undefined, disk: Disk) {
    this.#db = db;
    this.#disk = disk;
    this.#pages = db.prepare<[], number>('PRAGMA page_count').pluck();
    if (!maxBytes) return;
    const pageBytes = db.pragma('page_size', { simple: true }) as number;
    const all = Math.ceil(maxBytes / pageBytes);
    this.#bounds = { ordinary: all - Math.ceil(reserveOf(maxBytes) / pageBytes), all };
    this.#bound(this.#bounds.ordinary);
  }

  /** Why what is ordinary is not taken; empty while it is. */
  get problem(): string {
    try {
      if (this.#bounds && (this.#pages.get() ?? 0) >= this.#bounds.ordinary - NEARLY)
        return 'the store has reached max_store_bytes';
    } catch (error) {
      return describe(error);
    }
    return this.#disk.problem;
  }

  /** Runs a transaction of nothing but what the reserve is for. */
  reserved<T>(run: () => T): T {
    if (!this.#bounds || this.#isOpen) return run();
    this.#isOpen = true;
    this.#bound(this.#bounds.all);
    try {
      return run();
    } finally {
      this.#bound(this.#bounds.ordinary);
      this.#isOpen = false;
    }
  }

  #bound(pages: number): void {
    this.#db.pragma(`max_page_count = ${pages}`);
  }
}

/** Whether the reserve is for it: a command, or what only a record is made of. */
export function isReserved(
  command: CommandEntry | undefined,
  heads: Heads,
  record: number | undefined,
): boolean {
  if (record !== undefined) {
    const kind = heads.kind(record);
    if (kind !== 'revocation' && kind !== 'administration') return false;
  }
  if (command?.name !== 'putPrincipals') return true;
  return (command.args as { principals: readonly unknown[] }).principals.length <= MOST_PRINCIPALS;
}
