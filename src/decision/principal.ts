import type { PrincipalRef } from '../ids.ts';
import type { GrantRow } from '../storage/rows.ts';
import type { Tenant } from '../tenancy/tenants.ts';

/** Who a token turned out to be. */
export interface TokenPrincipal {
  readonly subject: PrincipalRef;
  /** The current actor first. Empty for a token the subject itself presents. */
  readonly actors: readonly PrincipalRef[];
  /** The grant behind a token that Mandate issued. */
  readonly grant: GrantRow | undefined;
}

/**
 * Turns a presented token into a principal; `delegation/` implements it. Throws `token_invalid`, `token_expired`,
 * `token_revoked` or `unavailable`. A token is looked at anew each time: what was revoked a moment ago is refused.
 */
export type TokenResolver = (tenant: Tenant, token: string, now: number) => Promise<TokenPrincipal>;
