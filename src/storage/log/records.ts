import type { PrincipalRef } from '../../ids.ts';
import type { Connection } from '../database.ts';
import { recordId, recordIndex, type TenantNo } from '../rows.ts';
import { HEAD_BYTES, Heads, principalHash } from './heads.ts';
import { placesOf, SEGMENT_RECORDS } from './segments.ts';

export interface RecordFilter {
  /** Milliseconds since the epoch, inclusive. */
  readonly since?: number | undefined;
  /** Exclusive. */
  readonly until?: number | undefined;
  /** The subject or the current actor. Found by a hash: whoever reads compares the names in the record. */
  readonly principal?: PrincipalRef | undefined;
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

/** Reading a segment's blob is as much work as looking at this many records. */
const SEGMENT_EFFORT = 20;

/** Heads of one run. */
interface Run {
  /** Index of the first. */
  readonly first: number;
  readonly heads: Heads;
}

/** A record that was looked at, or none where a segment ends; the search may stop at either. */
interface Candidate {
  readonly at: number;
  readonly run: Run | undefined;
  readonly effort: number;
}

export function recordStore(db: Connection): RecordStore {
  const last = db.prepare<[number, number], { id: number; size: number }>(
    `SELECT id, length(heads) / ${HEAD_BYTES} AS size FROM runs WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT 1`,
  );
  const runAt = db.prepare<[number, number], { id: number; heads: Uint8Array }>(
    'SELECT id, heads FROM runs WHERE id >= ? AND id <= ? ORDER BY id DESC LIMIT 1',
  );
  const runsBelow = db.prepare<[number, number], { id: number; heads: Uint8Array }>(
    'SELECT id, heads FROM runs WHERE id >= ? AND id < ? ORDER BY id DESC',
  );
  const runsFrom = db.prepare<[number, number], { id: number; heads: Uint8Array; bodies: Uint8Array }>(
    'SELECT id, heads, bodies FROM runs WHERE id >= ? AND id < ? ORDER BY id',
  );
  const part = db
    .prepare<[number, number, number], Uint8Array>('SELECT substr(bodies, ?, ?) FROM runs WHERE id = ?')
    .pluck();
  const segmentAt = db.prepare<[number], Uint8Array>('SELECT principals FROM segments WHERE id = ?').pluck();

  const endOf = (no: TenantNo): number => recordId((no + 1) as TenantNo, 0);

  const size = (no: TenantNo): number => {
    const run = last.get(recordId(no, 0), endOf(no));
    return run ? recordIndex(run.id) + run.size : 0;
  };

  /** The run that holds the record of an index. */
  const runOf = (no: TenantNo, index: number): Run | undefined => {
    const row = runAt.get(recordId(no, 0), recordId(no, index));
    return row && { first: recordIndex(row.id), heads: new Heads(row.heads) };
  };

  const bodyOf = (no: TenantNo, { first, heads }: Run, index: number): Uint8Array | undefined => {
    const [start, end] = [heads.start(index - first), heads.end(index - first)];
    return part.get(start + 1, end - start, recordId(no, first));
  };

  /** The first index whose record is not older than `time`, by bisection. */
  const indexAt = (no: TenantNo, time: number): number => {
    let [low, high] = [0, size(no)];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const run = runOf(no, middle);
      if ((run?.heads.time(middle - run.first) ?? 0) < time) low = middle + 1;
      else high = middle;
    }
    return low;
  };

  /** Every record from `first` to before `end`, newest first. */
  function* all(no: TenantNo, first: number, end: number): Generator<Candidate> {
    if (first >= end) return;
    // The run that holds the first may begin before it.
    const from = runOf(no, first)?.first ?? first;
    for (const row of runsBelow.iterate(recordId(no, from), recordId(no, end))) {
      const run = { first: recordIndex(row.id), heads: new Heads(row.heads) };
      for (
        let at = Math.min(end, run.first + run.heads.capacity) - 1;
        at >= Math.max(first, run.first);
        at -= 1
      )
        yield { at, run, effort: 1 };
    }
  }

  /** Records that may name the principal, newest first: by the segment where one is sealed, else all of them. */
  function* candidates(no: TenantNo, hash: number, first: number, end: number): Generator<Candidate> {
    for (let below = end; below > first; ) {
      const start = Math.floor((below - 1) / SEGMENT_RECORDS) * SEGMENT_RECORDS;
      const sealed = segmentAt.get(recordId(no, start));
      if (sealed) {
        for (const place of placesOf(sealed, hash)) {
          const at = start + place;
          if (at < below && at >= first) yield { at, run: runOf(no, at), effort: 1 };
        }
        yield { at: Math.max(start, first), run: undefined, effort: SEGMENT_EFFORT };
      } else yield* all(no, Math.max(start, first), below);
      below = start;
    }
  }

  return {
    size,
    range(no, from, limit) {
      const records: StoredRecord[] = [];
      const begin = runOf(no, from)?.first ?? from;
      for (const { id, heads: bytes, bodies } of runsFrom.iterate(recordId(no, begin), endOf(no))) {
        const [heads, first] = [new Heads(bytes), recordIndex(id)];
        for (let at = Math.max(0, from - first); at < heads.capacity && records.length < limit; at += 1)
          records.push({ index: first + at, body: bodies.subarray(heads.start(at), heads.end(at)) });
        if (records.length >= limit) break;
      }
      return records;
    },
    search(no, filter, below, limit) {
      const first = filter.since === undefined ? 0 : indexAt(no, filter.since - DISORDER);
      const end = filter.until === undefined ? below : Math.min(below, indexAt(no, filter.until + DISORDER));
      const hash = filter.principal && principalHash(filter.principal);
      const looked = hash === undefined ? all(no, first, end) : candidates(no, hash, first, end);
      const hits: (Candidate & { run: Run })[] = [];
      let effort = 0;
      let lowest = 0;
      for (const candidate of looked) {
        const { run, at } = candidate;
        effort += candidate.effort;
        if (run && matches(run.heads, at - run.first, filter, hash)) hits.push({ ...candidate, run });
        if (hits.length < limit && effort < SCAN) continue;
        lowest = at;
        break;
      }
      const records: StoredRecord[] = [];
      for (const { run, at } of hits) {
        const body = bodyOf(no, run, at);
        if (body) records.push({ index: at, body });
      }
      return { records, below: lowest };
    },
  };
}

const matches = (heads: Heads, at: number, filter: RecordFilter, hash: number | undefined): boolean =>
  (hash === undefined || heads.subject(at) === hash || heads.actor(at) === hash) &&
  (filter.since === undefined || heads.time(at) >= filter.since) &&
  (filter.until === undefined || heads.time(at) < filter.until) &&
  (filter.outcome === undefined || heads.outcome(at) === filter.outcome) &&
  (filter.kind === undefined || heads.kind(at) === filter.kind);
