import type { Clock } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import type { TenantId } from '../ids.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import { FuelWindow } from './fuel-window.ts';

export interface Share {
  /** Decisions that wait for their answer. */
  open: number;
  /** Decisions the rate limit still lets through now. */
  left: number;
  refilledAt: number;
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
  #open = 0;
  #busy = 0;

  constructor(clock: Clock, bound: number) {
    this.#clock = clock;
    this.#bound = bound;
  }

  get open(): number {
    return this.#open;
  }

  /**
   * Takes places for `count` decisions; the answer gives them back. `window` is that of the threads which decide, if it
   * is not this one. Throws `resource_exhausted`.
   */
  enter(tenant: Tenant, count: number, window = this.#here): Share {
    const share = this.#shareOf(tenant);
    const held = window.ask(tenant.id, this.#clock());
    if (held > 0) throw full(held, 'the tenant has taken more than its share of the processor');
    const rate = tenant.manifest.limits.decisions_per_second;
    if (rate !== undefined) this.#pay(share, rate, count);
    // A batch larger than what is free waits for nobody: it may enter only an idle server, or a smaller one.
    if (this.#open > 0 && this.#open + count > this.#bound) throw full(50);
    const fair = this.#bound / (2 * Math.max(1, this.#busy));
    if (this.#open > this.#bound / 2 && share.open > fair) throw full(20);
    if (share.open === 0) this.#busy += 1;
    share.open += count;
    this.#open += count;
    return share;
  }

  leave(share: Share, count: number): void {
    share.open -= count;
    this.#open -= count;
    if (share.open === 0) this.#busy -= 1;
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

  /** What the tenant's dearest decisions of late cost, in fuel. */
  dearest(tenant: TenantId): number {
    return this.#shares.get(tenant)?.dearest ?? 0;
  }

  #shareOf(tenant: Tenant): Share {
    const known = this.#shares.get(tenant.id);
    if (known) return known;
    const share = {
      open: 0,
      left: Number.POSITIVE_INFINITY,
      refilledAt: this.#clock(),
      usual: 0,
      dearest: 0,
    };
    this.#shares.set(tenant.id, share);
    return share;
  }

  /** A bucket that holds one second's worth; a batch may overdraw it, and then the next ones wait. */
  #pay(share: Share, rate: number, count: number): void {
    const now = this.#clock();
    // A clock that is set back must not take away what was earned.
    const earned = (Math.max(0, now - share.refilledAt) / 1000) * rate;
    share.left = Math.min(rate, share.left + earned);
    share.refilledAt = now;
    if (share.left < 1)
      throw full(Math.ceil(((1 - share.left) / rate) * 1000), "the tenant's rate limit is reached");
    share.left -= count;
  }
}

const full = (retryAfterMs: number, message = 'too many decisions are under way'): ServiceError =>
  new ServiceError('resource_exhausted', message, { retryAfterMs });
