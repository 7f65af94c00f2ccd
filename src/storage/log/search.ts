import type { Connection } from '../database.ts';
import type { TenantNo } from '../rows.ts';
import { type Heads, principalHash } from './heads.ts';
import { mayBeEarlier, mayBeRevision } from './names.ts';
import type { Found, HeadSeen, Position, RecordFilter, StoredRecord } from './records.ts';
import type { Run, Runs } from './runs.ts';
import { SegmentIndex } from './segment-index.ts';
import { SEGMENT_RECORDS } from './segments.ts';

/**
 * How much one search does, counted in heads that are looked at one after the other: 12,288 take two milliseconds. As
 * many stand behind the last full segment at most three times, so that one page finds a record by its key.
 */
export const EFFORT = 3 * SEGMENT_RECORDS;

/** What other work is in heads: a segment that only its times are read of, one whose blob is, a record by its place. */
const SPAN_EFFORT = 5;
const SEGMENT_EFFORT = 100;
const PLACE_EFFORT = 20;
/** And a body that is read for nothing, with so many of its bytes a head. What is found is bounded by its number. */
const BODY_EFFORT = 60;
const BODY_BYTES = 64;

/** A record that was looked at, or none where a segment ends; the search may stop at either. */
interface Candidate {
  readonly at: number;
  readonly run: Run | undefined;
  readonly effort: number;
}

type Order = Position['order'];

/** Finds records by their heads, and by what is sealed of full segments. */
export class Search {
  readonly #runs: Runs;
  readonly #segments: SegmentIndex;

  constructor(db: Connection, runs: Runs) {
    this.#runs = runs;
    this.#segments = new SegmentIndex(db);
  }

  /** See `RecordStore`. */
  find<T>(
    no: TenantNo,
    filter: RecordFilter,
    from: Position,
    limit: number,
    read: (record: StoredRecord) => T | undefined,
  ): Found<T> {
    const found: T[] = [];
    let effort = 0;
    for (const { at, run, effort: looked } of this.#meant(no, filter, from)) {
      effort += looked;
      if (run) {
        const body = this.#runs.body(no, run, at);
        const made = body ? read({ index: at, body }) : undefined;
        if (made !== undefined) found.push(made);
        else if (body) effort += BODY_EFFORT + body.length / BODY_BYTES;
      }
      if (found.length >= limit || effort >= EFFORT) return { found, next: after(from.order, at) };
    }
    return { found, next: undefined };
  }

  /** See `RecordStore`. */
  survey(
    no: TenantNo,
    filter: RecordFilter,
    from: Position,
    see: (head: HeadSeen) => void,
  ): Position | undefined {
    let effort = 0;
    for (const { at, run, effort: looked } of this.#meant(no, filter, from)) {
      effort += looked;
      if (run) {
        const place = at - run.first;
        see({ kind: run.heads.kind(place), outcome: run.heads.outcome(place) });
      }
      if (effort >= EFFORT) return after(from.order, at);
    }
    return undefined;
  }

