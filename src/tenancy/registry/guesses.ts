import { LRUCache } from 'lru-cache';
import type { Clock } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import type { TenantNo } from '../../storage/rows.ts';

/** So many wrong secrets at once, and one each second after that. */
const BURST = 10;
const REFILL_MS = 1_000;
const MOST_PLACES = 10_000;

/** Slows down whoever tries secrets, by tenant and address: what is over is refused without being looked at. */
export class Guesses {
  readonly #left = new LRUCache<string, { left: number; at: number }>({ max: MOST_PLACES });
  readonly #monotonic: Clock;

  constructor(monotonic: Clock) {
    this.#monotonic = monotonic;
  }

  /** Takes a try. Throws `resource_exhausted`. Many at once are as many tries. */
  take(tenantNo: TenantNo, address: string): () => void {
    const name = `${tenantNo} ${address}`;
    const now = this.#monotonic();
    const place = this.#left.get(name) ?? { left: BURST, at: now };
    place.left = Math.min(BURST, place.left + (now - place.at) / REFILL_MS);
    place.at = now;
    this.#left.set(name, place);
    if (place.left < 1)
      throw new ServiceError('resource_exhausted', 'too many wrong secrets came from here; ask again later', {
        retryAfterMs: Math.ceil((1 - place.left) * REFILL_MS),
      });
    place.left -= 1;
    // A right one is no guess.
    return () => {
      place.left = Math.min(BURST, place.left + 1);
    };
  }
}
