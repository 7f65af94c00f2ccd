import type { LogSource } from '../../audit/query.ts';
import type { Clock } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import type { ApprovalRow } from '../../storage/approvals/rows.ts';
import type { Caller } from '../../tenancy/callers.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import type { Admission } from '../admission.ts';
import type { Decisions } from '../decisions.ts';
import type { UncheckedRequest } from '../request.ts';
import type { Callback } from './callback.ts';
import { checkDenial, type NamedDenial } from './denial.ts';
import { decisionQuestion } from './question.ts';
import type { ApprovalRequests } from './requests.ts';
import { termsOf } from './terms.ts';

export interface AccessRequestsOptions {
  readonly decisions: Pick<Decisions, 'weigh'>;
  readonly requests: Pick<ApprovalRequests, 'open'>;
  readonly source: LogSource;
  readonly admission: Pick<Admission, 'enter' | 'leave'>;
  readonly clock: Clock;
}

/** Approval for what a decision has denied. */
export class AccessRequests {
  readonly #options: AccessRequestsOptions;

  constructor(options: AccessRequestsOptions) {
    this.#options = options;
  }

  /**
   * Opens a request for what was denied: the policy is asked again, and on the terms that it now states. Throws
   * `not_requestable`, `denial_unbound`, `denial_expired`, what `Decisions.weigh` and `ApprovalRequests.open` throw.
   */
  async open(
    tenant: Tenant,
    caller: Caller,
    asked: UncheckedRequest,
    denial: NamedDenial,
    { reason, callback }: { readonly reason: string; readonly callback: Callback | undefined },
  ): Promise<ApprovalRow> {
    const { admission, decisions, requests, source, clock } = this.#options;
    const place = admission.enter(tenant, 1);
    try {
      const weighed = await decisions.weigh(tenant, caller, asked);
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
        reason,
        callback,
      });
    } finally {
      admission.leave(place, 1);
    }
  }
}
