import type { RecordDraft, RecordOutcome } from '../audit/record.ts';
import type { Decided } from '../decision/decide.ts';
import type { Proof } from '../decision/request.ts';
import { decidedMembers } from '../decision/rows.ts';
import { type Reason, refusal } from '../decision/verdict.ts';
import { ServiceError } from '../errors.ts';
import type { DecisionId, GrantId, PrincipalRef } from '../ids.ts';
import type { GrantRow, Use } from '../storage/rows.ts';
import type { Caller } from '../tenancy/callers.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import { isUse, uses } from '../tenancy/use.ts';
import {
  type ExchangeRequest,
  type IssuedTokenType,
  issuedTokenTypes,
  type Narrowed,
  type TokenType,
} from './exchange.ts';
import { cutMembers, type Limited } from './limits.ts';
import type { SubjectToken } from './presented.ts';

export interface ExchangeAsked extends ExchangeRequest {
  readonly subjectToken: string;
  readonly subjectTokenType: TokenType;
  /** Who acts, in a second form: it must be the client itself. */
  readonly actorToken: string | undefined;
  readonly issuedTokenType: IssuedTokenType;
  /** With the request itself: what it gets is bound to that key. */
  readonly proof: Proof | undefined;
}

const MAX_SCOPES = 64;
const MAX_AUDIENCES = 16;
const MAX_AUDIENCE = 1_024;

/** One exchange on its way, with what is known of it so far, so that wherever it ends its record says as much. */
export class Attempt {
  readonly tenant: Tenant;
  readonly caller: Caller;
  readonly asked: ExchangeAsked;
  readonly now: number;
  readonly decisionId: DecisionId;
  subject: PrincipalRef | undefined;
  input: string | undefined;
  decided: Decided | undefined;

  constructor(tenant: Tenant, caller: Caller, asked: ExchangeAsked, now: number, decisionId: DecisionId) {
    this.tenant = tenant;
    this.caller = caller;
    this.asked = asked;
    this.now = now;
    this.decisionId = decisionId;
  }

  /** What the policy said, where it has not allowed it. */
  get objection(): Decided | undefined {
    return this.decided?.outcome === 'allow' ? undefined : this.decided;
  }

  refused(error: ServiceError): RecordDraft {
    const verdict = this.objection ?? { ...refusal(error.code, error.message), revision: '', cost: 0 };
    return this.record(verdict.outcome, verdict, undefined);
  }

  record(outcome: RecordOutcome, decided: Decided, limited: Limited | undefined): RecordDraft {
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
      actor: caller.principal,
      grantId: grant?.id,
      reason: decided.reasons[0]?.code,
      revision: decided.revision,
      members: `${decidedMembers(decided, grant?.id)}${limited ? grantedMembers(limited) : ''}`,
      input: this.input ?? this.#asFarAsKnown(asked),
    };
  }

  #asFarAsKnown({ audiences: [audience = ''], scopes }: ExchangeAsked): string {
    return JSON.stringify({
      subject: this.subject ?? null,
      actors: this.caller.principal ? [this.caller.principal] : [],
      action: {
        name: 'token.exchange',
        properties: { scopes: scopes.slice(0, MAX_SCOPES).map((each) => each.slice(0, 256)) },
      },
      resource: { type: 'audience', id: audience.slice(0, MAX_AUDIENCE) },
    });
  }
}

export const isIssued = (type: string): type is IssuedTokenType =>
  (issuedTokenTypes as readonly string[]).includes(type);

/** RFC 8693 section 2.1: the type stands with the token, and never without. Throws `invalid_request`. */
export function actorTokenIn(token: string | undefined, type: string | undefined): string | undefined {
  if ((token === undefined) !== (type === undefined))
    throw new ServiceError('invalid_request', 'actor_token and actor_token_type stand together');
  if (type !== undefined && !isIssued(type))
    throw new ServiceError(
      'unsupported_token_type',
      `actor_token_type is one of ${issuedTokenTypes.join(', ')}`,
    );
  return token;
}

/** Throws `invalid_request`. */
export function useIn(text: string | undefined): Use | undefined {
  if (text === undefined || isUse(text)) return text;
  throw new ServiceError('invalid_request', `use is one of ${uses.join(', ')}`);
}

/** JSON members of a record, each with a leading comma: what a grant came from, and what limits took from it. */
function grantedMembers({ grant, cut }: Limited): string {
  const taken = cutMembers(cut);
  return `,"parent_grant_id":${JSON.stringify(grant.parentId)}${taken ? `,"cut":${JSON.stringify(taken)}` : ''}`;
}

/** Throws `invalid_request`, `invalid_target` or `invalid_scope`. */
export function checkShape({ scopes, audiences }: ExchangeAsked): void {
  if (audiences.length === 0 || audiences.includes(''))
    throw new ServiceError('invalid_request', 'audience is missing: a token is for one target');
  if (audiences.length > MAX_AUDIENCES)
    throw new ServiceError('invalid_target', `at most ${MAX_AUDIENCES} audiences`);
  if (audiences.some((audience) => audience.length > MAX_AUDIENCE))
    throw new ServiceError('invalid_target', `an audience is at most ${MAX_AUDIENCE} characters`);
  if (scopes.length === 0)
    throw new ServiceError('invalid_scope', 'scope is missing: say what the agent wants to do');
  if (scopes.length > MAX_SCOPES) throw new ServiceError('invalid_scope', `at most ${MAX_SCOPES} scopes`);
  if (scopes.some((scope) => scope === '' || scope.length > 256))
    throw new ServiceError('invalid_scope', 'a scope is 1 to 256 characters');
}

export function proposedGrant(
  narrowed: Narrowed,
  presented: SubjectToken,
  jkt: string | undefined,
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
    jkt: jkt ?? null,
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
