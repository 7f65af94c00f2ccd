import { type ApprovalAsked, ApprovalPending, POLL_SECONDS } from '../../../delegation/approval.ts';
import {
  actorTokenIn,
  approvalAsked,
  type ExchangeAsked,
  isIssued,
  useIn,
} from '../../../delegation/asked.ts';
import type { Exchanged } from '../../../delegation/delegations.ts';
import { MAX_DETAILS_CHARACTERS } from '../../../delegation/details.ts';
import {
  ACCESS_TOKEN_TYPE,
  ID_JAG_TYPE,
  issuedTokenTypes,
  type TokenType,
  tokenTypes,
} from '../../../delegation/exchange.ts';
import { cutMembers } from '../../../delegation/limits.ts';
import { type ExchangeRefused, stepUpOf } from '../../../delegation/refused.ts';
import { TASK_TYPE, type TaskAsked } from '../../../delegation/tasks.ts';
import { detailsClaim, tokenTypeOf } from '../../../delegation/tokens.ts';
import { type TransactionAsked, TXN_TOKEN_TYPE } from '../../../delegation/transactions/asked.ts';
import { describe, ServiceError } from '../../../errors.ts';
import { type PrincipalRef, principalClass } from '../../../ids.ts';
import { checkStrict } from '../../../tenancy/strict-json.ts';
import type { Form } from '../form.ts';
import { parseJson } from '../json.ts';

/** The parameters of an exchange at the token endpoint, and its answer (RFC 8693 section 2). */

export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
/** RFC 6749 section 4.4. */
export const CLIENT_CREDENTIALS = 'client_credentials';

/** RFC 7523 section 2.1. */
export const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';

type Presented = Pick<ExchangeAsked, 'subjectToken' | 'subjectTokenType'>;

/** What is presented with each grant type. Parameters that would present something else are refused, and not left out. */
const grants: Readonly<Record<string, (form: Form) => Presented>> = {
  [TOKEN_EXCHANGE]: (form) => {
    const type = form.one('subject_token_type');
    if (!Object.hasOwn(tokenTypes, type))
      throw new ServiceError(
        'unsupported_token_type',
        `subject_token_type is one of ${Object.keys(tokenTypes).join(', ')}`,
      );
    return { subjectToken: form.one('subject_token'), subjectTokenType: type as TokenType };
  },
  [CLIENT_CREDENTIALS]: (form) => {
    if ((form.maybe('subject_token') ?? form.maybe('actor_token')) !== undefined)
      throw new ServiceError(
        'invalid_request',
        `${CLIENT_CREDENTIALS} takes no other token: the client asks for itself`,
      );
    return { subjectToken: undefined, subjectTokenType: ACCESS_TOKEN_TYPE };
  },
  [JWT_BEARER]: (form) => {
    if ((form.maybe('subject_token') ?? form.maybe('actor_token')) !== undefined)
      throw new ServiceError('invalid_request', 'with an assertion comes no other token');
    return { subjectToken: form.one('assertion'), subjectTokenType: ID_JAG_TYPE };
  },
};

export const grantTypes = Object.keys(grants);

/**
 * Throws `unsupported_grant_type`, `unsupported_token_type`, `invalid_request`, `invalid_target` or
 * `invalid_authorization_details`.
 */
export function exchangeAsked(
  form: Form,
  { proof, certificate }: Pick<ExchangeAsked, 'proof' | 'certificate'>,
): ExchangeAsked {
  const grantType = form.one('grant_type');
  const present = Object.hasOwn(grants, grantType) ? grants[grantType] : undefined;
  if (!present)
    throw new ServiceError('unsupported_grant_type', `grant_type is one of ${grantTypes.join(', ')}`);
  return {
    ...present(form),
    actorToken: actorTokenIn(form.maybe('actor_token'), form.maybe('actor_token_type')),
    ...wanted(form, grantType),
    scopes: (form.maybe('scope') ?? '').split(' ').filter((scope) => scope !== ''),
    use: useIn(form.maybe('use')),
    details: detailsIn(form.maybe('authorization_details')),
    mayAct: mayActIn(form.maybe('may_act')),
    ...lastingIn(form),
    transaction: transactionIn(form),
    proof,
    certificate,
    approval: approvalIn(form),
  };
}

type Wanted = Pick<ExchangeAsked, 'issuedTokenType' | 'audiences' | 'authority'>;

