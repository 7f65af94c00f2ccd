import { isDeepStrictEqual } from 'node:util';
import { ServiceError } from '../errors.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import type { TokenPrincipal } from './principal.ts';

/** What of a tenant has to be so still once a token's keys were waited for. */

/** A batch is written as it was begun. Throws `unavailable` where its tenant has come to seal or count otherwise. */
export function sameLog(before: Tenant, now: Tenant): Tenant {
  const told = ({ manifest: { audit, meters } }: Tenant) => [audit.sealed, meters];
  if (before === now || isDeepStrictEqual(told(before), told(now))) return now;
  throw new ServiceError('unavailable', 'what the tenant records has changed meanwhile; ask again');
}

/** Of a token that no grant of the tenant's own stands behind. */
export const isTrusted = (before: Tenant, now: Tenant, { grant, issuer }: TokenPrincipal): boolean =>
  before === now ||
  grant !== undefined ||
  isDeepStrictEqual(before.issuers.get(issuer), now.issuers.get(issuer));
