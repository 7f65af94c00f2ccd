import type { Clock } from '../effects.ts';
import type { GrantId } from '../ids.ts';
import type { GrantRow } from '../storage/rows.ts';

/** How many ends are kept, twice: grants last five minutes, so what was made before that many others has mostly ended. */
const KEPT = 50_000;

/** How far into the future a grant may seem to have been issued, in milliseconds: another node's clock, or a small step. */
const TOLERANCE = 30_000;

/**
 * When grants end, whatever is done to the clock. Set forward, it ends them early. Set back, it would let them live
 * again: so the end of each is kept by the clock that nobody sets from when it is first seen on, and a grant that is not
 * kept and was issued in the future is none.
 */
export class Lifetimes {
  readonly #monotonic: Clock;
  #young = new Map<GrantId, number>();
  #old: ReadonlyMap<GrantId, number> = new Map();

  constructor(monotonic: Clock) {
    this.#monotonic = monotonic;
  }

  /** Whether the grant lasts, at `now` by the clock that may be set. */
  lasts({ id, issuedAt, expiresAt }: GrantRow, now: number): boolean {
    if (expiresAt <= now || issuedAt > now + TOLERANCE) return false;
    const end = this.#young.get(id) ?? this.#old.get(id);
    if (end !== undefined) return this.#monotonic() < end;
    if (this.#young.size >= KEPT) [this.#old, this.#young] = [this.#young, new Map()];
    this.#young.set(id, this.#monotonic() + (expiresAt - now));
    return true;
  }
}
