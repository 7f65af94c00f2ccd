import type { Clock } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import type { Tenant } from './tenants.ts';

/** How old what is known here may be. An authority's own store is what is so, and never stale. */
export interface Freshness {
  /** For how long nothing is known of what may have changed, in milliseconds. */
  readonly ageMs: number;
  readonly isStale: boolean;
  /** How long it is not stale for certain, in milliseconds. */
  readonly leftMs: number;
}

export const ALWAYS_FRESH: Freshness = { ageMs: 0, isStale: false, leftMs: Number.POSITIVE_INFINITY };

/** Of what is heard from an authority: it was all of the truth when the question was sent that it answers. */
export class Heard implements Freshness {
  readonly #monotonic: Clock;
  readonly #maxMs: number;
  #at = Number.NEGATIVE_INFINITY;

  /** `maxMs`: beyond it what is known counts as stale. */
  constructor(monotonic: Clock, maxMs: number) {
    this.#monotonic = monotonic;
    this.#maxMs = maxMs;
  }

  /** `askedAt`: when the question was sent, by the monotonic clock. */
  heard(askedAt: number): void {
    this.#at = Math.max(this.#at, askedAt);
  }

  get ageMs(): number {
    return this.#monotonic() - this.#at;
  }

  get isStale(): boolean {
    return this.ageMs > this.#maxMs;
  }

  get leftMs(): number {
    return Math.max(0, this.#maxMs - this.ageMs);
  }
}

/** What depends on nothing having been revoked meanwhile. Throws `state_stale`. */
export function checkFresh({ isStale, ageMs }: Freshness): void {
  if (isStale) throw stale(ageMs);
}

/** What a tenant wants refused whole, rather than answered by what may be over. Throws `state_stale`. */
export function checkServed({ manifest }: Tenant, freshness: Freshness): void {
  if (manifest.when_stale === 'refuse_all' && freshness.isStale) throw stale(freshness.ageMs);
}

const stale = (ageMs: number): ServiceError =>
  new ServiceError(
    'state_stale',
    Number.isFinite(ageMs)
      ? `no authority was heard of for ${Math.round(ageMs / 1_000)} seconds: what was revoked since is not known here`
      : 'no authority was heard of since the start: what was revoked meanwhile is not known here',
    { retryAfterMs: 1_000 },
  );
