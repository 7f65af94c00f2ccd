import type { Clock } from '../effects.ts';
import type { Caller } from '../tenancy/callers.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import { signJwt } from './keys/jws.ts';
import type { Keys } from './keys/keys.ts';

/** RFC 9701: the media type of a signed answer; the type of the JWT is what follows `application/`. */
export const SIGNED_INTROSPECTION = 'application/token-introspection+jwt';

/** What an introspection has to say, as RFC 7662 section 2.2 has it. */
export type IntrospectionClaims = Readonly<Record<string, unknown>> & { readonly active: boolean };

/**
 * The answer as a JWT (RFC 9701 section 5), for the caller alone: to be kept as evidence of what was answered, and when.
 * It has neither `sub` nor `exp`, so that nobody takes it for a token.
 */
export async function signedIntrospection(
  { keys, issuer, clock }: { keys: Keys; issuer: string; clock: Clock },
  tenant: Tenant,
  caller: Caller,
  claims: IntrospectionClaims,
): Promise<string> {
  const key = await keys.signer(tenant);
  return signJwt(key, SIGNED_INTROSPECTION.replace('application/', ''), {
    iss: issuer,
    aud: caller.principal?.id ?? caller.id,
    iat: Math.floor(clock() / 1_000),
    token_introspection: claims,
  });
}

/** Whether the header `Accept` asks for it by its name. Who takes anything is given JSON. */
export const asksForSigned = (accept: string | undefined): boolean =>
  (accept ?? '').split(',').some((each) => {
    const [type = '', ...parameters] = each.split(';').map((part) => part.trim().toLowerCase());
    return type === SIGNED_INTROSPECTION && !parameters.some((part) => /^q=0(?:\.0*)?$/.test(part));
  });
