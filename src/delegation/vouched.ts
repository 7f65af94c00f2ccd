import { endedGrant, type TokenPrincipal } from '../decision/principal.ts';
import { ServiceError } from '../errors.ts';
import type { GrantId } from '../ids.ts';
import type { GrantStore } from '../storage/grants.ts';
import type { GrantRow } from '../storage/rows.ts';
import type { Tenant } from '../tenancy/tenants.ts';

/** Whom a token of the grant is about. */
export const asPrincipal = (grant: GrantRow): TokenPrincipal => ({
  subject: grant.subject,
  actors: grant.actors,
  grant,
  authentication: grant.authentication,
  issuer: grant.issuer,
});

/**
 * Whom a token is about that another thread has verified and found alive: what ended since is seen here. Nothing else in
 * it is believed than which grant it is of. Throws `token_invalid`, `token_revoked`, `token_expired`.
 */
export function vouchedPrincipal(
  grants: GrantStore,
  tenant: Tenant,
  token: string,
  now: number,
): TokenPrincipal {
  const grant = grants.find(tenant.no, grantIdIn(token));
  if (!grant) throw new ServiceError('token_invalid', 'the token belongs to no grant');
  if (grant.revokedAt !== null || now >= grant.expiresAt) throw endedGrant(grant);
  return asPrincipal(grant);
}

function grantIdIn(token: string): GrantId {
  const [, payload = ''] = token.split('.', 3);
  const { jti } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { jti: GrantId };
  return jti;
}
