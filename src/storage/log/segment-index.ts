import type { Connection } from '../database.ts';
import { reportFault } from '../faults.ts';
import { recordId, type TenantNo } from '../rows.ts';
import { damagedIndex } from './damage.ts';
import { keysOf } from './names.ts';
import type { RecordFilter } from './records.ts';
import { isListed, placesOf, placesOfKey, SegmentNames, sumOf } from './segments.ts';

interface Span {
  readonly firstTime: number;
  readonly lastTime: number;
  readonly principalsSum: number;
  readonly decisionsSum: number;
  readonly names: SegmentNames;
  readonly revisions: Uint8Array | null;
}

/** What is sealed of full segments. One that is damaged, or that an older version did not seal, is searched whole. */
export class SegmentIndex {
  readonly #span;
  readonly #principals;
  readonly #decisions;

  constructor(db: Connection) {
    this.#span = db.prepare<[number], Span>(
      `SELECT first_time AS firstTime, last_time AS lastTime, principals_sum AS principalsSum,
         decisions_sum AS decisionsSum, has_names AS names, revisions FROM spans WHERE id = ?`,
    );
    this.#principals = db
      .prepare<[number], Uint8Array>('SELECT principals FROM segments WHERE id = ?')
      .pluck();
    this.#decisions = db.prepare<[number], Uint8Array>('SELECT keys FROM decisions WHERE id = ?').pluck();
  }

  /** Whether a segment may hold records of these times and this revision: only those that it has tell that it does not. */
  mayHold(no: TenantNo, start: number, { since, until, revision }: RecordFilter): boolean {
    if (since === undefined && until === undefined && revision === undefined) return true;
    const span = this.#span.get(recordId(no, start));
    if (!span) return true;
    const overlaps = (since ?? span.lastTime) <= span.lastTime && (until ?? Infinity) > span.firstTime;
    return overlaps && (revision === undefined || this.#mayList(no, start, span, revision));
  }

  #mayList(no: TenantNo, start: number, { revisions }: Span, revision: number): boolean {
    if (!revisions) return true;
    const isThere = isListed(revisions, revision);
    if (isThere === undefined) reportFault(damagedIndex(no, start));
    return isThere ?? true;
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
    if (!keys) return undefined;
    return this.#in(no, start, this.#principals.get(id), span?.principalsSum, (blob) =>
      placesOfAny(blob, keys),
    );
  }

  #in(
    no: TenantNo,
    start: number,
    blob: Uint8Array | undefined,
    sum: number | undefined,
    find: (blob: Uint8Array) => number[],
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
