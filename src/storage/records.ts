import type { Connection } from './database.ts';
import { recordId, recordIndex, type TenantNo } from './rows.ts';
import { placesOf, SEGMENT_RECORDS } from './segments.ts';

export interface RecordFilter {
  /** Milliseconds since the epoch, inclusive. */
  readonly since?: number | undefined;
  /** Exclusive. */
  readonly until?: number | undefined;
  /** `class:id` of the subject or the current actor. */
  readonly principal?: string | undefined;
  readonly outcome?: string | undefined;
  readonly kind?: string | undefined;
}

export interface StoredRecord {
  readonly index: number;
  readonly body: Uint8Array;
}

export interface RecordPage {
  readonly records: StoredRecord[];
  /** Where to go on: records below this index are still to be looked at. 0 at the end. */
  readonly below: number;
}

export interface RecordStore {
  /** How many records the tenant's log holds; the next index. */
  size(tenantNo: TenantNo): number;
  /** In the order of the log. */
  range(tenantNo: TenantNo, from: number, limit: number): StoredRecord[];
  /** Newest first, below an index. Looks at no more than SCAN records a call, so it never holds others up. */
  search(tenantNo: TenantNo, filter: RecordFilter, below: number, limit: number): RecordPage;
}

/** How many records one search looks at; at a few microseconds each it stays within ten milliseconds. */
const SCAN = 2_000;

/**
 * Records are appended in the order of their commits, their times are taken a moment earlier: a record's time is
 * never further than this from its place, as no request lives longer. In milliseconds.
 */
const DISORDER = 60_000;

export function recordStore(db: Connection): RecordStore {
  const last = db
    .prepare<[number, number], number>('SELECT max(id) FROM records WHERE id >= ? AND id < ?')
    .pluck();
  const timeOf = db.prepare<[number], number>('SELECT time FROM records WHERE id = ?').pluck();
  const range = db.prepare<[number, number, number], { id: number; body: Uint8Array }>(
    'SELECT id, body FROM records WHERE id >= ? AND id < ? ORDER BY id LIMIT ?',
  );
  const bodyOf = db.prepare<[number], Uint8Array>('SELECT body FROM records WHERE id = ?').pluck();
  const between = db.prepare<[number, number], Columns>(
    'SELECT id, time, kind, outcome, subject, actor FROM records WHERE id >= ? AND id < ? ORDER BY id DESC',
  );
  const one = db.prepare<[number], Columns>(
    'SELECT id, time, kind, outcome, subject, actor FROM records WHERE id = ?',
  );
  const segmentAt = db
    .prepare<[number], Uint8Array>('SELECT principals FROM record_segments WHERE id = ?')
    .pluck();

  const size = (no: TenantNo): number => {
    const id = last.get(recordId(no, 0), recordId((no + 1) as TenantNo, 0));
    return id === null || id === undefined ? 0 : recordIndex(id) + 1;
  };

  /** The first index whose record is not older than `time`, by bisection. */
  const indexAt = (no: TenantNo, time: number): number => {
    let [low, high] = [0, size(no)];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if ((timeOf.get(recordId(no, middle)) ?? 0) < time) low = middle + 1;
      else high = middle;
    }
    return low;
  };

  /** Rows that may hold the principal, newest first: by the segment where one is sealed, else all of them. */
  function* candidates(no: TenantNo, principal: string, first: number, end: number): Generator<Candidate> {
    for (let below = end; below > first; ) {
      const start = Math.floor((below - 1) / SEGMENT_RECORDS) * SEGMENT_RECORDS;
      const sealed = segmentAt.get(recordId(no, start));
      if (sealed) {
        for (const place of placesOf(sealed, principal)) {
          const row =
            start + place < below && start + place >= first
              ? one.get(recordId(no, start + place))
              : undefined;
          if (row) yield { at: start + place, row, effort: 1 };
        }
        yield { at: Math.max(start, first), row: undefined, effort: SEGMENT_EFFORT };
      } else
        for (const row of between.iterate(recordId(no, Math.max(start, first)), recordId(no, below)))
          yield { at: recordIndex(row.id), row, effort: 1 };
      below = start;
    }
  }

  function* all(no: TenantNo, first: number, end: number): Generator<Candidate> {
    for (const row of between.iterate(recordId(no, first), recordId(no, end)))
      yield { at: recordIndex(row.id), row, effort: 1 };
  }

  return {
    size,
    range: (no, from, limit) =>
      range
        .all(recordId(no, from), recordId((no + 1) as TenantNo, 0), limit)
        .map((row) => ({ index: recordIndex(row.id), body: row.body })),
    search(no, filter, below, limit) {
      const first = filter.since === undefined ? 0 : indexAt(no, filter.since - DISORDER);
      const end = filter.until === undefined ? below : Math.min(below, indexAt(no, filter.until + DISORDER));
      const looked =
        filter.principal === undefined ? all(no, first, end) : candidates(no, filter.principal, first, end);
      const hits: number[] = [];
      let effort = 0;
      let lowest = 0;
      for (const candidate of looked) {
        effort += candidate.effort;
        if (candidate.row && matches(candidate.row, filter)) hits.push(candidate.row.id);
        if (hits.length < limit && effort < SCAN) continue;
        lowest = candidate.at;
        break;
      }
      const records: StoredRecord[] = [];
      for (const id of hits) {
        const body = bodyOf.get(id);
        if (body) records.push({ index: recordIndex(id), body });
      }
      return { records, below: lowest };
    },
  };
}

interface Columns {
  id: number;
  time: number;
  kind: string;
  outcome: string;
  subject: string;
  actor: string;
}

/** A row that was looked at, or a segment's end; the search may stop at either. */
interface Candidate {
  readonly at: number;
  readonly row: Columns | undefined;
  readonly effort: number;
}

/** Reading a segment's blob is as much work as looking at this many records. */
const SEGMENT_EFFORT = 20;

const matches = (row: Columns, filter: RecordFilter): boolean =>
  (filter.principal === undefined || row.subject === filter.principal || row.actor === filter.principal) &&
  (filter.since === undefined || row.time >= filter.since) &&
  (filter.until === undefined || row.time < filter.until) &&
  (filter.outcome === undefined || row.outcome === filter.outcome) &&
  (filter.kind === undefined || row.kind === filter.kind);
