import { channel } from 'node:diagnostics_channel';
import { ServiceError } from '../errors.ts';
import type { TenantId } from '../ids.ts';

/** Evaluations that failed within this time make a tenant degraded. */
const WINDOW_MS = 60_000;
const DEGRADED_AFTER = 3;

/**
 * What a tenant's failing evaluations may take of the core: a bucket of fuel that refills at this many whole budgets
 * a second. With a budget of five milliseconds that is four hundredths of a core, and twice that where the core is
 * slow; the burst is what a deploy gone wrong may cost before it shows. Where several threads evaluate, each keeps count
 * of its own, and main, who lets requests pass to them, of all.
 */
const BUDGETS_A_SECOND = 8;
const BURST = 3;

interface State {
  /** When the latest failures were, at most DEGRADED_AFTER of them. */
  failures: { at: number; code: string; place: string | undefined }[];
  /** Whole budgets left. */
  left: number;
  refilledAt: number;
}

/** `place`: `file:line:column` of it, where that is known. */
export type FailureListener = (tenant: TenantId, code: string, at: number, place: string | undefined) => void;

/** Published when an evaluation failed by the policy's own fault: {tenant, code, place}. */
export const failureChannel = channel('mandate:policy.failed');

/** Keeps count of policies that run out of fuel or memory, so that one tenant's broken policy costs the others little. */
export class PolicyHealth {
  readonly #states = new Map<TenantId, State>();
  readonly #onFailure: FailureListener;

  constructor(onFailure: FailureListener = () => {}) {
    this.#onFailure = onFailure;
  }

  /** Throws `resource_exhausted` for a tenant whose failures have used up its share. Costs nothing for a healthy one. */
  admit(tenant: TenantId, now: number): void {
    const state = this.#states.get(tenant);
    if (!state) return;
    refill(state, now);
    if (state.left >= 1) return;
    const wait = Math.ceil(((1 - state.left) / BUDGETS_A_SECOND) * 1000);
    throw new ServiceError('resource_exhausted', "the tenant's policy fails too often; it is slowed down", {
      retryAfterMs: wait,
    });
  }

  failed(tenant: TenantId, code: string, now: number, place?: string): void {
    const state = this.#states.get(tenant) ?? { failures: [], left: BURST, refilledAt: now };
    this.#states.set(tenant, state);
    refill(state, now);
    state.left -= 1;
    state.failures = [...state.failures, { at: now, code, place }].slice(-DEGRADED_AFTER);
    this.#onFailure(tenant, code, now, place);
    if (failureChannel.hasSubscribers) failureChannel.publish({ tenant, code, place });
  }

  /** Why the tenant is degraded; empty if it is not. */
  degraded(tenant: TenantId, now: number): string {
    const failures = this.#states.get(tenant)?.failures ?? [];
    const [oldest] = failures;
    if (!oldest || failures.length < DEGRADED_AFTER || now - oldest.at > WINDOW_MS) return '';
    const { code, place } = failures.at(-1) ?? oldest;
    return `its policy failed repeatedly (${code}${place === undefined ? '' : ` at ${place}`})`;
  }

  /** A new revision starts afresh. */
  forget(tenant: TenantId): void {
    this.#states.delete(tenant);
  }
}

function refill(state: State, now: number): void {
  const earned = ((now - state.refilledAt) / 1000) * BUDGETS_A_SECOND;
  state.left = Math.min(BURST, state.left + Math.max(0, earned));
  state.refilledAt = now;
}
