import { ServiceError } from '../../errors.ts';
import { type SharedTally, Tally } from './tally.ts';

export interface PlacesOptions {
  /** How many there are. */
  readonly total: number;
  /** How many of them one may have. */
  readonly each: number;
  /** What is said to whom there is none for. */
  readonly full: string;
}

/** A bounded number of places, of which nobody gets them all: connections, streams that stay open, bytes. */
export class Places {
  readonly #options: PlacesOptions;
  readonly #taken = new Map<string, number>();
  readonly #tally: Tally | undefined;
  #total = 0;

  /** `shared`: where threads give away the same places. */
  constructor(options: PlacesOptions, shared?: SharedTally) {
    this.#options = options;
    this.#tally = shared && new Tally(shared);
  }

  get taken(): number {
    return this.#total;
  }

  /** Takes places for `whom`, an address or the name of a caller; false if there are not so many. */
  tryTake(whom: string, count = 1): boolean {
    const own = this.#taken.get(whom) ?? 0;
    const { total, each } = this.#options;
    if (this.#total + count > total || own + count > each) return false;
    if (this.#tally && !this.#tally.tryTake(whom, count, { total, each })) return false;
    this.#taken.set(whom, own + count);
    this.#total += count;
    return true;
  }

  /** Disposing gives the place back, once. Throws `resource_exhausted`. */
  take(whom: string): Disposable {
    this.need(whom, 1);
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (held) this.giveBack(whom);
        held = false;
      },
    };
  }

  /** Takes places that `giveBack` gives back. Throws `resource_exhausted`. */
  need(whom: string, count: number): void {
    if (!this.tryTake(whom, count))
      throw new ServiceError('resource_exhausted', this.#options.full, { retryAfterMs: RETRY_MS });
  }

  giveBack(whom: string, count = 1): void {
    const own = (this.#taken.get(whom) ?? 0) - count;
    if (own > 0) this.#taken.set(whom, own);
    else this.#taken.delete(whom);
    this.#total -= count;
    this.#tally?.giveBack(whom, count);
  }
}

const RETRY_MS = 1_000;
