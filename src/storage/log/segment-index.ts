import type { Connection } from '../database.ts';
import { reportFault } from '../faults.ts';
import { recordId, type TenantNo } from '../rows.ts';
import { damagedIndex } from './damage.ts';
import { principalHash } from './heads.ts';
import type { RecordFilter } from './records.ts';
import { placesOf, placesOfKey, sumOf } from './segments.ts';

interface Span {
  readonly firstTime: number;
  readonly lastTime: number;
  readonly principalsSum: number;
  readonly decisionsSum: number;
  readonly hasNames: number;
}

/** What is sealed of full segments. One that is damaged, or that an older version did not seal, is searched whole. */
export class SegmentIndex {
  readonly #span;
  readonly #principals;
  readonly #decisions;

  constructor(db: Connection) {
    this.#span = db.prepare<[number], Span>(
      `SELECT first_time AS firstTime, last_time AS lastTime, principals_sum AS principalsSum,
         decisions_sum AS decisionsSum, has_names AS hasNames FROM spans WHERE id = ?`,
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
    const { key, principal } = filter;
    if (key !== undefined)
      return this.#in(no, start, this.#decisions.get(id), this.#span.get(id)?.decisionsSum, (blob) =>
        placesOfKey(blob, key),
      );
    const { grant, resource } = filter;
    const named = grant ?? resource;
    const span = this.#span.get(id);
    // What an older version sealed has principals alone.
    const hash = named !== undefined && span?.hasNames ? named : principal && principalHash(principal);
    if (hash === undefined) return undefined;
    return this.#in(no, start, this.#principals.get(id), this.#span.get(id)?.principalsSum, (blob) =>
      placesOf(blob, hash),
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
