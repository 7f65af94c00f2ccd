import { ServiceError } from '../../errors.ts';
import { type NamedRef, namedIn, type PrincipalRef } from '../../ids.ts';
import type { Caller } from '../../tenancy/callers.ts';
import type { Issuers } from '../../tenancy/issuers.ts';
import { readToken } from '../../tenancy/jose.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import { clientClaims } from '../../tenancy/token-kind.ts';

/** Who decides. */
export interface Approver {
  readonly named: NamedRef;
  /** Undefined for an operator. */
  readonly principal: PrincipalRef | undefined;
  /** Who presents it, as records name callers. */
  readonly caller: string;
  /** Of the token that names him; empty for none. */
  readonly issuer: string;
}

/**
 * Who decides: whoever calls, or the person whose access token the caller passes on. That token was given to the very
 * caller, so that nobody who was handed one for something else, as agents are, decides by it. Throws `token_invalid`,
 * `token_expired`, `token_revoked`, `permission_denied` or `unavailable`.
 */
export async function approverOf(
  issuers: Issuers,
  tenant: Tenant,
  caller: Caller,
  token: string,
): Promise<Approver> {
  const { principal } = caller;
  if (token === '')
    return {
      named: principal ?? namedIn(caller.id) ?? { class: 'operator', id: caller.id },
      principal,
      caller: caller.id,
      issuer: '',
    };
  // An operator has no client id that a token could have been given to.
  if (!principal && caller.audiences !== 'any')
    throw new ServiceError(
      'permission_denied',
      'approver_token is passed on by a principal, such as a console',
    );
  const read = readToken(token);
  const issuer = issuers.trusted(tenant, read.issuer);
  if (!issuer)
    throw new ServiceError('token_invalid', 'the token is of an issuer that the tenant does not trust');
  const { subject, kind, audiences, claims } = await issuers.verify(tenant, issuer, read);
  issuers.refuseKilled(tenant, issuer);
  if (kind !== 'access_token' || !audiences.some((each) => issuer.audiences.includes(each)))
    throw new ServiceError('token_invalid', 'the approver is named by an access token for this server');
  if (subject.class !== 'user' || claims['may_act'] !== undefined)
    throw new ServiceError('token_invalid', 'the token names no person who acts in person');
  const own = [principal?.id, ...(caller.registered?.client_ids ?? [])];
  const isOwn = (client: unknown): boolean => client === undefined || own.some((each) => each === client);
  if (principal && !clientClaims(issuer).every((claim) => isOwn(claims[claim])))
    throw new ServiceError('token_invalid', 'the token was given to another client than the caller');
  return { named: subject, principal: subject, caller: caller.id, issuer: issuer.issuer };
}
