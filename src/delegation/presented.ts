import { GrantRefused } from '../decision/principal.ts';
import { ServiceError } from '../errors.ts';
import type { PrincipalRef } from '../ids.ts';
import { isSame, principalKey } from '../ids.ts';
import { type Authentication, actingIn, type GrantRow } from '../storage/rows.ts';
import { CLOCK_TOLERANCE } from '../tenancy/claims.ts';
import type { Held } from '../tenancy/held.ts';
import type { Issuers, IssuerToken } from '../tenancy/issuers.ts';
import { readToken, type UnverifiedToken } from '../tenancy/jose.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import { clientClaims } from '../tenancy/token-kind.ts';
import { type Asserted, type TokenType, tokenTypes } from './exchange.ts';
import { uncertified } from './sender/certificates.ts';
import { notHeld } from './sender/dpop.ts';
import { TASK_TYPE } from './tasks.ts';
import type { Tokens } from './tokens.ts';
import { type Transaction, TXN_TOKEN_TYPE } from './transactions/asked.ts';
import { transactionIn } from './transactions/token.ts';

/** A subject token that was verified, and that this actor may hand in. */
export interface SubjectToken {
  readonly subject: PrincipalRef;
  readonly until: number;
  readonly parent: GrantRow | undefined;
  readonly renews: boolean;
  /** Whom alone its `may_act` names. */
  readonly mayAct: PrincipalRef | undefined;
  readonly authentication: Authentication;
  /** Who issued the token that the chain of grants begins with. */
  readonly issuer: string;
  /** It is bound to the certificate of who handed it in: so is what comes of it (RFC 8705 section 3). */
  readonly isCertificateBound: boolean;
  /** Where it is an identity assertion. */
  readonly asserted?: Asserted;
  /** Where it is a transaction token. */
  readonly transaction?: Transaction;
}

/**
 * Verifies the subject token of an exchange. Throws `token_invalid`, `token_expired`, `token_revoked`, `unavailable`,
 * or `exchange_denied` for a token that was issued to somebody else (the confused deputy).
 */
export async function verifySubjectToken(
  { tokens, issuers }: { tokens: Tokens; issuers: Issuers },
  tenant: Tenant,
  actor: PrincipalRef,
  { text, type, held }: { text: string; type: TokenType; held: Held },
  now: number,
): Promise<SubjectToken> {
  if (type === TASK_TYPE) return renewed(await tokens.task(tenant, actor, text, now), actor, held);
  const token = readToken(text);
  if (type === TXN_TOKEN_TYPE) {
    if (!tokens.isOwn(tenant, token))
      throw new ServiceError('token_invalid', 'the token is no transaction token of this tenant');
    const parent = await tokens.grantOf(tenant, token, now, 'transaction');
    return { ...handedIn(parent, actor, held), renews: false, transaction: transactionIn(token) };
  }
  if (tokens.isOwn(tenant, token)) {
    if (!accepts(type, 'access_token')) throw wrongType();
    const parent = await tokens.grantOf(tenant, token, now);
    return { ...handedIn(parent, actor, held), renews: false };
  }
  const issuer = issuers.trusted(tenant, token.issuer);
  if (!issuer)
    throw new ServiceError('token_invalid', 'the token is of an issuer that the tenant does not trust');
  const verified = await issuers.verify(tenant, issuer, token, boundTo(token, held));
  if (!accepts(type, verified.kind)) throw wrongType();
  issuedTo(tenant, actor, verified);
  return {
    subject: verified.subject,
    until: endOf(verified.expiresAt, now),
    parent: undefined,
    renews: false,
    // It named the actor, or would have been refused.
    mayAct: verified.claims['may_act'] === undefined ? undefined : actor,
    authentication: verified.authentication,
    issuer: issuer.issuer,
    isCertificateBound: isCertificateBound(verified.claims['cnf']),
  };
}

/**
 * RFC 8693 section 2.1: the actor is the authenticated client, so an actor token may but say the same of it, by an issuer
 * that the tenant trusts. Throws `invalid_request` or `unavailable`.
 */