/**
 * An assertion is asked for by an exchange alone: `audience` is the authority that shall take it, `resource` what of it
 * (draft-ietf-oauth-identity-assertion-authz-grant section 4.3.1). Any other token is for all that either names.
 */
function wanted(form: Form, grantType: string): Wanted {
  const type = form.maybe('requested_token_type') ?? ACCESS_TOKEN_TYPE;
  const [names, resources] = [form.all('audience'), form.all('resource').map(resource)];
  if (isIssued(type) || (type === TASK_TYPE && grantType === TOKEN_EXCHANGE))
    return { issuedTokenType: type, audiences: [...names, ...resources], authority: undefined };
  if (type === TXN_TOKEN_TYPE && grantType === TOKEN_EXCHANGE) {
    if (names.length !== 1 || resources.length > 0)
      throw new ServiceError('invalid_request', 'a transaction token is for one audience, the trust domain');
    return { issuedTokenType: type, audiences: names, authority: undefined };
  }
  if (type !== ID_JAG_TYPE || grantType !== TOKEN_EXCHANGE)
    throw new ServiceError(
      'unsupported_token_type',
      `requested_token_type is one of ${[...issuedTokenTypes, TASK_TYPE, ID_JAG_TYPE, TXN_TOKEN_TYPE].join(', ')}; the last three of an exchange alone`,
    );
  const [authority, ...others] = names;
  if (authority === undefined || others.length > 0 || resources.length === 0)
    throw new ServiceError(
      'invalid_request',
      'an assertion is for one audience, the issuer of an authority, and for a resource of it',
    );
  return { issuedTokenType: type, audiences: resources, authority };
}

/** RFC 8707 section 2: an absolute URI without a fragment. */
function resource(text: string): string {
  if (URL.canParse(text) && !text.includes('#')) return text;
  throw new ServiceError('invalid_target', 'a resource is an absolute URI without a fragment');
}

/** An extension: `class:id`. */
function mayActIn(text: string | undefined): PrincipalRef | undefined {
  if (text === undefined) return undefined;
  const colon = text.indexOf(':');
  if (colon < 1 || colon === text.length - 1)
    throw new ServiceError('invalid_request', 'may_act is class:id, such as mcp_server:docs-mcp');
  return { class: principalClass(text.slice(0, colon)), id: text.slice(colon + 1) };
}

/** RFC 9396 section 2: a JSON array. Read so that nobody after it can read it otherwise. */
function detailsIn(text: string | undefined): readonly unknown[] {
  if (text === undefined) return [];
  const invalid = (why: string, cause?: unknown): ServiceError =>
    new ServiceError('invalid_authorization_details', `authorization_details ${why}`, { cause });
  if (text.length > MAX_DETAILS_CHARACTERS)
    throw invalid(`is longer than ${MAX_DETAILS_CHARACTERS} characters`);
  let value: unknown;
  try {
    checkStrict(text, MAX_JSON_DEPTH);
    value = parseJson(Buffer.from(text));
  } catch (cause) {
    throw invalid(`is not sound JSON: ${describe(cause)}`, cause);
  }
  if (!Array.isArray(value)) throw invalid('is no JSON array');
  return value;
}

/** Of the array; what is within a detail is bounded where it is read. */
const MAX_JSON_DEPTH = 16;

/**
 * Extensions: `task_purpose` opens a task, `task_lifetime` in seconds says until when, of an agent that joins one too;
 * `task_budget` says how much it may come to.
 */
function lastingIn(form: Form): { task: TaskAsked | undefined; lifetimeSeconds: number } {
  const purpose = form.maybe('task_purpose');
  const lifetime = form.maybe('task_lifetime');
  const budget = form.maybe('task_budget');
  const joins = form.maybe('requested_token_type') === TASK_TYPE;
  if (purpose === undefined && ((lifetime !== undefined && !joins) || budget !== undefined))
    throw new ServiceError('invalid_request', 'task_lifetime and task_budget come with task_purpose');
  if (lifetime !== undefined && !/^[1-9]\d{0,6}$/.test(lifetime))
    throw new ServiceError('invalid_request', 'task_lifetime is a number of seconds');
  const seconds = Number(lifetime ?? 0);
  if (purpose === undefined) return { task: undefined, lifetimeSeconds: seconds };
  return { task: { purpose, lifetimeSeconds: seconds, budget: budgetIn(budget) }, lifetimeSeconds: 0 };
}

