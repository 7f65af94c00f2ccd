import { createHash } from 'node:crypto';
import type { LogSource } from '../../audit/query.ts';
import type { Clock } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import type { ApprovalKey, ApprovalRow } from '../../storage/approvals/rows.ts';
import type { Caller } from '../../tenancy/callers.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import type { Admission } from '../admission.ts';
import type { Decisions } from '../decisions.ts';
import type { TokenPrincipal } from '../principal.ts';
import type { UncheckedRequest } from '../request.ts';
import type { Callback } from './callback.ts';
import { checkDenial, type NamedDenial } from './denial.ts';
import { canonical, decisionQuestion } from './question.ts';
import type { RequestedAccess } from './requested.ts';
import type { ApprovalRequests } from './requests.ts';
import { termsOf } from './terms.ts';

export interface AccessRequestsOptions {
  readonly decisions: Pick<Decisions, 'weigh'>;
  readonly requests: Pick<ApprovalRequests, 'open' | 'known'>;
  readonly source: LogSource;
  readonly admission: Pick<Admission, 'enter' | 'leave'>;
  readonly clock: Clock;
}

/** What is said of a request beside what is asked. */
export interface Words {
  readonly reason: string;
  readonly callback: Callback | undefined;
  readonly requested: RequestedAccess | undefined;
  /** By which whoever sends it may send it again, and the body it came with. */
  readonly key: { readonly text: string; readonly body: unknown } | undefined;
}

/** Approval for what a decision has denied. */
export class AccessRequests {
  readonly #options: AccessRequestsOptions;

  constructor(options: AccessRequestsOptions) {
    this.#options = options;
  }

  /**
   * Opens a request for what was denied: the policy is asked again, and on the terms that it now states. Throws
   * `duplicate_request`, `not_requestable`, `denial_unbound`, `denial_expired`, what `Decisions.weigh` and `ApprovalRequests.open` throw.
   */
  async open(
    tenant: Tenant,
    caller: Caller,
    asked: UncheckedRequest,
    denial: NamedDenial,
    words: Words,
  ): Promise<ApprovalRow> {
    const { admission, decisions, requests, source, clock } = this.#options;
    const place = admission.enter(tenant, 1);
    try {
      const weighed = await decisions.weigh(tenant, caller, asked);
      const key = keyOf(words.key, caller, weighed.principal);
      const known = requests.known(tenant, key);
      if (known) return known;
      checkDenial(source, tenant, caller, denial, weighed, clock());
      const { decided, request, principal, tenant: now } = weighed;
      const terms = decided.outcome === 'challenge' ? termsOf(decided.challenge) : undefined;
      if (!terms)
        throw new ServiceError(
          'not_requestable',
          'the policy does not let this be approved, or not any more',
        );
      const question = decisionQuestion(request, principal, terms.bound);
      const { decisionId } = denial;
      return await requests.open(now, caller, {
        question,
        terms,
        decisionId,
        grantId: principal.grant?.id,
        issuer: principal.issuer,
        reason: words.reason,
        callback: words.callback,
        requested: words.requested,
        key,
      });
    } finally {
      admission.leave(place, 1);
    }
  }
}

/**
 * The caller's key, and what it is sent with: the body, whatever the order of its members, and whom a token beside it
 * names, as the next token of the same is as good.
 */
function keyOf(
  key: Words['key'],
  caller: Caller,
  { subject, actors, grant }: TokenPrincipal,
): ApprovalKey | undefined {
  if (!key) return undefined;
  const sha256 = (of: unknown): Buffer => createHash('sha256').update(canonical(of)).digest();
  const named = { subject, actors, task: grant?.task?.id };
  return { name: sha256([caller.id, key.text]), body: sha256([key.body, named]) };
}
