import Database from 'better-sqlite3';
import type { Connection } from '../database.ts';
import { reportFault } from '../faults.ts';
import { damagedJournal } from '../log/damage.ts';
import { RECORDS_IN_HEADS } from '../log/heads.ts';
import type { RunRow } from '../log/soundness.ts';
import { recordId, recordTenant, type TenantNo } from '../rows.ts';
import { headsOf, type Place, placesIn } from './row.ts';

interface Found {
  readonly heads: Uint8Array | null;
  readonly bodies: Uint8Array | null;
}

/**
 * What of the logs stands in the journal and in no run yet, by tenant and index. What is filed meanwhile leaves the journal
 * and is in the runs by the same commit; so whoever reads both looks here first, and finds in the runs what is here no more.
 *
 * Only where runs stand is kept, and brought up to date each time it is asked: rows are numbered in the order of their
 * arrival, never change, and no number is given twice.
 */
export class Unfiled {
  static readonly #all = new WeakMap<Connection, Unfiled>();
  readonly #journal;
  readonly #filedEnd;
  #places = new Map<TenantNo, Place[]>();
  /** Of the rows that are known, in their order: whose runs they have. */
  #known: { readonly seq: number; readonly tenants: readonly TenantNo[] }[] = [];
  /** Rows that were to be filed and could not be. */
  #stuck = new Map<TenantNo, Place[]>();
  #filed = 0;
  #next = 0;

  private constructor(db: Connection) {
    this.#journal = statements(db);
    this.#filedEnd = db
      .prepare<[number, number], number>(
        `SELECT id + ${RECORDS_IN_HEADS} FROM runs WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT 1`,
      )
      .pluck();
  }

  /** Those who read by one connection share one. A store of a version that had no journal has nothing in it. */
  static of(db: Connection): Unfiled {
    let known = Unfiled.#all.get(db);
    if (!known) {
      known = new Unfiled(db);
      Unfiled.#all.set(db, known);
    }
    return known;
  }

  /** Row id of the record after the last one that is here; 0 where there is none. */
  end(no: TenantNo): number {
    return this.#of(no).reduce((end, { id, count }) => Math.max(end, id + count), 0);
  }

  /** The runs that hold records from an index to before another, as they stand here, in the order of the log. */
  rows(no: TenantNo, from: number, end: number): RunRow[] {
    const [fromId, endId] = [recordId(no, from), recordId(no, end)];
    const rows = this.#of(no)
      .filter(({ id, count }) => id < endId && id + count > fromId)
      .flatMap((place) => this.#row(place) ?? [])
      .sort((a, b) => a.id - b.id);
    if (rows.length === 0) return rows;
    const filed = this.filedEnd(no);
    return rows.filter(({ id }) => id >= filed);
  }

  /** Row id of the record after the last one of a log that stands in its runs. */
  filedEnd(no: TenantNo): number {
    return this.#filedEnd.get(recordId(no, 0), recordId((no + 1) as TenantNo, 0)) ?? recordId(no, 0);
  }

  /** What was read of a transaction that was not committed may come otherwise. */
  forget(): void {
    this.#places = new Map();
    this.#known = [];
    this.#filed = this.#next = 0;
  }

  /** Undefined of what was filed meanwhile. */
  #row({ seq, id, count, headsAt, bodiesAt, bodyBytes }: Place): RunRow | undefined {
    const size = headsOf(NOTHING, count).length;
    const found = this.#journal?.found.get(headsAt + 1, size, bodiesAt + 1, bodyBytes, seq);
    return found && { id, heads: headsOf(found.heads ?? NOTHING, count), bodies: found.bodies ?? NOTHING };
  }

  #of(no: TenantNo): readonly Place[] {
    this.#look();
    return [...(this.#stuck.get(no) ?? []), ...(this.#places.get(no) ?? [])];
  }

  #look(): void {
    const { filed, high } = this.#journal?.bounds.get() ?? { filed: 0, high: null };
    if (filed !== this.#filed) this.#drop(filed);
    if (high === null || high < this.#next) return;
    for (const row of this.#journal?.rows.all(this.#next, high) ?? [])
      this.#known.push({ seq: row.seq, tenants: this.#add(row, this.#places) });
    this.#next = high + 1;
  }

  #drop(filed: number): void {
    this.#filed = filed;
    this.#next = Math.max(this.#next, filed);
    const kept = this.#known.findIndex(({ seq }) => seq >= filed);
    for (const { seq, tenants } of this.#known.splice(0, kept === -1 ? this.#known.length : kept))
      for (const no of tenants) {
        const left = this.#places.get(no)?.filter((place) => place.seq !== seq) ?? [];
        if (left.length > 0) this.#places.set(no, left);
        else this.#places.delete(no);
      }
    this.#stuck = new Map();
    for (const row of this.#journal?.rows.all(0, filed - 1) ?? []) this.#add(row, this.#stuck);
  }

  #add({ seq, places: bytes }: { seq: number; places: Uint8Array }, to: Map<TenantNo, Place[]>): TenantNo[] {
    const places = placesIn(seq, bytes);
    if (!places) reportFault(damagedJournal(seq));
    const tenants = new Set<TenantNo>();
    for (const place of places ?? []) {
      const no = recordTenant(place.id);
      tenants.add(no);
      const others = to.get(no);
      if (others) others.push(place);
      else to.set(no, [place]);
    }
    return [...tenants];
  }
}

const NOTHING = new Uint8Array();

/** Undefined where the store is of a version that had no journal. */
function statements(db: Connection) {
  try {
    return prepared(db);
  } catch (error) {
    if (error instanceof Database.SqliteError && error.message.startsWith('no such ')) return undefined;
    throw error;
  }
}

function prepared(db: Connection) {
  return {
    bounds: db.prepare<[], { filed: number; high: number | null }>(
      'SELECT filed, (SELECT max(seq) FROM journal) AS high FROM store',
    ),
    rows: db.prepare<[number, number], { seq: number; places: Uint8Array }>(
      'SELECT seq, places FROM journal WHERE seq >= ? AND seq <= ? ORDER BY seq',
    ),
    found: db.prepare<[number, number, number, number, number], Found>(
      'SELECT substr(heads, ?, ?) AS heads, substr(bodies, ?, ?) AS bodies FROM journal WHERE seq = ?',
    ),
  };
}
