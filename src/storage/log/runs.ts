import { ServiceError } from '../../errors.ts';
import type { Connection } from '../database.ts';
import { faultIn, reportFault } from '../faults.ts';
import { Unfiled } from '../journal/unfiled.ts';
import { RUN_RECORDS, recordId, recordIndex, type TenantNo } from '../rows.ts';
import { type NoEntry, Volumes } from '../volume/volumes.ts';
import { damagedEnd, damagedRecords } from './damage.ts';
import { Heads, RECORDS_IN_HEADS } from './heads.ts';

/** Records that one commit appended to a log, as they are read back: their heads are sound. */
export interface Run {
  /** Index of the first. */
  readonly first: number;
  readonly heads: Heads;
  /** What was read with the heads. */
  readonly bodies: Uint8Array | undefined;
}

/** A run, or none where there is damage, and where to go on from: what lies before that was looked at. */
export interface Step {
  readonly run: Run | undefined;
  readonly next: number;
}

interface Row {
  readonly id: number;
  readonly heads: Uint8Array;
  readonly bodies?: Uint8Array;
}

/** How many places are tried behind one that cannot be read, a call. */
const TRIES = 64;

/**
 * The runs of logs, checked as they are read: each follows its neighbour, and is what was sealed. What is not, or cannot
 * be read, is reported and left out; it ends no reading of what stands around it.
 */
export class Runs {
  readonly #end;
  readonly #at;
  readonly #below;
  readonly #from;
  readonly #part;
  readonly #unfiled: Unfiled;
  readonly volumes: Volumes;

