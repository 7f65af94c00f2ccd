import { MAX_APPROVAL_ID } from '../decision/approval/presented.ts';
import type { Proof } from '../decision/request.ts';
import { ServiceError } from '../errors.ts';
import { type PrincipalRef, principalKey } from '../ids.ts';
import type { Use } from '../storage/rows.ts';
import { isUse, uses } from '../storage/use.ts';
import { ceilingOf, type Tenant } from '../tenancy/tenants.ts';
import type { ApprovalAsked } from './approval.ts';
import {
  type Asserted,
  type ExchangeRequest,
  ID_JAG_TYPE,
  type IssuedTokenType,
  issuedTokenTypes,
  type TokenType,
} from './exchange.ts';
import { TASK_TYPE, type TaskAsked } from './tasks.ts';
import { type TransactionAsked, TXN_TOKEN_TYPE } from './transactions/asked.ts';

/** What an exchange is asked for, as each protocol reads it. */
export interface ExchangeAsked extends ExchangeRequest {
  /** Undefined: the client asks for itself. */
  readonly subjectToken: string | undefined;
  readonly subjectTokenType: TokenType | typeof ID_JAG_TYPE;
  /** Who acts, in a second form: it must be the client itself. */
  readonly actorToken: string | undefined;
  /** A task: another agent is let into the one that is presented. */
  readonly issuedTokenType: IssuedTokenType | typeof ID_JAG_TYPE | typeof TASK_TYPE | typeof TXN_TOKEN_TYPE;
  /** With a transaction token alone. */
  readonly transaction?: TransactionAsked | undefined;
  /** For which authority an identity assertion is asked; the audiences are resources of that one. */
  readonly authority: string | undefined;
  /** With the request itself: what it gets is bound to that key. */
  readonly proof: Proof | undefined;
  /** Thumbprint of the verified certificate of the connection that it came over (RFC 8705 section 3.1). */
  readonly certificate: string | undefined;
  /** To be opened with it. */
  readonly task: TaskAsked | undefined;
  /** Undefined: nothing is said of approval. */
  readonly approval: ApprovalAsked | undefined;
}

/** What is done, as policies and records have it. */
export function actionName(asked: ExchangeAsked): string {
  const { task, subjectToken, subjectTokenType, issuedTokenType, authority } = asked;
  if (subjectToken === undefined) return 'token.issue';
  if (authority !== undefined) return 'assertion.issue';
  if (issuedTokenType === TXN_TOKEN_TYPE)
    return subjectTokenType === TXN_TOKEN_TYPE ? 'transaction.replace' : 'transaction.issue';
  if (task) return 'task.open';
  if (subjectTokenType === ID_JAG_TYPE) return 'assertion.accept';
  if (issuedTokenType === TASK_TYPE) return 'task.join';
  return subjectTokenType === TASK_TYPE ? 'task.renew' : 'token.exchange';
}

export const MAX_SCOPES = 64;
const MAX_AUDIENCES = 16;
export const MAX_AUDIENCE = 1_024;

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

const MAX_APPROVAL_REASON = 1_024;

/** What is said of approval, however it is said. Throws `invalid_request`. */
export function approvalAsked(id: string, isWanted: boolean, reason: string): ApprovalAsked | undefined {
  if (id !== '' && isWanted)
    throw new ServiceError('invalid_request', 'approval is asked for, or gone on with by its id: not both');
  if (reason !== '' && !isWanted)
    throw new ServiceError('invalid_request', 'approval_reason comes with request_approval');
  if (id.length > MAX_APPROVAL_ID || reason.length > MAX_APPROVAL_REASON)
    throw new ServiceError('invalid_request', 'the id of an approval, or the reason, is too long');
  if (isWanted) return { reason };
  return id === '' ? undefined : { id };
}

/** Throws `invalid_request`. */
export function useIn(text: string | undefined): Use | undefined {
  if (text === undefined || isUse(text)) return text;
  throw new ServiceError('invalid_request', `use is one of ${uses.join(', ')}`);
}

/** Throws `invalid_request`, `invalid_target` or `invalid_scope`. */
export function checkShape({ scopes, audiences, subjectTokenType }: ExchangeAsked): void {
  // What an identity assertion says need not be said again.
  const isSaid = subjectTokenType === ID_JAG_TYPE;
  if ((audiences.length === 0 && !isSaid) || audiences.includes(''))
    throw new ServiceError('invalid_request', 'audience is missing: a token is for one target');
  if (audiences.length > MAX_AUDIENCES)
    throw new ServiceError('invalid_target', `at most ${MAX_AUDIENCES} audiences`);
  if (audiences.some((audience) => audience.length > MAX_AUDIENCE))
    throw new ServiceError('invalid_target', `an audience is at most ${MAX_AUDIENCE} characters`);
  if (scopes.length === 0 && !isSaid)
    throw new ServiceError('invalid_scope', 'scope is missing: say what the agent wants to do');
  if (scopes.length > MAX_SCOPES) throw new ServiceError('invalid_scope', `at most ${MAX_SCOPES} scopes`);
  if (scopes.some((scope) => scope === '' || scope.length > 256))
    throw new ServiceError('invalid_scope', 'a scope is 1 to 256 characters');
}

/** What is asked for with an identity assertion, and what is left to it. Throws `invalid_target`. */
export function askedWith(asked: ExchangeAsked, { resources, scopes = [] }: Asserted): ExchangeAsked {
  if (!asked.audiences.every((audience) => resources.includes(audience)))
    throw new ServiceError('invalid_target', 'the assertion is for another resource');
  return {
    ...asked,
    audiences: asked.audiences.length > 0 ? asked.audiences : resources,
    scopes: asked.scopes.length > 0 ? asked.scopes : scopes,
  };
}

/** A name that nobody has would bind the token to nobody. Throws `exchange_denied`. */
export function checkTaker(tenant: Tenant, mayAct: PrincipalRef | undefined): void {
  if (mayAct && !ceilingOf(tenant, mayAct))
    throw new ServiceError(
      'exchange_denied',
      `may_act: ${principalKey(mayAct)} has no ceiling: nothing may be delegated to it`,
    );
}
