import type { RecordDraft, RecordOutcome } from '../audit/record.ts';
import type { Decided } from '../decision/decide.ts';
import { decidedMembers } from '../decision/rows.ts';
import { refusal } from '../decision/verdict.ts';
import { ServiceError } from '../errors.ts';
import type { DecisionId, GrantId, PrincipalRef } from '../ids.ts';
import type { GrantRow } from '../storage/rows.ts';
import type { Caller } from '../tenancy/callers.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import type { ExchangeRequest, Narrowed, TokenType } from './exchange.ts';

export interface ExchangeAsked extends ExchangeRequest {
  readonly subjectToken: string;
  readonly subjectTokenType: TokenType;
}

const MAX_SCOPES = 64;

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

  refused(error: ServiceError): RecordDraft {
    const policySpoke = this.decided !== undefined && this.decided.outcome !== 'allow';
    const verdict = policySpoke ? this.decided : undefined;
    return this.record(
      'deny',
      verdict ?? { ...refusal(error.code, error.message), revision: '', cost: 0 },
      undefined,
    );
  }

  record(outcome: RecordOutcome, decided: Decided, grant: GrantRow | undefined): RecordDraft {
    const { tenant, caller, asked } = this;
    const granted = grant ? `,"parent_grant_id":${JSON.stringify(grant.parentId)}` : '';
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
      members: `${decidedMembers(decided, grant?.id)}${granted}`,
      input: this.input ?? this.#asFarAsKnown(asked),
    };
  }

  #asFarAsKnown({ audience, scopes }: ExchangeAsked): string {
    return JSON.stringify({
      subject: this.subject ?? null,
      actors: this.caller.principal ? [this.caller.principal] : [],
      action: {
        name: 'token.exchange',
        properties: { scopes: scopes.slice(0, MAX_SCOPES).map((each) => each.slice(0, 256)) },
      },
      resource: { type: 'audience', id: audience.slice(0, 1_024) },
    });
  }
}

/** Throws `invalid_request` or `invalid_scope`. */
export function checkShape({ scopes, audience }: ExchangeAsked): void {
  if (audience === '')
    throw new ServiceError('invalid_request', 'audience is missing: a token is for one target');
  if (scopes.length === 0)
    throw new ServiceError('invalid_scope', 'scope is missing: say what the agent wants to do');
  if (scopes.length > MAX_SCOPES) throw new ServiceError('invalid_scope', `at most ${MAX_SCOPES} scopes`);
  if (scopes.some((scope) => scope === '' || scope.length > 256))
    throw new ServiceError('invalid_scope', 'a scope is 1 to 256 characters');
}

export const proposedGrant = (
  narrowed: Narrowed,
  presented: { subject: PrincipalRef; parent: GrantRow | undefined; issuer: string },
  now: number,
  id: GrantId,
): GrantRow => ({
  id,
  parentId: presented.parent?.id ?? null,
  depth: narrowed.depth,
  subject: presented.subject,
  actors: narrowed.actors,
  scopes: narrowed.scopes,
  audience: narrowed.audience,
  issuedAt: now,
  expiresAt: narrowed.expiresAt,
  issuer: presented.issuer,
  revokedAt: null,
});

export function denied(decided: Decided): ServiceError {
  const why = decided.reasons.map(({ code, message }) => (message ? `${code}: ${message}` : code)).join('; ');
  const what =
    decided.outcome === 'challenge' ? 'the policy asks for more first' : 'the policy does not allow it';
  return new ServiceError('exchange_denied', why ? `${what} (${why})` : what);
}
