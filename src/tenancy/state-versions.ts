import { ServiceError } from '../errors.ts';
import type { TenantNo } from '../storage/rows.ts';

/** How far what is known here of each tenant is: all that decides has been told of that version. */
export class StateVersions {
  readonly #of = new Map<TenantNo, number>();
  readonly #waiting = new Map<TenantNo, Set<() => void>>();
  readonly #stored: (no: TenantNo) => number;
  readonly #onReached: (no: TenantNo, version: number) => void;

  /** `stored`: where the store is, for a tenant that nobody has told of yet. `onReached` hears of each version before others do. */
  constructor(
    stored: (no: TenantNo) => number = () => 0,
    onReached: (no: TenantNo, version: number) => void = () => {},
  ) {
    this.#stored = stored;
    this.#onReached = onReached;
  }

  of(no: TenantNo): number {
    const known = this.#of.get(no);
    if (known !== undefined) return known;
    const stored = this.#stored(no);
    this.#of.set(no, stored);
    return stored;
  }

  /**
   * What somebody who was just answered may ask for elsewhere: a change of his own has its place, also while what decides is
   * still told of another one before it.
   */
  newest(no: TenantNo): number {
    return Math.max(this.of(no), this.#stored(no));
  }

  /** Called once whoever decides knows of it, and before anybody else hears of it. It does not go back. */
  reached(no: TenantNo, version: number): void {
    if (version <= (this.#of.get(no) ?? -1)) return;
    this.set(no, version);
  }

  /** The same, where it may have gone back: what is known now is a copy of another history. */
  set(no: TenantNo, version: number): void {
    this.#of.set(no, version);
    this.#onReached(no, version);
    for (const wake of this.#waiting.get(no) ?? []) wake();
  }

  /** Resolves once it is as far, at once if it is. Rejects with `state_stale` where it is not within that time. */
  async atLeast(no: TenantNo, version: number, waitMs = MOST_WAITED_MS): Promise<void> {
    if (await this.when(no, () => this.of(no) >= version, waitMs)) return;
    throw new ServiceError(
      'state_stale',
      `the state here is of version ${this.of(no)}, not yet of ${version}`,
      { retryAfterMs: 1_000 },
    );
  }

  /** Whether that is so, or comes to be with some change within that time. Rejects with `resource_exhausted`. */
  async when(no: TenantNo, isSo: () => boolean, waitMs = MOST_WAITED_MS): Promise<boolean> {
    if (isSo()) return true;
    const waiting = this.#waiting.get(no) ?? new Set();
    if (waiting.size >= MOST_WAITING)
      throw new ServiceError('resource_exhausted', 'too many wait for a newer state', { retryAfterMs: 200 });
    this.#waiting.set(no, waiting);
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const wake = (): void => {
      if (isSo()) resolve(true);
    };
    const late = setTimeout(() => resolve(false), waitMs);
    waiting.add(wake);
    try {
      return await promise;
    } finally {
      clearTimeout(late);
      waiting.delete(wake);
      if (waiting.size === 0 && this.#waiting.get(no) === waiting) this.#waiting.delete(no);
    }
  }
}

/** How long somebody waits for a version that is said to exist. In milliseconds. */
const MOST_WAITED_MS = 2_000;
/** How many may, of a tenant. */
const MOST_WAITING = 1_000;
