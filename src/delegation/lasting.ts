import { isDeepStrictEqual } from 'node:util';
import { ServiceError } from '../errors.ts';
import { principalKey } from '../ids.ts';
import type { GrantRow } from '../storage/rows.ts';
import type { Caller } from '../tenancy/callers.ts';
import type { Tenant } from '../tenancy/tenants.ts';

/**
 * Called with no await before the grant is on its way: a credential, a ceiling or an issuer that was taken away meanwhile
 * grants nothing, and neither does a tenant that is gone. Throws `tenant_unknown` or `unavailable`.
 */
export function checkLasting(
  before: Tenant,
  now: Tenant | undefined,
  { principal, registered }: Caller,
  { issuer }: GrantRow,
): void {
  if (!now) throw new ServiceError('tenant_unknown', 'the tenant is served no more');
  if (principal && !isDeepStrictEqual(now.declared.get(principalKey(principal)), registered))
    throw new ServiceError('unavailable', 'who asks was registered anew meanwhile; ask again');
  if (!isDeepStrictEqual(now.issuers.get(issuer), before.issuers.get(issuer)))
    throw new ServiceError('unavailable', 'the issuer of the token was registered anew meanwhile; ask again');
}
