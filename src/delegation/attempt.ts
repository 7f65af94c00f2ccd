import type { Named, RecordDraft, RecordOutcome } from '../audit/record.ts';
import type { Question } from '../decision/approval/question.ts';
import type { Decided } from '../decision/decide.ts';
import { GrantRefused, refusedGrant } from '../decision/principal.ts';
import { decidedMembers, versionMember } from '../decision/rows.ts';
import type { ServiceError } from '../errors.ts';
import type { DecisionId, GrantId, PrincipalRef } from '../ids.ts';
import type { GrantRow } from '../storage/rows.ts';
import type { Caller } from '../tenancy/callers.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import { type Reason, refusal } from '../verdict.ts';
import { actionName, type ExchangeAsked, MAX_AUDIENCE, MAX_SCOPES } from './asked.ts';
import type { Narrowed } from './exchange.ts';
import { cutMembers, type Limited } from './limits.ts';
import type { SubjectToken } from './presented.ts';
import type { Binding } from './sender/certificates.ts';
import type { Transaction } from './transactions/asked.ts';

/** One exchange on its way, with what is known of it so far, so that wherever it ends its record says as much. */
export class Attempt {
  readonly tenant: Tenant;
  readonly caller: Caller;
  asked: ExchangeAsked;
  readonly now: number;
  readonly decisionId: DecisionId;
  /** Of the tenant's state: every change up to it was known. */
  readonly version: number;
  subject: PrincipalRef | undefined;
  /** The grant behind a token of ours that is refused. */
  presented: GrantRow | undefined;
  input: string | undefined;
  /** What of the input the record is found by. */
  named: Named | undefined;
  decided: Decided | undefined;
  /** What would be granted, once that is known, and what approval would be for where it asks for any. */
  proposed: GrantRow | undefined;
  question: Question | undefined;
  /** Where a transaction token is asked for. */
  transaction: Transaction | undefined;

  constructor(
    tenant: Tenant,
    caller: Caller,
    asked: ExchangeAsked,
    { now, decisionId, version }: Pick<Attempt, 'now' | 'decisionId' | 'version'>,
  ) {
    this.tenant = tenant;
    this.caller = caller;
    this.asked = asked;
    this.now = now;
    this.decisionId = decisionId;
    this.version = version;
  }

  /** What the policy said, where it has not allowed it. */
  get objection(): Decided | undefined {
    return this.decided?.outcome === 'allow' ? undefined : this.decided;
  }

  refused(error: ServiceError): RecordDraft {
    if (error instanceof GrantRefused) {
      this.presented = error.grant;
      this.subject ??= error.grant.subject;
    }
    const verdict = this.objection ?? { ...refusal(error.code, error.message), revision: '', cost: 0 };
    return this.record(verdict.outcome, verdict, undefined);
  }

  /** `more`: further JSON members, each with a leading comma. */
  record(outcome: RecordOutcome, decided: Decided, limited: Limited | undefined, more = ''): RecordDraft {
    const { tenant, caller, asked } = this;
    const grant = limited?.grant;
    return {
      tenantNo: tenant.no,
      time: this.now,
      kind: 'exchange',
      outcome,
      decisionId: this.decisionId,
      caller: caller.id,
      subject: this.subject,
      // Who joins a task does not ask itself: whoever reads records finds it by both.
      actor: this.proposed?.actors[0] ?? caller.principal,
      grantId: grant?.id,
      reason: decided.reasons[0]?.code,
      revision: decided.revision,
      members: `${versionMember(this.version)}${decidedMembers(decided, grant?.id)}${limited ? grantedMembers(limited) : ''}${more}`,
      named: this.named,
      input: this.input ?? this.#asFarAsKnown(asked),
    };
  }

  #asFarAsKnown(asked: ExchangeAsked): string {
    const [audience = ''] = asked.audiences;
    const scopes = asked.scopes.slice(0, MAX_SCOPES).map((each) => each.slice(0, 256));
    return JSON.stringify({
      subject: this.subject ?? null,
      actors: this.caller.principal ? [this.caller.principal] : [],
      action: { name: actionName(asked), properties: { scopes } },
      resource: { type: 'audience', id: audience.slice(0, MAX_AUDIENCE) },
      ...(this.presented && { grant: refusedGrant(this.presented) }),
    });
  }
}

/** JSON members of a record, each with a leading comma: what a grant came from, and what limits took from it. */
function grantedMembers({ grant, cut }: Limited): string {
  const taken = cutMembers(cut);
  return `,"parent_grant_id":${JSON.stringify(grant.parentId)}${taken ? `,"cut":${JSON.stringify(taken)}` : ''}`;
}

export function proposedGrant(
  narrowed: Narrowed,
  presented: SubjectToken,
  bound: Binding,
  now: number,
  id: GrantId,
): GrantRow {
  const [audience = '', ...moreAudiences] = narrowed.audiences;
  return {
    id,
    parentId: presented.parent?.id ?? null,
    depth: narrowed.depth,
    subject: presented.subject,
    actors: narrowed.actors,
    scopes: narrowed.scopes,
    use: narrowed.use,
    details: narrowed.details,
    audience,
    moreAudiences,
    mayAct: narrowed.mayAct ?? null,
    ...bound,
    task: presented.parent?.task ?? null,
    authentication: presented.authentication,
    issuedAt: now,
    expiresAt: narrowed.expiresAt,
    issuer: presented.issuer,
    revokedAt: null,
  };
}

/** What a policy allowed within limits that deny it. */
export const deniedByLimits = ({ revision, cost }: Decided, reason: Reason): Decided => ({
  outcome: 'deny',
  reasons: [reason],
  rules: ['delegation.limits'],
  obligations: [],
  challenge: undefined,
  revision,
  cost,
});
