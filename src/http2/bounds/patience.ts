/**
 * Things that cost their sender next to nothing, and us some work each. Each has a number that nobody reaches in good
 * faith: so many at once, so many more each second, and some more with each request that was answered whole.
 */
const ALLOWANCES = {
  /** RFC 9113 section 6.7. gRPC clients send one with nearly each answer, to measure the path. */
  ping: { burst: 1_000, perSecond: 20, earned: 2 },
  settings: { burst: 100, perSecond: 2, earned: 0 },
  /** Streams given up by the peer (CVE-2023-44487), and those that it makes us give up (CVE-2025-8671). */
  reset: { burst: 1_000, perSecond: 100, earned: 1 },
  /** DATA without a byte that does not end its stream. */
  empty: { burst: 100, perSecond: 10, earned: 1 },
  /** PRIORITY, which says nothing any more (section 5.3.2), frames of unknown types, and of streams that are over. */
  idle: { burst: 1_000, perSecond: 100, earned: 1 },
  /** WINDOW_UPDATE: of all honest ones none is for less than a few bytes. */
  window: { burst: 2_000, perSecond: 200, earned: 4 },
} as const;

export type Kind = keyof typeof ALLOWANCES;

/** How much of each a peer has left. The clock is read only where a burst is used up. */
export class Patience {
  readonly #now: () => number;
  #left: Record<Kind, number> | undefined;
  #at = 0;
  #earned = 0;

  /** `now` in milliseconds, monotonic. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** One of a kind came; false once it is too much. */
  take(kind: Kind): boolean {
    this.#left ??= this.#full();
    this.#left[kind] -= 1;
    if (this.#left[kind] >= 0) return true;
    this.#refill(this.#left);
    return this.#left[kind] >= 0;
  }

  /** A request was answered whole. */
  earn(): void {
    this.#earned += 1;
  }

  #full(): Record<Kind, number> {
    this.#at = this.#now();
    return Object.fromEntries(kinds.map((kind) => [kind, ALLOWANCES[kind].burst])) as Record<Kind, number>;
  }

  #refill(left: Record<Kind, number>): void {
    const now = this.#now();
    const seconds = (now - this.#at) / 1_000;
    for (const kind of kinds) {
      const { burst, perSecond, earned } = ALLOWANCES[kind];
      left[kind] = Math.min(burst, left[kind] + perSecond * seconds + earned * this.#earned);
    }
    this.#at = now;
    this.#earned = 0;
  }
}

const kinds = Object.keys(ALLOWANCES) as Kind[];