  constructor(db: Connection) {
    this.#unfiled = Unfiled.of(db);
    this.volumes = new Volumes(db);
    // One statement, so that both are from the same commit.
    this.#end = db.prepare<
      [number, number, number],
      { size: number | null; id: number | null; heads: number }
    >(
      `SELECT (SELECT size FROM logs WHERE tenant_no = ?) AS size, last.id, last.heads FROM (SELECT 1)
       LEFT JOIN (SELECT id, ${RECORDS_IN_HEADS} AS heads FROM runs WHERE id >= ? AND id < ?
         ORDER BY id DESC LIMIT 1) AS last`,
    );
    this.#at = db.prepare<[number, number], Row>(
      'SELECT id, heads FROM runs WHERE id >= ? AND id <= ? ORDER BY id DESC LIMIT 1',
    );
    this.#below = db.prepare<[number, number], Row>(
      'SELECT id, heads FROM runs WHERE id >= ? AND id < ? ORDER BY id DESC',
    );
    this.#from = db.prepare<[number, number], Row>(
      'SELECT id, heads, bodies FROM runs WHERE id >= ? AND id < ? ORDER BY id',
    );
    this.#part = db
      .prepare<[number, number, number], Uint8Array | null>(
        'SELECT substr(bodies, ?, ?) FROM runs WHERE id = ?',
      )
      .pluck();
  }

  /** How many records the log has: the next index. */
  size(no: TenantNo): number {
    const unfiled = recordIndex(this.#read(() => this.#unfiled.end(no)) ?? 0);
    const { size, id, heads } = this.#end.get(no, recordId(no, 0), endOf(no)) ?? NOTHING;
    const [counted, filed] = [size ?? 0, id === null ? 0 : recordIndex(id) + heads];
    const found = Math.max(filed, unfiled);
    // The count follows in steps.
    if (counted > found) reportFault(damagedEnd(no, counted, found));
    return Math.max(counted, found);
  }

  /** The run that holds the record of an index; undefined where it cannot be had. */
  at(no: TenantNo, index: number): Run | undefined {
    // What was in neither was filed in between.
    const run = this.#filed(no, index) ?? this.#waiting(no, index) ?? this.#filed(no, index);
    if (run) return run;
    reportFault(damagedRecords(no, index, index + 1));
    return undefined;
  }

  #filed(no: TenantNo, index: number): Run | undefined {
    const row = this.#read(() => this.#at.get(recordId(no, 0), recordId(no, index)));
    const run = row && sound(row);
    return run && index < run.first + run.heads.capacity ? run : undefined;
  }

  #waiting(no: TenantNo, index: number): Run | undefined {
    const [row] = this.#unfiledRows(no, index, index + 1);
    return row && sound(row);
  }

  #unfiledRows(no: TenantNo, from: number, end: number): Row[] {
    return this.#read(() => this.#unfiled.rows(no, from, end)) ?? [];
  }

  /** The body of a record, if it is the one that was written. What was archived or removed is no damage. */
  body(no: TenantNo, run: Run, index: number): Uint8Array | undefined {
    const body = this.stored(no, run, index);
    if (body === 'archived' || body === 'removed') return undefined;
    if (typeof body === 'object' && run.heads.isOf(index - run.first, body)) return body;
    if (body !== 'damaged') reportFault(damagedRecords(no, index, index + 1));
    return undefined;
  }

  /** What stands for a record, whatever it is: with its run, or in a volume. */
  stored(no: TenantNo, { first, heads, bodies }: Run, index: number): Uint8Array | NoEntry | undefined {
    const at = index - first;
    const [start, end] = [heads.start(at), heads.end(at)];
    const body = bodies ? bodies.subarray(start, end) : this.#cut(no, first, start, end);
    if (!body || (body.length > 0 && body.length === end - start)) return body;
    return this.#read(() => this.volumes.entry(no, index)) ?? body;
  }

  /** Undefined where it cannot be read; nothing at all of bodies that are elsewhere. */
  #cut(no: TenantNo, first: number, start: number, end: number): Uint8Array | undefined {
    // SQLite's part of nothing is NULL.
    return this.#read(() => this.#part.get(start + 1, end - start, recordId(no, first)) ?? NO_BODY);
  }

  /** Runs with records from `first` to before `end`, newest first. */
  *below(no: TenantNo, first: number, end: number): Generator<Step> {
    let next = end;
    for (let tries = 0; next > first && tries < TRIES; tries += 1) {
      try {
        for (const row of this.#rowsBelow(no, first, next)) {
          const [begin, reach] = extentOf(row);
          const run = sound(row);
          // The first one may reach beyond what was asked for.
          if (!run || reach < next) reportFault(damagedRecords(no, run ? reach : begin, next));
          next = begin;
          yield { run, next };
          if (next <= first) return;
        }
        reportFault(damagedRecords(no, first, next));
        return yield { run: undefined, next: first };
      } catch (error) {
        if (!isUnreadable(error)) throw error;
        // A run begins wherever a tile does, so what lies before this one's can be read by itself.
        reportFault(damagedRecords(no, startOf(next - 1), next));
        next = startOf(next - 1);
        yield { run: undefined, next };
      }
    }
  }

  /** Runs with records from an index to before `end`, with their bodies, in the order of the log. */
  *from(no: TenantNo, first: number, end: number): Generator<Step> {
    let [from, next] = [this.#beginOf(no, first), first];
    for (let tries = 0; next < end && tries < TRIES; tries += 1) {
      try {
        for (const row of this.#rowsFrom(no, from, end)) {
          const [begin, reach] = extentOf(row);
          if (reach <= next) continue;
          const run = sound(row);
          if (begin > next || !run) reportFault(damagedRecords(no, next, run ? begin : reach));
          next = reach;
          yield { run, next };
          if (next >= end) return;
        }
        reportFault(damagedRecords(no, next, end));
        return yield { run: undefined, next: end };
      } catch (error) {
        if (!isUnreadable(error)) throw error;
        from = Math.min(startOf(next) + RUN_RECORDS, end);
        reportFault(damagedRecords(no, next, from));
        next = from;
        yield { run: undefined, next };
      }
    }
  }

  /** Those in the journal, then those before. */
  *#rowsBelow(no: TenantNo, first: number, end: number): Generator<Row> {
    const unfiled = this.#unfiledRows(no, first, end);
    yield* unfiled.toReversed();
    yield* this.#below.iterate(recordId(no, startOf(first)), unfiled[0]?.id ?? recordId(no, end));
  }

  /** The same in the order of the log. What is in both since it was looked for is passed by. */
  *#rowsFrom(no: TenantNo, from: number, end: number): Generator<Row> {
    const unfiled = this.#unfiledRows(no, from, end);
    yield* this.#from.iterate(recordId(no, from), recordId(no, end));
    yield* unfiled;
  }

  /** Where the run begins that holds an index: small ones before it in its tile need not be read. */
  #beginOf(no: TenantNo, index: number): number {
    const row = this.#read(() => this.#at.get(recordId(no, startOf(index)), recordId(no, index)));
    return row && extentOf(row)[1] > index ? extentOf(row)[0] : startOf(index);
  }

  #read<T>(read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      return undefined;
    }
  }
}

/** From where to before where the records of a row stand, if it is what it says. */
function extentOf({ id, heads }: Row): [number, number] {
  const begin = recordIndex(id);
  return [begin, begin + Heads.stored(heads).capacity];
}

const NO_BODY = new Uint8Array();
const NOTHING = { size: null, id: null, heads: 0 };

const endOf = (no: TenantNo): number => recordId((no + 1) as TenantNo, 0);

/** A run does not cross a multiple of RUN_RECORDS: the one that holds an index begins here or later. */
const startOf = (index: number): number => Math.floor(index / RUN_RECORDS) * RUN_RECORDS;

function sound({ id, heads: bytes, bodies }: Row): Run | undefined {
  const heads = Heads.stored(bytes);
  if (!heads.isSound(id)) return undefined;
  return { first: recordIndex(id), heads, bodies };
}

/** What the reader's statements throw when they meet damage (`reader.ts`). What may pass by itself condemns no record. */
const isUnreadable = (error: unknown): boolean =>
  error instanceof ServiceError && error.code === 'unavailable' && faultIn(error.cause)?.lasts !== false;
