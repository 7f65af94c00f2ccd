import type { TenantNo } from '../rows.ts';
import type { ItemError, TenantQuota } from '../writing/protocol.ts';

interface Share {
  readonly quota: TenantQuota;
  /** Bytes that its rate still lets through. */
  left: number;
  refilledAt: number;
}

/** How much each tenant may write, so that none fills the store, or the disk's time, for all. */
export class Quotas {
  readonly #shares = new Map<TenantNo, Share>();

  set(no: TenantNo, quota: TenantQuota): void {
    const known = this.#shares.get(no);
    const left = Math.min(known?.left ?? Number.POSITIVE_INFINITY, quota.bytesPerSecond ?? 0);
    this.#shares.set(no, { quota, left, refilledAt: known?.refilledAt ?? Number.NaN });
  }

  /**
   * Takes so many bytes for a tenant whose log has `held`, or says why not. `now`: milliseconds of a clock that is not
   * set. The rate has a second's worth in store; what is larger overdraws it, and then the next ones wait.
   */
  take(no: TenantNo, bytes: number, held: () => number, now: number): ItemError | undefined {
    const share = this.#shares.get(no);
    if (!share) return undefined;
    const { quota } = share;
    if (quota.bytes !== undefined && held() + bytes > quota.bytes)
      return {
        detail: 'the tenant has filled its share of the store',
        exhausted: { retryAfterMs: undefined },
      };
    const rate = quota.bytesPerSecond;
    if (rate === undefined) return undefined;
    const earned = ((now - share.refilledAt) / 1000) * rate;
    share.left = Math.min(rate, share.left + (Number.isNaN(earned) ? rate : earned));
    share.refilledAt = now;
    if (share.left <= 0)
      return {
        detail: 'the tenant records more than its rate lets it',
        exhausted: { retryAfterMs: Math.ceil((-share.left / rate) * 1000) + 1 },
      };
    share.left -= bytes;
    return undefined;
  }
}
