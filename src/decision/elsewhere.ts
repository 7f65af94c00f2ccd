import { ServiceError } from '../errors.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import type { Answer } from './decisions.ts';
import type { UncheckedRequest } from './request.ts';

/** An authority, for whoever asks at a server that cannot decide all itself. */
export interface Elsewhere {
  /** Whether it takes what an authority alone can do: to count, or to take something once. */
  takes(tenant: Tenant, request: UncheckedRequest): boolean;
  /** Decides it there, with its record. Rejects with what is said there of why not. */
  decide(tenant: Tenant, request: UncheckedRequest): Promise<Answer>;
}

/** An authority has to decide it. Nothing was done. */
export class ForAuthority extends Error {
  override readonly name = 'ForAuthority';
}

/** What was found to be for an authority. Rejects with `unavailable` where nobody can ask one. */
export const decidedThere = (
  elsewhere: Elsewhere | undefined,
  tenant: Tenant,
  request: UncheckedRequest,
): Promise<Answer> =>
  elsewhere?.decide(tenant, request) ??
  Promise.reject(new ServiceError('unavailable', 'an authority decides this, and was not asked'));

/** How many of one batch are asked there at once. */
const MOST_AT_ONCE = 32;

/** What one batch asks there: so many at once, begun in its order. */
export class Asking {
  readonly #open = new Set<Promise<Answer>>();

  /** Resolves once it is asked, with how to hear of the answer. Rejects where one before it failed. */
  async ask(decide: () => Promise<Answer>): Promise<{ readonly answer: Promise<Answer> }> {
    while (this.#open.size >= MOST_AT_ONCE) await Promise.race(this.#open);
    const answer = decide();
    this.#open.add(answer);
    const left = (): unknown => this.#open.delete(answer);
    answer.then(left, left);
    return { answer };
  }
}
