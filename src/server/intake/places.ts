import { ServiceError } from '../../errors.ts';

export interface PlacesOptions {
  /** How many there are. */
  readonly total: number;
  /** How many of them one may have. */
  readonly each: number;
  /** What is said to whom there is none for. */
  readonly full: string;
}

/** A bounded number of places, of which nobody gets them all: connections, streams that stay open, what strangers send. */
export class Places {
  readonly #options: PlacesOptions;
  readonly #taken = new Map<string, number>();
  #total = 0;

  constructor(options: PlacesOptions) {
    this.#options = options;
  }

  get taken(): number {
    return this.#total;
  }

  /** Takes a place for `whom`, an address or the name of a caller; false if there is none. */
  tryTake(whom: string): boolean {
    const own = this.#taken.get(whom) ?? 0;
    if (this.#total >= this.#options.total || own >= this.#options.each) return false;
    this.#taken.set(whom, own + 1);
    this.#total += 1;
    return true;
  }

  /** Disposing gives the place back, once. Throws `resource_exhausted`. */
  take(whom: string): Disposable {
    if (!this.tryTake(whom))
      throw new ServiceError('resource_exhausted', this.#options.full, { retryAfterMs: RETRY_MS });
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (held) this.giveBack(whom);
        held = false;
      },
    };
  }

  giveBack(whom: string): void {
    const own = (this.#taken.get(whom) ?? 0) - 1;
    if (own > 0) this.#taken.set(whom, own);
    else this.#taken.delete(whom);
    this.#total -= 1;
  }
}

const RETRY_MS = 1_000;
