import { describe } from '../../errors.ts';
import type { Connection } from '../database.ts';
import type { Heads } from '../log/heads.ts';
import { type CommandEntry, madeBy } from '../writing/protocol.ts';
import type { Disk } from './disk.ts';

const MIB = 1024 * 1024;

/** A sixteenth of the store, within bounds. */
const reserveOf = (maxBytes: number): number => Math.min(64 * MIB, Math.max(MIB / 4, maxBytes / 16));

/**
 * What a write is, as to the room there is for it. Decisions, exchanges and introspections stop where the reserve
 * begins, administration in the middle of it: whoever may administer a tenant could fill it too. What ends a grant or
 * disables a principal has it all.
 */
export type Need = 'ordinary' | 'administration' | 'ending';

/** Others stop this many pages before the reserve begins, where a commit of theirs would only be tried in vain. */
const NEARLY = 8;

/** More principals at once are no administration that cannot wait. */
const MOST_PRINCIPALS = 100;

/**
 * Room for what must not fail because the store is full: whoever fills it must not thereby keep a grant alive or a
 * principal enabled.
 */
export class Room {
  readonly #db: Connection;
  readonly #disk: Disk;
  readonly #pages;
  /** In pages; undefined where the store is bounded by the disk alone. */
  readonly #bounds: Readonly<Record<Need, number>> | undefined;

  constructor(db: Connection, maxBytes: number | undefined, disk: Disk) {
    this.#db = db;
    this.#disk = disk;
    // Pages that were given back are used again before the file grows.
    this.#pages = db
      .prepare<[], number>('SELECT page_count - freelist_count FROM pragma_page_count, pragma_freelist_count')
      .pluck();
    if (!maxBytes) return;
    const pageBytes = db.pragma('page_size', { simple: true }) as number;
    const ending = Math.ceil(maxBytes / pageBytes);
    const reserve = Math.ceil(reserveOf(maxBytes) / pageBytes);
    this.#bounds = {
      ordinary: ending - reserve,
      administration: ending - Math.floor(reserve / 2),
      ending,
    };
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

  /** Runs a transaction all of whose parts need the reserve as this one does. */
  within(need: Need, run: () => void): void {
    if (!this.#bounds || need === 'ordinary') return run();
    this.#bound(this.#bounds[need]);
    try {
      run();
    } finally {
      this.#bound(this.#bounds.ordinary);
    }
  }

  #bound(pages: number): void {
    this.#db.pragma(`max_page_count = ${pages}`);
  }
}

/** What ends a grant, and what makes room. */
const ENDING: ReadonlySet<string> = new Set([
  'revokeGrant',
  'capTask',
  'kill',
  'setStatus',
  'putVolume',
  'clearRuns',
  'endVolume',
]);

/** Of a command, or of what only a record is made of. */
export function needOf(command: CommandEntry | undefined, heads: Heads, record: number | undefined): Need {
  if (command && ENDING.has(madeBy(command))) return 'ending';
  // Made for a record that is ordinary itself.
  if (command?.name === 'putMemberKey') return 'ordinary';
  const kind = record === undefined ? 'administration' : heads.kind(record);
  if (kind === 'revocation') return 'ending';
  if (kind === 'key') return 'administration';
  if (kind !== 'administration') return 'ordinary';
  if (command?.name !== 'putPrincipals') return kind;
  const { principals } = command.args as { principals: readonly unknown[] };
  return principals.length <= MOST_PRINCIPALS ? kind : 'ordinary';
}
