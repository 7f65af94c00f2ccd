import type { Connection } from '../database.ts';
import { Damaged, reportFault, type StoreFault } from '../faults.ts';
import { damagedJournal, damagedRecords } from '../log/damage.ts';
import { byTile, endOf, endsTile, joined, type LaidRun } from '../log/laid.ts';
import { SEGMENT_RECORDS } from '../log/segments.ts';
import { recordIndex, recordTenant, type TenantNo } from '../rows.ts';
import { isWhole, type JournalRow, laidIn, type Place, packed, placesIn } from './row.ts';
import { type Mark, type Statements, statements } from './statements.ts';
import { Unfiled } from './unfiled.ts';

/** A commit of so few logs is filed at once: their pages are not more than the journal's would be. */
const FEW = 16;
/** From how many bytes of bodies on a log is filed: two pages of the store. */
const FULL_BYTES = 16 * 1024;
/** How much a row of the journal holds: who reads a record of it reads all of the row. */
const ROW_BYTES = 64 * 1024;
/** How many bytes the journal holds, in the store and in memory, and what part of a store that is bounded. */
const MOST_BYTES = 32 * 1024 * 1024;
const PART = 1 / 32;
/** How many rows are filed in one transaction that does nothing else. */
const ROWS_AT_ONCE = 16;

/** A row that is in the journal, as long as anything of it is not filed. */
interface Kept {
  readonly row: JournalRow;
  readonly tenants: readonly TenantNo[];
  readonly bytes: number;
  /** When it came, in milliseconds of a clock that is not set. */
  readonly at: number;
}

export const journalBytes = (storeBytes: number | undefined): number =>
  Math.min(MOST_BYTES, (storeBytes ?? Number.POSITIVE_INFINITY) * PART);

/**
 * Where records stand until they are filed by their logs. A commit under load holds a few records of each of some hundreds
 * of logs, and to put each with its log is a page or more for each; so they are written side by side, in the order of their
 * arrival, and a log's are filed together: when they are two pages, when a tile ends with them, when the journal is full or
 * they have been there for long, oldest first, and at the end of the server. A log's records are in its runs up to some
 * index, and in the journal from there on.
 *
 * Each transaction is taken up here and counts once it is committed. What is in the journal is in memory, too, so nothing is
 * read to file it; a log of which that cannot be filed is closed, and its rows stay where they are.
 */
export class Journal {
  readonly #db: Connection;
  readonly #most: number;
  readonly #do: Statements;
  readonly #seal: (startId: number) => void;
  readonly #stored;
  readonly #nextSeq;
  readonly #unfiled: Unfiled;
  #rows: Kept[] = [];
  #bytes = 0;
  #next = 0;
  /** Of each log what is not filed, in its order. */
  readonly #places = new Map<TenantNo, { readonly kept: Kept; readonly place: Place }[]>();
  /** Whether it is to be read from the store again. */
  #isUnknown = false;
  readonly #stuck = new Map<TenantNo, StoreFault>();
  /** What this transaction appends, files, puts into the journal, and how many rows it takes out. */
  readonly #now = new Map<TenantNo, LaidRun[]>();
  readonly #filedNow = new Set<TenantNo>();
  readonly #keptNow: { readonly row: JournalRow; readonly places: readonly Place[]; readonly at: number }[] =
    [];
  #droppedNow = 0;
  /** By which it is known whether it was committed. */
  #mark: Mark | undefined;

  /** `seal`: a segment that begins with a row id is full. */
  constructor(db: Connection, seal: (startId: number) => void, mostBytes: number) {
    this.#db = db;
    this.#most = mostBytes;
    this.#seal = seal;
    this.#unfiled = Unfiled.of(db);
    this.#do = statements(db);
    this.#stored = db.prepare<[], JournalRow>('SELECT seq, places, heads, bodies FROM journal ORDER BY seq');
    this.#nextSeq = db
      .prepare<[], number>('SELECT max(filed, coalesce((SELECT max(seq) + 1 FROM journal), 0)) FROM store')
      .pluck();
  }

