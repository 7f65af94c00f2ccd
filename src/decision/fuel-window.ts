import type { TenantId } from '../ids.ts';

/** Fuel units that a thread spends in a second: the default budget of an evaluation is five milliseconds' worth. */
const UNITS_A_SECOND = 4_000_000_000;

/** Half of it is the longest that one tenant keeps the others waiting. In milliseconds. */
const WINDOW_MS = 40;

/** How long a tenant counts as one of those who ask, after it has asked. In milliseconds. */
const SEEN_MS = 1_000;

/**
 * How much of the processor each tenant has taken in the last moments, counted in fuel. Evaluations do not wait for each
 * other, so a tenant with dear ones would take all of it, however few of its requests are open at any time.
 *
 * As soon as half of a window is spent, whoever has more than its equal share of that half waits for the next one. A
 * tenant that asks alone is never held back.
 */
export class FuelWindow {
  readonly #half: number;
  readonly #seen = new Recent();
  readonly #spent = new Map<TenantId, number>();
  #began = Number.NEGATIVE_INFINITY;
  #total = 0;

  /** `threads`: how many spend at a time. */
  constructor(threads: number) {
    this.#half = (UNITS_A_SECOND * threads * WINDOW_MS) / 2_000;
  }

  /** The tenant asks. Answers how long it is held back, in milliseconds; 0: not at all. */
  ask(tenant: TenantId, now: number): number {
    this.#turn(now);
    this.#seen.add(tenant, now);
    if (this.#total < this.#half || this.#seen.size <= 1) return 0;
    if ((this.#spent.get(tenant) ?? 0) <= this.#half / this.#seen.size) return 0;
    return Math.max(1, this.#began + WINDOW_MS - now);
  }

  spend(tenant: TenantId, fuel: number, now: number): void {
    this.#turn(now);
    this.#spent.set(tenant, (this.#spent.get(tenant) ?? 0) + fuel);
    this.#total += fuel;
  }

  #turn(now: number): void {
    if (!isOver(this.#began, WINDOW_MS, now)) return;
    this.#began = now;
    this.#spent.clear();
    this.#total = 0;
  }
}

/** Tenants seen within one to two times SEEN_MS. */
class Recent {
  #before: ReadonlySet<TenantId> = new Set();
  #now = new Set<TenantId>();
  #began = Number.NEGATIVE_INFINITY;

  /** At least as many as there are, and none twice in the same half. */
  get size(): number {
    return Math.max(this.#before.size, this.#now.size);
  }

  add(tenant: TenantId, now: number): void {
    if (isOver(this.#began, SEEN_MS, now)) {
      this.#before = isOver(this.#began, 2 * SEEN_MS, now) ? new Set() : this.#now;
      this.#now = new Set();
      this.#began = now;
    }
    this.#now.add(tenant);
  }
}

/** Also where the clock was set back. */
const isOver = (began: number, span: number, now: number): boolean => now - began >= span || now < began;
