import { isDeepStrictEqual } from 'node:util';
import { ServiceError } from '../errors.ts';
import { principalKey } from '../ids.ts';
import type { Caller } from './callers.ts';
import type { Tenant } from './tenants.ts';

/**
 * Called with no await before what is asked for is on its way: a credential, a ceiling, a right or an issuer that was taken
 * away while something was waited for gets nothing done, and neither does a tenant that is gone. `issuer`: of the token
 * that it is asked with. Throws `tenant_unknown` or `unavailable`.
 */
export function checkLasting(
  before: Tenant,
  now: Tenant | undefined,
  { principal, registered }: Caller,
  issuer: string,
): asserts now is Tenant {
  if (!now) throw new ServiceError('tenant_unknown', 'the tenant is served no more');
  if (principal && !isDeepStrictEqual(now.declared.get(principalKey(principal)), registered))
    throw new ServiceError('unavailable', 'who asks was registered anew meanwhile; ask again');
  if (!isDeepStrictEqual(now.issuers.get(issuer), before.issuers.get(issuer)))
    throw new ServiceError('unavailable', 'the issuer of the token was registered anew meanwhile; ask again');
}