  /** Whether anything waits that came before a moment. */
  hasOlder(before: number): boolean {
    const [oldest] = this.#rows;
    return oldest !== undefined && oldest.at < before;
  }

  /** Takes up what an earlier server left. */
  load(): void {
    this.#rows = [];
    this.#bytes = 0;
    this.#places.clear();
    this.#next = this.#nextSeq.get() ?? 0;
    const ends = new Map<TenantNo, number>();
    for (const row of this.#stored.iterate()) {
      const places = placesIn(row.seq, row.places);
      if (!places) {
        reportFault(damagedJournal(row.seq));
        continue;
      }
      const left = places.filter((place) => this.#isLeft(row, place, ends));
      this.#keep(row, left, Number.NEGATIVE_INFINITY);
    }
    this.#isUnknown = false;
  }

  /** Whether it is to be filed: it was not yet, and follows what was. */
  #isLeft(row: JournalRow, place: Place, ends: Map<TenantNo, number>): boolean {
    const no = recordTenant(place.id);
    const filed = ends.get(no) ?? this.#unfiled.filedEnd(no);
    const end = place.id + place.count;
    if (end <= filed) return false;
    if (this.#stuck.has(no)) return true;
    if (place.id === filed && isWhole(row, place)) ends.set(no, end);
    else this.#stick(no, damagedRecords(no, recordIndex(filed), recordIndex(end)));
    return true;
  }

  /** What a transaction appends to a log, in its order. */
  add(no: TenantNo, run: LaidRun): void {
    const runs = this.#now.get(no);
    if (runs) runs.push(run);
    else this.#now.set(no, [run]);
  }

  /** Writes what was taken up. Throws `Damaged`. */
  write(): void {
    if (this.#isUnknown) this.load();
    for (const [no, runs] of this.#now) {
      const whole = runs.findLastIndex(endsTile) + 1;
      if (whole > 0) this.#file(no, runs.splice(0, whole));
      if (this.#bytesOf(no, runs) >= FULL_BYTES) this.#file(no, runs.splice(0));
      if (runs.length === 0) this.#now.delete(no);
    }
    if (this.#now.size <= FEW) {
      for (const [no, runs] of this.#now) this.#file(no, runs);
      this.#now.clear();
    }
    const runs = [...this.#now.values()].flat();
    const coming = runs.reduce((sum, run) => sum + sizeOf(run), 0);
    let left = this.#bytes + coming;
    this.#take(({ bytes }, isFiled) => {
      if (!isFiled && left <= this.#most) return false;
      left -= bytes;
      return true;
    });
    for (const group of grouped(runs)) this.#append(group);
  }

  /** Files rows that came before a moment, oldest first, as many as one transaction should. */
  file(before: number): void {
    if (this.#isUnknown) this.load();
    let taken = 0;
    this.#take(({ at }, isFiled) => {
      if (!isFiled && (at >= before || taken === ROWS_AT_ONCE)) return false;
      taken += 1;
      return true;
    });
  }

  /** After a transaction that was committed. */
  committed(): void {
    for (const no of this.#filedNow) this.#places.delete(no);
    for (const { bytes } of this.#rows.splice(0, this.#droppedNow)) this.#bytes -= bytes;
    for (const { row, places, at } of this.#keptNow) this.#keep(row, places, at);
    this.#next += this.#keptNow.length;
    this.#reset();
  }

  /** After one that failed: asks the store what became of it. Answers whether it was committed all the same. */
  forget(): boolean {
    this.#unfiled.forget();
    const mark = this.#mark;
    try {
      this.#isUnknown ||= this.#db.inTransaction;
      if (!mark || this.#isUnknown || !this.#do.isThere(mark)) return false;
      this.committed();
      return true;
    } catch (error) {
      // Where it cannot be asked, it is read anew.
      this.#isUnknown = true;
      throw error;
    } finally {
      this.#reset();
    }
  }

  #reset(): void {
    this.#now.clear();
    this.#filedNow.clear();
    this.#keptNow.length = 0;
    this.#droppedNow = 0;
    this.#mark = undefined;
  }

  #keep(row: JournalRow, places: readonly Place[], at: number): void {
    const bytes = row.heads.length + row.bodies.length;
    const kept = { row, tenants: [...new Set(places.map(({ id }) => recordTenant(id)))], bytes, at };
    this.#rows.push(kept);
    this.#bytes += bytes;
    for (const place of places) {
      const no = recordTenant(place.id);
      const others = this.#places.get(no);
      if (others) others.push({ kept, place });
      else this.#places.set(no, [{ kept, place }]);
    }
  }

  #bytesOf(no: TenantNo, runs: readonly LaidRun[]): number {
    const kept = this.#filedNow.has(no) ? [] : (this.#places.get(no) ?? []);
    const before = kept.reduce((sum, { place }) => sum + place.bodyBytes, 0);
    return runs.reduce((sum, { bodies }) => sum + bodies.length, runs.length === 0 ? 0 : before);
  }

  /** Files what of a log is in the journal, and what follows. */
  #file(no: TenantNo, more: readonly LaidRun[]): void {
    const fault = this.#stuck.get(no);
    if (fault) throw new Damaged(fault);
    const kept = this.#filedNow.has(no) ? [] : (this.#places.get(no) ?? []);
    const runs = [...kept.map(({ kept: { row }, place }) => laidIn(row, place)), ...more];
    for (const tile of byTile(runs)) {
      const run = joined(tile);
      const end = endOf(run);
      if (!this.#do.insertRun(run))
        throw new Damaged(damagedRecords(no, recordIndex(run.id), recordIndex(end)));
      this.#mark = { run: run.id };
      if (recordIndex(end) % SEGMENT_RECORDS === 0) this.#seal(end - SEGMENT_RECORDS);
    }
    this.#filedNow.add(no);
  }

  /** Takes rows out of the journal, oldest first, for as long as `wanted` says so, and files what is left in them. */
  #take(wanted: (row: Kept, isFiled: boolean) => boolean): void {
    const gone: number[] = [];
    for (let at = this.#droppedNow; at < this.#rows.length; at += 1) {
      const kept = this.#rows[at];
      if (!kept) break;
      const left = kept.tenants.filter((no) => this.#isIn(no, kept));
      if (!wanted(kept, left.length === 0)) break;
      for (const no of left) this.#fileOrStick(no);
      this.#droppedNow += 1;
      // What cannot be filed stays as it is: it is evidence.
      if (!kept.tenants.some((no) => this.#stuck.has(no))) gone.push(kept.row.seq);
    }
    const last = this.#rows[this.#droppedNow - 1];
    if (!last) return;
    this.#do.moveOn(last.row.seq + 1);
    for (const seq of gone) this.#do.dropRow(seq);
  }

  #isIn(no: TenantNo, row: Kept): boolean {
    if (this.#filedNow.has(no) || this.#stuck.has(no)) return false;
    return this.#places.get(no)?.[0]?.kept === row;
  }

  /** One log's damage is no trouble of the others'. */
  #fileOrStick(no: TenantNo): void {
    try {
      this.#file(no, []);
    } catch (error) {
      if (!(error instanceof Damaged)) throw error;
      this.#stick(no, error.fault);
    }
  }

  #stick(no: TenantNo, fault: StoreFault): void {
    this.#stuck.set(no, fault);
    reportFault(fault);
  }

  #append(runs: readonly LaidRun[]): void {
    for (const { id } of runs) {
      const fault = this.#stuck.get(recordTenant(id));
      if (fault) throw new Damaged(fault);
    }
    const { row, places } = packed(this.#next + this.#keptNow.length, runs);
    this.#do.insertRow(row);
    this.#mark = { row: row.seq };
    this.#keptNow.push({ row, places, at: performance.now() });
  }
}

const sizeOf = ({ heads, bodies }: LaidRun): number => heads.all.length + bodies.length;

/** As many as one row of the journal holds. */
function grouped(runs: readonly LaidRun[]): LaidRun[][] {
  const groups: LaidRun[][] = [];
  let left = 0;
  for (const run of runs) {
    if (left <= 0) {
      groups.push([]);
      left = ROW_BYTES;
    }
    groups.at(-1)?.push(run);
    left -= run.bodies.length;
  }
  return groups;
}
