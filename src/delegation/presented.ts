import { ServiceError } from '../errors.ts';
import type { PrincipalRef } from '../ids.ts';
import { principalKey } from '../ids.ts';
import type { GrantRow } from '../storage/rows.ts';
import { type Issuers, type IssuerToken, unverifiedIssuerOf } from '../tenancy/issuers.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import { type TokenType, tokenTypes } from './exchange.ts';
import { audiencesOf, type Tokens } from './tokens.ts';

/** A subject token that was verified, and that this actor may hand in. */
export interface SubjectToken {
  readonly subject: PrincipalRef;
  readonly until: number;
  readonly parent: GrantRow | undefined;
}

/**
 * Verifies the subject token of an exchange. Throws `token_invalid`, `token_expired`, `token_revoked`, `unavailable`,
 * or `exchange_denied` for a token that was issued to somebody else (the confused deputy).
 */
export async function verifySubjectToken(
  { tokens, issuers }: { tokens: Tokens; issuers: Issuers },
  tenant: Tenant,
  actor: PrincipalRef,
  token: string,
  type: TokenType,
  now: number,
): Promise<SubjectToken> {
  if (tokens.claimsOwnIssuer(tenant, token)) {
    if (!accepts(type, 'access_token')) throw wrongType();
    const parent = await tokens.grantOf(tenant, token, now);
    return { subject: parent.subject, until: parent.expiresAt, parent };
  }
  const issuer = issuers.trusted(tenant, unverifiedIssuerOf(token));
  if (!issuer)
    throw new ServiceError('token_invalid', 'the token is of an issuer that the tenant does not trust');
  const verified = await issuers.verify(tenant, issuer, token);
  if (!accepts(type, verified.kind)) throw wrongType();
  issuedTo(tenant, actor, verified);
  if (verified.claims['act'] !== undefined)
    throw new ServiceError('token_invalid', 'a token that was delegated elsewhere is not taken');
  return { subject: verified.subject, until: verified.expiresAt, parent: undefined };
}

const accepts = (type: TokenType, kind: 'access_token' | 'id_token'): boolean =>
  (tokenTypes[type] as readonly string[]).includes(kind);

const wrongType = (): ServiceError =>
  new ServiceError('token_invalid', 'the token is not of the type that subject_token_type names');

/**
 * The user gave this token to one client. An ID token is for the client in `aud`; an access token is for this server
 * and names its client in `client_id` or `azp`. RFC 8693 section 4.4: `may_act` binds where it is present.
 */
function issuedTo(tenant: Tenant, actor: PrincipalRef, { claims, kind, issuer }: IssuerToken): void {
  const declared = tenant.declared.get(principalKey(actor));
  const clients = [actor.id, ...(declared?.client_ids ?? [])];
  const audiences = audiencesOf(claims.aud);
  const stranger = new ServiceError('exchange_denied', 'the token was issued to another client');
  if (kind === 'id_token' && !audiences.some((audience) => clients.includes(audience))) throw stranger;
  if (kind === 'access_token' && !audiences.some((audience) => issuer.audiences.includes(audience)))
    throw new ServiceError('token_invalid', 'the token is for another audience');
  for (const claim of ['azp', 'client_id'] as const) {
    const client = claims[claim];
    if (client !== undefined && (typeof client !== 'string' || !clients.includes(client))) throw stranger;
  }
  const mayAct = claims['may_act'] as { sub?: unknown } | undefined;
  if (mayAct !== undefined && !(typeof mayAct?.sub === 'string' && clients.includes(mayAct.sub)))
    throw stranger;
}
