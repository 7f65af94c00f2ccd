import { ServiceError } from '../errors.ts';
import type { PrincipalRef } from '../ids.ts';
import { type Authentication, audiencesOf, type GrantRow } from '../storage/rows.ts';
import type { Caller } from '../tenancy/callers.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import { isInDomain } from '../tenancy/transactions-declared.ts';
import type { CheckRequest, Proof } from './request.ts';

/** Who a token turned out to be. */
export interface TokenPrincipal {
  readonly subject: PrincipalRef;
  /** The current actor first. Empty for a token the subject itself presents. */
  readonly actors: readonly PrincipalRef[];
  /** The grant behind a token that Mandate issued. */
  readonly grant: GrantRow | undefined;
  /** How the subject signed in, as the token says; undefined where there is none to say it. */
  readonly authentication: Authentication | undefined;
  /** Who issued the token that all began with; empty where there is none, or it is not known. */
  readonly issuer: string;
}

/**
 * Turns a presented token into a principal, at once where it was seen before; `delegation/` implements it. Throws or
 * rejects with `token_invalid`, `token_expired`, `token_revoked`, `dpop_invalid` for one that is bound to a key without
 * its proof, `certificate_invalid` for one that is bound to a certificate without it, or `unavailable`. A token is looked
 * at anew each time: what was revoked a moment ago is refused.
 */
export type TokenResolver = (
  tenant: Tenant,
  token: string,
  now: number,
  proof: Proof | undefined,
) => TokenPrincipal | Promise<TokenPrincipal>;

/**
 * A token of ours is refused, and whose it is is known: it has ended, or whoever presents it does not hold what it is bound
 * to. The record says so; an answer does not.
 */
export class GrantRefused extends ServiceError {
  readonly grant: GrantRow;

  constructor(grant: GrantRow, { code, message, detail, fields }: ServiceError) {
    super(code, message, { ...(detail !== undefined && { detail }), fields });
    this.grant = grant;
  }
}

const REVOKED = new ServiceError('token_revoked', 'the token was revoked');
const EXPIRED = new ServiceError('token_expired', 'the token has expired');

/** Of a grant that has ended. */
export const endedGrant = (grant: GrantRow): GrantRefused =>
  new GrantRefused(grant, grant.revokedAt === null ? EXPIRED : REVOKED);

/** What a record says of the grant behind a token that is refused. */
export const refusedGrant = ({ id, task }: GrantRow) => ({ id, ...(task && { task: { id: task.id } }) });

/** Who the caller says it is about. */
export const asStated = (subject: PrincipalRef): TokenPrincipal => ({
  subject,
  actors: [],
  grant: undefined,
  authentication: undefined,
  issuer: '',
});

/** A token minted for one server is no good at another, whoever passes it on (RFC 8707 section 2.2). */
export function forAnotherAudience(
  tenant: Tenant,
  caller: Caller,
  request: CheckRequest,
  grant: GrantRow | undefined,
): boolean {
  if (!grant) return false;
  const { audience: stated } = request;
  const meant = audiencesOf(grant).filter((each) => stated === undefined || each === stated);
  if (caller.audiences === 'any') return meant.length === 0;
  if (caller.audiences === 'stated') return stated === undefined || meant.length === 0;
  const own: readonly string[] = caller.audiences;
  return !meant.some((each) => own.includes(each) || isInDomain(tenant, caller.principal, each));
}
