import type { Clock } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import type { TenantId } from '../ids.ts';
import type { TenantNo } from '../storage/rows.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import { FuelWindow } from './fuel-window.ts';
import { type Counts, OwnCounts } from './ledger.ts';

export interface Share {
  readonly no: TenantNo;
  /** The fuel that a decision of the tenant usually costs. */
  usual: number;
  /** What the dearest ones of late cost: it follows up at once, and down slowly. */
  dearest: number;
}

/**
 * Who may enter. The number of decisions under way is bounded: beyond it nothing waits, it is refused with a hint when
 * to come back. From half of the bound on, a tenant that has more than its equal share of it is refused first, so that
 * one busy tenant does not keep the others out.
 */
export class Admission {
  readonly #clock: Clock;
  readonly #bound: number;
  readonly #shares = new Map<TenantId, Share>();
  readonly #here = new FuelWindow(1);
  readonly #counts: Counts;

  /** `counts`: shared with other threads that admit, where there are any. */
  constructor(clock: Clock, bound: number, counts: Counts = new OwnCounts(clock)) {
    this.#clock = clock;
    this.#bound = bound;
    this.#counts = counts;
  }

  get open(): number {
    return this.#counts.open;
  }

  /**
   * Takes places for `count` decisions; the answer gives them back. `window` is that of the threads which decide, if it
   * is not this one. Throws `resource_exhausted`.
   */
  enter(tenant: Tenant, count: number, window = this.#here): Share {
    const share = this.#shareOf(tenant);
    const held = window.ask(tenant.id, this.#clock());
    if (held > 0) throw full(held, 'the tenant has taken more than its share of the processor');
    const counts = this.#counts;
    const rate = tenant.manifest.limits.decisions_per_second;
    const wait = rate === undefined ? 0 : counts.pay(tenant.no, rate, count);
    if (wait > 0) throw full(wait, "the tenant's rate limit is reached");
    // A batch larger than what is free waits for nobody: it may enter only an idle server, or a smaller one.
    const { open } = counts;
    if (open > 0 && open + count > this.#bound) throw full(50);
    if (open > this.#bound / 2 && counts.openOf(tenant.no) > this.#bound / (2 * Math.max(1, counts.busy)))
      throw full(20);
    counts.take(tenant.no, count);
    return share;
  }

  leave({ no }: Share, count: number): void {
    this.#counts.giveBack(no, count);
  }

  /** What decisions cost that were made in this thread. */
  spent(tenant: TenantId, fuel: number): void {
    this.#here.spend(tenant, fuel, this.#clock());
    this.learn(tenant, fuel);
  }

  /** What a decision cost, wherever it was made. */
  learn(tenant: TenantId, fuel: number): void {
    const share = this.#shares.get(tenant);
    if (!share) return;
    share.usual += (fuel - share.usual) / 16;
    share.dearest = Math.max(fuel, share.dearest - share.dearest / 16);
  }

  /** One was left to somebody else, of whom what it cost is not heard: so it comes down all the same. */
  left(tenant: TenantId): void {
    const share = this.#shares.get(tenant);
    if (share) share.dearest -= share.dearest / 16;
  }

  /** What the tenant's dearest decisions of late cost, in fuel. */
  dearest(tenant: TenantId): number {
    return this.#shares.get(tenant)?.dearest ?? 0;
  }

  #shareOf(tenant: Tenant): Share {
    const known = this.#shares.get(tenant.id);
    // One that was retired and comes again has another number.
    if (known && known.no === tenant.no) return known;
    const share = { no: tenant.no, usual: 0, dearest: 0 };
    this.#shares.set(tenant.id, share);
    return share;
  }
}

const full = (retryAfterMs: number, message = 'too many decisions are under way'): ServiceError =>
  new ServiceError('resource_exhausted', message, { retryAfterMs });
