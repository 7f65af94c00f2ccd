import type { Connection } from '../database.ts';
import { reportFault } from '../faults.ts';
import { recordId, type TenantNo } from '../rows.ts';
import { damagedIndex } from './damage.ts';
import { keysOf, revisionKey } from './names.ts';
import type { RecordFilter } from './records.ts';
import { placesOf, placesOfKey, SegmentNames, sumOf } from './segments.ts';

interface Span {
  readonly firstTime: number;
  readonly lastTime: number;
  readonly principalsSum: number;
  readonly decisionsSum: number;
  readonly names: SegmentNames;
}

/** What is sealed of full segments. One that is damaged, or that an older version did not seal, is searched whole. */
export class SegmentIndex {
  readonly #span;
  readonly #principals;
  readonly #decisions;

  constructor(db: Connection) {
    this.#span = db.prepare<[number], Span>(
      `SELECT first_time AS firstTime, last_time AS lastTime, principals_sum AS principalsSum,
         decisions_sum AS decisionsSum, has_names AS names FROM spans WHERE id = ?`,
    );
    this.#principals = db
      .prepare<[number], Uint8Array>('SELECT principals FROM segments WHERE id = ?')
      .pluck();
    this.#decisions = db.prepare<[number], Uint8Array>('SELECT keys FROM decisions WHERE id = ?').pluck();
  }

  /** Whether a segment may hold records from `since` to before `until`: only times that it has tell that it does not. */
  overlaps(no: TenantNo, start: number, since: number | undefined, until: number | undefined): boolean {
    if (since === undefined && until === undefined) return true;
    const span = this.#span.get(recordId(no, start));
    return !span || ((since ?? span.lastTime) <= span.lastTime && (until ?? Infinity) > span.firstTime);
  }

  /** Places of the records that may be meant, latest first; undefined where each must be looked at. */
  places(no: TenantNo, start: number, filter: RecordFilter): number[] | undefined {
    const id = recordId(no, start);
    const { key } = filter;
    if (key !== undefined)
      return this.#in(no, start, this.#decisions.get(id), this.#span.get(id)?.decisionsSum, (blob) =>
        placesOfKey(blob, key),
      );
    const span = this.#span.get(id);
    const keys = keysIn(span?.names ?? SegmentNames.none, filter);
    const { revision } = filter;
    const isTold = revision !== undefined && span?.names === SegmentNames.all;
    if (!keys && !isTold) return undefined;
    return this.#in(no, start, this.#principals.get(id), span?.principalsSum, (blob) => {
      if (isTold && placesOf(blob, revisionKey(revision)).length === 0) return [];
      return keys && placesOfAny(blob, keys);
    });
  }

  #in(
    no: TenantNo,
    start: number,
    blob: Uint8Array | undefined,
    sum: number | undefined,
    find: (blob: Uint8Array) => number[] | undefined,
  ): number[] | undefined {
    if (!blob || sum === undefined) return undefined;
    if (sumOf(blob) === sum) return find(blob);
    reportFault(damagedIndex(no, start));
    return undefined;
  }
}

/** By what the records that are meant are found in a blob that has such names; undefined if by nothing. */
function keysIn(names: SegmentNames, { grant, resource, principal }: RecordFilter): number[] | undefined {
  const named = grant ?? resource;
  if (named !== undefined && names !== SegmentNames.none) return [named];
  // Of the others somebody may be an earlier actor.
  return principal && names === SegmentNames.all ? keysOf(principal) : undefined;
}

/** Places where any of the keys stands, latest first. */
function placesOfAny(blob: Uint8Array, keys: readonly number[]): number[] {
  const [places = [], ...others] = keys.map((key) => placesOf(blob, key));
  if (others.every((each) => each.length === 0)) return places;
  return [...new Set([...places, ...others.flat()])].sort((a, b) => b - a);
}
