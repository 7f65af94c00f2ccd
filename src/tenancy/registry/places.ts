import { ServiceError } from '../../errors.ts';
import type { TenantNo } from '../../storage/rows.ts';

/** How many secrets are looked at at once, over all tenants: each takes memory, and a thread. */
const AT_ONCE = 2;
/** How many wait, of one tenant and of all. */
const MOST_WAITING_EACH = 32;
const MOST_WAITING = 1_024;

/** Where secrets are looked at. Tenants that wait have their turns one after the other: a crowd at one keeps no other out. */
export class Places {
  /** In the order of their turns; none of them empty. */
  readonly #waiting = new Map<TenantNo, (() => void)[]>();
  #waits = 0;
  #running = 0;

  /** Rejects with `resource_exhausted` where too many wait: then nothing was done. */
  async within<T>(tenantNo: TenantNo, work: () => Promise<T>): Promise<T> {
    if (this.#running < AT_ONCE) this.#running += 1;
    else await this.#place(tenantNo);
    try {
      return await work();
    } finally {
      // Whoever ends gives its place on.
      const next = this.#next();
      if (next) next();
      else this.#running -= 1;
    }
  }

  #place(tenantNo: TenantNo): Promise<void> {
    const own = this.#waiting.get(tenantNo) ?? [];
    if (own.length >= MOST_WAITING_EACH || this.#waits >= MOST_WAITING)
      throw new ServiceError('resource_exhausted', 'too many secrets are looked at; ask again', {
        retryAfterMs: 1_000,
      });
    this.#waiting.set(tenantNo, own);
    this.#waits += 1;
    return new Promise((resolve) => own.push(resolve));
  }

  #next(): (() => void) | undefined {
    const [first] = this.#waiting;
    if (!first) return undefined;
    const [tenantNo, own] = first;
    const next = own.shift();
    this.#waits -= 1;
    this.#waiting.delete(tenantNo);
    if (own.length > 0) this.#waiting.set(tenantNo, own);
    return next;
  }
}
