import type { Clock } from '../effects.ts';
import { Generations } from '../generations.ts';
import type { GrantId } from '../ids.ts';
import type { GrantRow } from '../storage/rows.ts';

/** How many ends are kept: grants last five minutes, so what was made before that many others has mostly ended. */
const KEPT = 100_000;

/** How far into the future a grant may seem to have been issued, in milliseconds: another node's clock, or a small step. */
const TOLERANCE = 30_000;

/**
 * When grants end, whatever is done to the clock. Set forward, it ends them early. Set back, it would let them live
 * again: so the end of each is kept by the clock that nobody sets from when it is first seen on, and a grant that is not
 * kept and was issued in the future is none.
 */
export class Lifetimes {
  readonly #monotonic: Clock;
  /** By how much that clock was ahead of the other when a grant was first seen: one that is to end sooner is found by it. */
  readonly #offsets = new Generations<GrantId, number>(KEPT);

  constructor(monotonic: Clock) {
    this.#monotonic = monotonic;
  }

  /** Whether the grant lasts, at `now` by the clock that may be set. */
  lasts(grant: GrantRow, now: number): boolean {
    const end = this.endOf(grant, now);
    return end !== undefined && this.lastsUntil(end, grant, now);
  }

  /** The same where `endOf` has told the end. */
  lastsUntil(end: number, { issuedAt, expiresAt }: GrantRow, now: number): boolean {
    return expiresAt > now && issuedAt <= now + TOLERANCE && this.#monotonic() < end;
  }

  /** When it ends, by the clock that nobody sets; undefined for one that has ended, or is yet to be issued. */
  endOf({ id, issuedAt, expiresAt }: GrantRow, now: number): number | undefined {
    const known = this.#offsets.get(id);
    if (known !== undefined) return expiresAt + known;
    if (expiresAt <= now || issuedAt > now + TOLERANCE) return undefined;
    const offset = this.#monotonic() - now;
    this.#offsets.set(id, offset);
    return expiresAt + offset;
  }
}