/** draft-ietf-oauth-transaction-tokens: what is said of a transaction, with a transaction token alone. */
function transactionIn(form: Form): TransactionAsked | undefined {
  const [details, context] = [form.maybe('request_details'), form.maybe('request_context')];
  if (form.maybe('requested_token_type') === TXN_TOKEN_TYPE)
    return { details: contextIn('request_details', details), context: contextIn('request_context', context) };
  if ((details ?? context) === undefined) return undefined;
  throw new ServiceError(
    'invalid_request',
    'request_details and request_context come with a transaction token',
  );
}

function contextIn(name: string, text = '{}'): Readonly<Record<string, unknown>> {
  return objectIn(name, text, MAX_CONTEXT_CHARACTERS, MAX_CONTEXT_DEPTH);
}

const MAX_CONTEXT_CHARACTERS = 4_096;
const MAX_CONTEXT_DEPTH = 8;

/** A JSON object of numbers, by meter. */
function budgetIn(text = '{}'): TaskAsked['budget'] {
  return objectIn('task_budget', text, MAX_BUDGET_CHARACTERS, 1) as TaskAsked['budget'];
}

/** Read so that nobody after it can read it otherwise. */
function objectIn(
  name: string,
  text: string,
  most: number,
  depth: number,
): Readonly<Record<string, unknown>> {
  const invalid = (why: string, cause?: unknown): ServiceError =>
    new ServiceError('invalid_request', `${name} ${why}`, { cause });
  if (text.length > most) throw invalid(`is longer than ${most} characters`);
  let value: unknown;
  try {
    checkStrict(text, depth);
    value = parseJson(Buffer.from(text));
  } catch (cause) {
    throw invalid(`is not sound JSON: ${describe(cause)}`, cause);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid('is no JSON object');
  return value as Readonly<Record<string, unknown>>;
}

/** More than a tenant's meters, each with its number. */
const MAX_BUDGET_CHARACTERS = 4_096;

/**
 * `auth_req_id` goes on with a request for approval (CIBA section 10.1); extensions: `request_approval` asks for it, and
 * `approval_reason` says why.
 */
function approvalIn(form: Form): ApprovalAsked | undefined {
  const wanted = form.maybe('request_approval');
  if (wanted !== undefined && wanted !== 'true')
    throw new ServiceError('invalid_request', 'request_approval is true, or left out');
  return approvalAsked(
    form.maybe('auth_req_id') ?? '',
    wanted !== undefined,
    form.maybe('approval_reason') ?? '',
  );
}

export const exchangeBody = ({ token, grant, cut }: Exchanged, type: ExchangeAsked['issuedTokenType']) => ({
  access_token: token,
  issued_token_type: type,
  // RFC 8693 section 2.2.1: an assertion gives no access by itself, nor a task; a transaction token is no access token.
  token_type:
    type === ID_JAG_TYPE || type === TASK_TYPE || type === TXN_TOKEN_TYPE ? 'N_A' : tokenTypeOf(grant),
  expires_in: Math.floor((grant.expiresAt - grant.issuedAt) / 1000),
  scope: grant.scopes.join(' '),
  use: grant.use,
  // RFC 9396 section 7: as granted.
  authorization_details: detailsClaim(grant),
  grant_id: grant.id,
  ...(grant.task && {
    task_id: grant.task.id,
    task_expires_in: Math.floor((grant.task.endsAt - grant.issuedAt) / 1000),
  }),
  cut: cutMembers(cut),
});

/** What an error says beside its code where the policy has spoken: all of it, and a step-up by RFC 9470's names. */
export const refusalBody = (refused: ExchangeRefused) => ({
  ...(refused instanceof ApprovalPending ? pendingBody(refused) : {}),
  ...saidBody(refused),
});

/** CIBA section 7.3. */
const pendingBody = ({ approvalId, expiresIn }: ApprovalPending) => ({
  auth_req_id: approvalId,
  expires_in: expiresIn,
  interval: POLL_SECONDS,
});

const saidBody = ({ decided, decisionId, recordIndex }: ExchangeRefused) => ({
  ...stepUpOf(decided.challenge),
  challenge: decided.challenge,
  reasons: decided.reasons,
  obligations: decided.obligations,
  decision_id: decisionId,
  policy_revision: decided.revision,
  record_index: recordIndex,
});
