import type { NamedRef } from '../../ids.ts';
import type { Connection } from '../database.ts';
import { recordId, type TenantNo } from '../rows.ts';
import type { VolumeRow } from '../volume/volumes.ts';
import type { RecordKind, RecordOutcome } from './heads.ts';
import { Runs } from './runs.ts';
import { EFFORT, Search } from './search.ts';

export interface RecordFilter {
  /** Milliseconds since the epoch, inclusive. */
  readonly since?: number | undefined;
  /** Exclusive. */
  readonly until?: number | undefined;
  /** The subject or any actor; of administration who did it or whom it is about. Found by hashes: whoever reads compares the names in the record. */
  readonly principal?: NamedRef | undefined;
  /** `shortHash` of who asked: whoever reads compares the name. */
  readonly caller?: number | undefined;
  /** `recordKey` of a decision id: whoever reads compares the whole id. */
  readonly key?: number | undefined;
  /** `nameHash` of what it was about and under which grant, `shortHash` of what was done and why not. */
  readonly resource?: number | undefined;
  readonly grant?: number | undefined;
  readonly action?: number | undefined;
  readonly reason?: number | undefined;
  /** `revisionHash` of the policy that decided. */
  readonly revision?: number | undefined;
  readonly outcome?: string | undefined;
  readonly kind?: string | undefined;
  /** A kind that is not meant. */
  readonly without?: string | undefined;
}

export interface StoredRecord {
  readonly index: number;
  readonly body: Uint8Array;
}

/** Where a search goes on: newest first with what is below an index, oldest first with the index itself. */
export interface Position {
  readonly order: 'newest' | 'oldest';
  readonly at: number;
}

export interface Found<T> {
  readonly found: T[];
  /** Undefined at the end. */
  readonly next: Position | undefined;
}

/** What a record's head tells exactly. */
export interface HeadSeen {
  readonly kind: RecordKind | undefined;
  readonly outcome: RecordOutcome | undefined;
}

/** What is damaged is left out, and reported (`runs.ts`); indexes tell that it is missing. */
export interface RecordStore {
  /** How many records the tenant's log holds; the next index. */
  size(tenantNo: TenantNo): number;
  /** In the order of the log. */
  range(tenantNo: TenantNo, from: number, limit: number): StoredRecord[];
  /** The same, of no more bytes than that and one record, with the index to go on from: also where there was nothing but damage it is a later one. */
  read(
    tenantNo: TenantNo,
    from: number,
    limit: number,
    maxBytes?: number,
  ): { records: StoredRecord[]; next: number };
  /** The volume that holds a record, wherever that is now; undefined of one that stands in the database. */
  volume(tenantNo: TenantNo, index: number): VolumeRow | undefined;
  /**
   * What `read` makes of the records that may be meant, from a position on; undefined for one that is not. Does no more
   * than EFFORT a call (`search.ts`), so it never holds others up.
   */
  search<T>(
    tenantNo: TenantNo,
    filter: RecordFilter,
    from: Position,
    limit: number,
    read: (record: StoredRecord) => T | undefined,
  ): Found<T>;
  /**
   * Shows the heads of the records that may be meant, and answers where to go on. No body is read, so one that is damaged
   * is seen too.
   */
  survey(
    tenantNo: TenantNo,
    filter: RecordFilter,
    from: Position,
    see: (head: HeadSeen) => void,
  ): Position | undefined;
}

export function recordStore(db: Connection): RecordStore {
  const runs = new Runs(db);
  const search = new Search(db, runs);

  const read: RecordStore['read'] = (no, from, limit, maxBytes = Number.POSITIVE_INFINITY) => {
    const records: StoredRecord[] = [];
    const first = Math.max(from, runs.volumes.removedEnd(no));
    let [next, bytes] = [first, 0];
    // Records that are elsewhere, or damaged, cost no less to pass by.
    const isFull = (): boolean =>
      records.length >= limit || bytes >= maxBytes || next - first - records.length >= EFFORT;
    for (const step of runs.from(no, first, runs.size(no))) {
      const { run } = step;
      if (run)
        for (let at = Math.max(next, run.first); at < step.next && !isFull(); at += 1) {
          const body = runs.body(no, run, at);
          if (body) records.push({ index: at, body });
          bytes += body?.length ?? 0;
          next = at + 1;
        }
      else next = step.next;
      if (isFull()) break;
    }
    return { records, next };
  };

  return {
    size: (no) => runs.size(no),
    range: (no, from, limit) => read(no, from, limit).records,
    read,
    volume: (no, index) => runs.volumes.covering(recordId(no, index)),
    search: (...asked) => search.find(...asked),
    survey: (...asked) => search.survey(...asked),
  };
}
