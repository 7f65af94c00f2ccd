import type { NamedRef } from '../../ids.ts';
import type { Connection } from '../database.ts';
import { recordId, type TenantNo } from '../rows.ts';
import type { VolumeRow } from '../volume/volumes.ts';
import { type Heads, principalHash } from './heads.ts';
import { type Run, Runs } from './runs.ts';
import { SegmentIndex } from './segment-index.ts';
import { SEGMENT_RECORDS } from './segments.ts';

export interface RecordFilter {
  /** Milliseconds since the epoch, inclusive. */
  readonly since?: number | undefined;
  /** Exclusive. */
  readonly until?: number | undefined;
  /** The subject or the current actor; of administration who did it or whom it is about. Found by a hash: whoever reads compares the names in the record. */
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
  /** Newest first, below an index. Does no more than EFFORT a call, so it never holds others up. */
  search(tenantNo: TenantNo, filter: RecordFilter, below: number, limit: number): RecordPage;
}

/**
 * How much one search does, counted in heads that are looked at one after the other: 12,288 take two milliseconds. As
 * many stand behind the last full segment at most three times, so that one page finds a record by its key.
 */
const EFFORT = 3 * SEGMENT_RECORDS;

/** What other work is in heads: a segment that only its times are read of, one whose blob is, a record by its place. */
const SPAN_EFFORT = 5;
const SEGMENT_EFFORT = 100;
const PLACE_EFFORT = 20;

/** A record that was looked at, or none where a segment ends; the search may stop at either. */
interface Candidate {
  readonly at: number;
  readonly run: Run | undefined;
  readonly effort: number;
}

export function recordStore(db: Connection): RecordStore {
  const runs = new Runs(db);
  const segments = new SegmentIndex(db);

  /** Every record from `first` to before `end`, newest first. */
  function* all(no: TenantNo, first: number, end: number): Generator<Candidate> {
    for (const { run, next } of runs.below(no, first, end))
      if (run) {
        const last = Math.min(end, run.first + run.heads.capacity) - 1;
        for (let at = last; at >= Math.max(first, run.first); at -= 1) yield { at, run, effort: 1 };
      } else yield { at: Math.max(first, next), run: undefined, effort: 1 };
  }

  /** Records by their places in a segment; those that stand together are read together. */
  function* named(no: TenantNo, start: number, places: readonly number[]): Generator<Candidate> {
    let run: Run | undefined;
    for (const place of places) {
      const at = start + place;
      const isAtHand = run !== undefined && at >= run.first;
      if (!isAtHand) run = runs.at(no, at);
      yield { at, run, effort: isAtHand ? 1 : PLACE_EFFORT };
    }
  }

  /** Records that may be meant, newest first, segment by segment: by what is sealed, else all of them. */
  function* candidates(no: TenantNo, filter: RecordFilter, end: number): Generator<Candidate> {
    // Of what was removed nothing is found, and it may be most of the log.
    const floor = runs.volumes.removedEnd(no);
    for (let below = end; below > floor; ) {
      const start = Math.floor((below - 1) / SEGMENT_RECORDS) * SEGMENT_RECORDS;
      const mayHold = segments.overlaps(no, start, filter.since, filter.until);
      const places = mayHold ? segments.places(no, start, filter) : [];
      if (places) {
        yield* named(
          no,
          start,
          places.filter((place) => start + place < below),
        );
        yield { at: start, run: undefined, effort: mayHold ? SEGMENT_EFFORT : SPAN_EFFORT };
      } else yield* all(no, start, below);
      below = start;
    }
  }

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
    search(no, filter, below, limit) {
      const hash = filter.principal && principalHash(filter.principal);
      const records: StoredRecord[] = [];
      let effort = 0;
      for (const candidate of candidates(no, filter, Math.min(below, runs.size(no)))) {
        const { run, at } = candidate;
        effort += candidate.effort;
        if (run && matches(run.heads, at - run.first, filter, hash)) {
          const body = runs.body(no, run, at);
          if (body) records.push({ index: at, body });
        }
        if (records.length >= limit || effort >= EFFORT) return { records, below: at };
      }
      return { records, below: 0 };
    },
  };
}

const matches = (heads: Heads, at: number, filter: RecordFilter, hash: number | undefined): boolean =>
  (hash === undefined || heads.subject(at) === hash || heads.actor(at) === hash) &&
  (filter.key === undefined || !heads.isSealed || heads.key(at) === filter.key) &&
  isNamed(heads, at, filter) &&
  (filter.caller === undefined || heads.mayBeOf(at, filter.caller)) &&
  (filter.since === undefined || heads.time(at) >= filter.since) &&
  (filter.until === undefined || heads.time(at) < filter.until) &&
  (filter.outcome === undefined || heads.outcome(at) === filter.outcome) &&
  (filter.kind === undefined || heads.kind(at) === filter.kind);

function isNamed(heads: Heads, at: number, { resource, grant, action, reason }: RecordFilter): boolean {
  if (resource === undefined && grant === undefined && action === undefined && reason === undefined)
    return true;
  if (!heads.hasNames) return true;
  const names = heads.names(at);
  return (
    (resource === undefined || names.resource === resource) &&
    (grant === undefined || names.grant === grant) &&
    (action === undefined || names.action === action) &&
    (reason === undefined || names.reason === reason)
  );
}
