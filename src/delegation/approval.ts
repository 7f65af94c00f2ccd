import { LRUCache } from 'lru-cache';
import { type Presented, usedMembers } from '../decision/approval/presented.ts';
import { factsOf, type Question } from '../decision/approval/question.ts';
import type { ApprovalRequests } from '../decision/approval/requests.ts';
import { termsOf } from '../decision/approval/terms.ts';
import type { Clock } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import type { ApprovalUse } from '../storage/approvals/commands.ts';
import type { ApprovalRow } from '../storage/approvals/rows.ts';
import type { ApprovalStore } from '../storage/approvals/store.ts';
import type { GrantRow } from '../storage/rows.ts';
import type { Caller } from '../tenancy/callers.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import type { Attempt } from './attempt.ts';
import { actionOf } from './question.ts';
import { ExchangeRefused } from './refused.ts';

/** What an exchange has to say of approval: that it is asked for, and why; or the request's id, to go on with. */
export type ApprovalAsked = { readonly reason: string } | { readonly id: string };

/** How often a client asks whether a request was decided, as in CIBA's poll mode (section 7.3). In seconds. */
export const POLL_SECONDS = 5;
/** Clocks and networks are not that even. In milliseconds. */
const POLL_LEAST = POLL_SECONDS * 1_000 - 1_000;
const MOST_POLLED = 10_000;

/** A request that was opened for what the policy has not allowed yet, and how to go on. */
export class ApprovalPending extends ExchangeRefused {
  readonly approvalId: string;
  /** In seconds. */
  readonly expiresIn: number;

  constructor(refused: ExchangeRefused, row: ApprovalRow, now: number) {
    super(refused.decided, refused.decisionId, refused.recordIndex, {
      code: 'authorization_pending',
      message: 'the policy asks for approval first, and it was asked for',
    });
    this.approvalId = row.id;
    this.expiresIn = Math.max(1, Math.floor((row.expiresAt - now) / 1_000));
  }
}

export interface ExchangeApprovalsOptions {
  readonly store: Pick<ApprovalStore, 'find'>;
  readonly requests: ApprovalRequests;
  readonly clock: Clock;
}

/** Approval of exchanges: asked for where the policy wants it, polled for, and used with what is granted. */
export class ExchangeApprovals {
  readonly #options: ExchangeApprovalsOptions;
  /** When a request was last asked about. */
  readonly #polled = new LRUCache<string, number>({ max: MOST_POLLED });

  constructor(options: ExchangeApprovalsOptions) {
    this.#options = options;
  }

  /**
   * Before anything is verified: whether a request of the caller's was decided. Somebody else's is found to be of no use
   * later. Throws `authorization_pending`, `slow_down`, `approval_rejected` and `approval_expired`.
   */
  async poll(tenant: Tenant, caller: Caller, id: string): Promise<void> {
    const { store, requests, clock } = this.#options;
    const row = store.find(tenant.no, id);
    if (!row || row.caller !== caller.id) return;
    if (await requests.lapsed(tenant, caller, row))
      throw new ServiceError('approval_expired', 'the request, or the approval, is too old: ask anew');
    switch (row.state) {
      case 'pending':
        throw this.#pending(`${tenant.id} ${id}`, clock());
      case 'rejected':
      case 'cancelled':
        throw new ServiceError('approval_rejected', 'the request was not approved');
      default:
    }
  }

  #pending(name: string, now: number): ServiceError {
    const since = now - (this.#polled.get(name) ?? Number.NEGATIVE_INFINITY);
    this.#polled.set(name, now);
    const retry = { retryAfterMs: POLL_SECONDS * 1_000 };
    return since >= 0 && since < POLL_LEAST
      ? new ServiceError('slow_down', `ask every ${POLL_SECONDS} seconds and no sooner`, retry)
      : new ServiceError('authorization_pending', 'the request is not decided yet', retry);
  }

  /** The approval that an exchange goes on with. Throws `approval_invalid` for one that does not hold, whatever it is. */
  async presented(attempt: Attempt): Promise<Extract<Presented, { held: unknown }> | undefined> {
    const { tenant, caller, asked, question, now } = attempt;
    if (!asked.approval || !('id' in asked.approval) || !question) return undefined;
    const ask = (bound: readonly string[]): Question => ({ ...question, bound });
    const presented = await this.#options.requests.present(tenant, caller, asked.approval.id, ask, now);
    if ('held' in presented) return presented;
    throw new ServiceError('approval_invalid', 'there is no approval of yours for what is asked');
  }

  /** Asks for approval, where the exchange wants that and the policy lets it be approved; answers what to tell. */
  async asked(attempt: Attempt, refused: unknown): Promise<unknown> {
    const { tenant, caller, asked, question } = attempt;
    if (
      !(refused instanceof ExchangeRefused) ||
      !asked.approval ||
      !('reason' in asked.approval) ||
      !question
    )
      return refused;
    const { decided, decisionId } = refused;
    const terms = decided.outcome === 'challenge' ? termsOf(decided.challenge) : undefined;
    if (!terms) return refused;
    const row = await this.#options.requests.open(tenant, caller, {
      question: { ...question, bound: terms.bound },
      terms,
      decisionId,
      grantId: attempt.proposed?.parentId ?? undefined,
      issuer: attempt.proposed?.issuer ?? '',
      reason: asked.approval.reason,
    });
    return new ApprovalPending(refused, row, this.#options.clock());
  }
}

/** What is approved of an exchange: what would be granted, before the policy limits it. */
export const exchangeQuestion = ({ tenant, asked, now }: Attempt, proposed: GrantRow): Question => ({
  kind: 'exchange',
  subject: proposed.subject,
  stated: {},
  actors: proposed.actors,
  action: actionOf(asked, proposed, now),
  resource: {
    type: 'audience',
    id: proposed.audience,
    properties: { ...tenant.audiences.get(proposed.audience) },
  },
  bound: [],
  context: {},
  // The id of a task that would be opened is another one each time.
  grant: factsOf(proposed, asked.task ? null : (proposed.task?.id ?? null)),
});

/** JSON members of the record of what is granted by it, with a leading comma. */
export const usedFor = (use: ApprovalUse | undefined): string => (use ? usedMembers(use) : '');
