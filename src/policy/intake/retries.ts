/** How long after a failure it is tried again, and at most after how long. In milliseconds. */
const FIRST_MS = 250;
const LAST_MS = 30_000;

/** What failed by nobody's mistake, tried again after longer and longer. One plan for each key. */
export class Retries<Key> implements Disposable {
  readonly #plans = new Map<Key, { timer: NodeJS.Timeout; waitMs: number }>();

  plan(key: Key, again: () => Promise<void>): void {
    const before = this.#plans.get(key);
    clearTimeout(before?.timer);
    const waitMs = Math.min(LAST_MS, before ? before.waitMs * 2 : FIRST_MS);
    const timer = setTimeout(() => void again(), waitMs);
    // A server that has nothing else to do may end.
    timer.unref();
    this.#plans.set(key, { timer, waitMs });
  }

  /** It worked, or is now known to be a mistake. */
  settle(key: Key): void {
    clearTimeout(this.#plans.get(key)?.timer);
    this.#plans.delete(key);
  }

  [Symbol.dispose](): void {
    for (const { timer } of this.#plans.values()) clearTimeout(timer);
    this.#plans.clear();
  }
}