  /** Those that may be meant by their heads; of the others their effort. */
  *#meant(no: TenantNo, filter: RecordFilter, from: Position): Generator<Candidate> {
    const hash = filter.principal && principalHash(filter.principal);
    for (const candidate of this.#candidates(no, filter, from)) {
      const { run, at, effort } = candidate;
      if (!run || matches(run.heads, at - run.first, filter, hash)) yield candidate;
      else yield { at, run: undefined, effort };
    }
  }

  /** Records to look at, segment by segment. */
  *#candidates(no: TenantNo, filter: RecordFilter, { order, at }: Position): Generator<Candidate> {
    const size = this.#runs.size(no);
    // Of what was removed nothing is found, and it may be most of the log.
    const floor = this.#runs.volumes.removedEnd(no);
    if (order === 'newest')
      for (let end = Math.min(at, size); end > floor; end = segmentOf(end - 1))
        yield* this.#within(no, filter, order, Math.max(floor, segmentOf(end - 1)), end);
    else
      for (let first = Math.max(at, floor); first < size; first = segmentOf(first) + SEGMENT_RECORDS)
        yield* this.#within(no, filter, order, first, Math.min(size, segmentOf(first) + SEGMENT_RECORDS));
  }

  /** Those of one segment, from `first` to before `end`: by what is sealed, else all of them. */
  *#within(
    no: TenantNo,
    filter: RecordFilter,
    order: Order,
    first: number,
    end: number,
  ): Generator<Candidate> {
    const start = segmentOf(first);
    const mayHold = this.#segments.mayHold(no, start, filter);
    const places = mayHold ? this.#segments.places(no, start, filter) : [];
    if (places) {
      const latestFirst = places.map((place) => start + place).filter((at) => at >= first && at < end);
      yield* this.#named(no, order === 'newest' ? latestFirst : latestFirst.toReversed());
    } else if (order === 'newest') yield* this.#below(no, first, end);
    else yield* this.#from(no, first, end);
    const effort = places && mayHold ? SEGMENT_EFFORT : SPAN_EFFORT;
    yield { at: order === 'newest' ? first : end - 1, run: undefined, effort };
  }

  /** Every record from `first` to before `end`, newest first. */
  *#below(no: TenantNo, first: number, end: number): Generator<Candidate> {
    for (const { run } of this.#runs.below(no, first, end)) {
      if (!run) continue;
      const last = Math.min(end, run.first + run.heads.capacity) - 1;
      for (let at = last; at >= Math.max(first, run.first); at -= 1) yield { at, run, effort: 1 };
    }
  }

  /** The same, oldest first. Without bodies runs are read from the end, so those of the segment are kept at hand. */
  *#from(no: TenantNo, first: number, end: number): Generator<Candidate> {
    for (const { run } of [...this.#runs.below(no, first, end)].toReversed()) {
      if (!run) continue;
      const stop = Math.min(end, run.first + run.heads.capacity);
      for (let at = Math.max(first, run.first); at < stop; at += 1) yield { at, run, effort: 1 };
    }
  }

  /** Records by their indexes; those that stand together are read together. */
  *#named(no: TenantNo, indexes: readonly number[]): Generator<Candidate> {
    let run: Run | undefined;
    for (const at of indexes) {
      const isAtHand = run !== undefined && at >= run.first && at < run.first + run.heads.capacity;
      if (!isAtHand) run = this.#runs.at(no, at);
      yield { at, run, effort: isAtHand ? 1 : PLACE_EFFORT };
    }
  }
}

const segmentOf = (index: number): number => Math.floor(index / SEGMENT_RECORDS) * SEGMENT_RECORDS;

/** Behind a record that was looked at; undefined at the beginning of the log, where the newest first end. */
function after(order: Order, at: number): Position | undefined {
  if (order === 'oldest') return { order, at: at + 1 };
  return at === 0 ? undefined : { order, at };
}

const matches = (heads: Heads, at: number, filter: RecordFilter, hash: number | undefined): boolean =>
  (hash === undefined || mayBeIn(heads, at, filter, hash)) &&
  (filter.key === undefined || !heads.isSealed || heads.key(at) === filter.key) &&
  isNamed(heads, at, filter) &&
  (filter.caller === undefined || heads.mayBeOf(at, filter.caller)) &&
  (filter.since === undefined || heads.time(at) >= filter.since) &&
  (filter.until === undefined || heads.time(at) < filter.until) &&
  (filter.outcome === undefined || heads.outcome(at) === filter.outcome) &&
  (filter.kind === undefined || heads.kind(at) === filter.kind) &&
  (filter.without === undefined || heads.kind(at) !== filter.without);

/** Whether a record may name a principal, whose hash is given too. */
function mayBeIn(heads: Heads, at: number, { principal }: RecordFilter, hash: number): boolean {
  const actor = heads.actor(at);
  if (heads.subject(at) === hash || actor === hash) return true;
  return principal !== undefined && mayBeEarlier(heads.names(at).earlier, actor, principal);
}

function isNamed(heads: Heads, at: number, filter: RecordFilter): boolean {
  const { resource, grant, action, reason, revision } = filter;
  const isAny = resource === undefined && grant === undefined && action === undefined && reason === undefined;
  if (isAny && revision === undefined) return true;
  if (!heads.hasNames) return true;
  const names = heads.names(at);
  return (
    (resource === undefined || names.resource === resource) &&
    (grant === undefined || names.grant === grant) &&
    (action === undefined || names.action === action) &&
    (reason === undefined || names.reason === reason) &&
    (revision === undefined || mayBeRevision(names.revision, revision))
  );
}