export async function verifyActorToken(
  { issuers }: { issuers: Issuers },
  tenant: Tenant,
  actor: PrincipalRef,
  text: string,
): Promise<void> {
  const other = (cause?: unknown): ServiceError =>
    new ServiceError('invalid_request', "the actor token is not the authenticated client's own", { cause });
  const named = await issuers.verifyCaller(tenant, text).catch((cause: unknown) => {
    throw cause instanceof ServiceError && cause.code === 'unauthenticated' ? other(cause) : cause;
  });
  if (principalKey(named) !== principalKey(actor)) throw other();
}

/** A task of the agent's own goes on: no token of its subject's has to be there. */
const renewed = (task: GrantRow, actor: PrincipalRef, held: Held): SubjectToken => ({
  ...handedIn(task, actor, held),
  renews: true,
});

/** Whoever acts by it holds what it is bound to; whom it is for was handed it, and holds something else. */
function handedIn(parent: GrantRow, actor: PrincipalRef, held: Held): Omit<SubjectToken, 'renews'> {
  const isActing = isSame(actingIn(parent), actor);
  const isProven = parent.jkt === null || parent.jkt === held.jkt;
  const refused = isProven ? uncertified(parent, held) : notHeld(true, held.jkt);
  if (isActing && refused) throw new GrantRefused(parent, refused);
  const { subject, expiresAt: until, mayAct, authentication, issuer, x5tS256 } = parent;
  return {
    subject,
    until,
    parent,
    mayAct: mayAct ?? undefined,
    authentication,
    issuer,
    isCertificateBound: isActing && x5tS256 !== null,
  };
}

/** Unverified: the client may bind what it gets to a key that the token is not bound to. */
export function boundTo({ claims: { cnf } }: UnverifiedToken, { jkt, x5tS256 }: Held): Held {
  const isKeyNamed = typeof cnf === 'object' && cnf !== null && Object.hasOwn(cnf, 'jkt');
  return { jkt: isKeyNamed ? jkt : undefined, x5tS256 };
}

/** By a confirmation that was verified. */
export const isCertificateBound = (cnf: unknown): boolean =>
  typeof cnf === 'object' && cnf !== null && Object.hasOwn(cnf, 'x5t#S256');

/** What the clocks' tolerance let in just after its end lasts until the tolerance ends, too: never longer. */
export const endOf = (expiresAt: number, now: number): number =>
  Math.floor(expiresAt / 1000) * 1000 > now ? expiresAt : expiresAt + CLOCK_TOLERANCE * 1000;

const accepts = (type: TokenType, kind: 'access_token' | 'id_token'): boolean =>
  (tokenTypes[type] as readonly string[]).includes(kind);

const wrongType = (): ServiceError =>
  new ServiceError('token_invalid', 'the token is not of the type that subject_token_type names');

/**
 * The user gave this token to one client. An ID token is for the client in `aud`, and names it in `azp` as well where it
 * is for others too (OpenID Connect Core section 3.1.3.7); an access token is for this server and names its client in a
 * claim of its own. RFC 8693 section 4.4: `may_act` binds where it is present.
 */
function issuedTo(
  tenant: Tenant,
  actor: PrincipalRef,
  { claims, kind, issuer, audiences }: IssuerToken,
): void {
  const declared = tenant.declared.get(principalKey(actor));
  const clients = [actor.id, ...(declared?.client_ids ?? [])];
  if (kind === 'id_token' && !audiences.some((audience) => clients.includes(audience))) throw stranger();
  if (kind === 'id_token' && audiences.length > 1 && claims['azp'] === undefined) throw stranger();
  if (kind === 'access_token' && !audiences.some((audience) => issuer.audiences.includes(audience)))
    throw new ServiceError('token_invalid', 'the token is for another audience');
  for (const claim of clientClaims(issuer)) {
    const client = claims[claim];
    if (client !== undefined && (typeof client !== 'string' || !clients.includes(client))) throw stranger();
  }
  const mayAct = claims['may_act'] as { sub?: unknown } | undefined;
  if (mayAct !== undefined && !(typeof mayAct?.sub === 'string' && clients.includes(mayAct.sub)))
    throw stranger();
}

const stranger = (): ServiceError =>
  new ServiceError('exchange_denied', 'the token was issued to another client');
