import { hash } from 'node:crypto';
import { decodeProtectedHeader, jwtVerify, SignJWT } from 'jose';
import { LRUCache } from 'lru-cache';
import type { TokenPrincipal, TokenResolver } from '../decision/principal.ts';
import { ServiceError } from '../errors.ts';
import type { GrantId, PrincipalRef } from '../ids.ts';
import type { GrantStore } from '../storage/grants.ts';
import type { GrantRow } from '../storage/rows.ts';
import { asTokenError, type Issuers, unverifiedIssuerOf } from '../tenancy/issuers.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import { type Keys, SIGNING_ALGORITHM } from './keys.ts';

/** RFC 9068 section 2.1. */
const TOKEN_TYPE = 'at+jwt';

/** How many verified tokens are remembered. What is remembered is the signature alone, never that a grant is alive. */
const REMEMBERED = 20_000;

/** Mints the tokens of grants and tells what a presented token is. */
export class Tokens {
  readonly #keys: Keys;
  readonly #grants: GrantStore;
  readonly #issuers: Issuers;
  readonly #issuerOf: (tenant: Tenant) => string;
  /** Tenant and SHA-256 of a token → its grant, once the signature was verified. */
  readonly #verified = new LRUCache<string, GrantId>({ max: REMEMBERED });

  constructor(options: {
    keys: Keys;
    grants: GrantStore;
    issuers: Issuers;
    issuerOf: (tenant: Tenant) => string;
  }) {
    this.#keys = options.keys;
    this.#grants = options.grants;
    this.#issuers = options.issuers;
    this.#issuerOf = options.issuerOf;
  }

  /** The grant's token: RFC 9068 claims, the chain of actors in `act` (RFC 8693 section 4.1). */
  async mint(tenant: Tenant, grant: GrantRow): Promise<string> {
    const key = await this.#keys.signer(tenant);
    const [actor] = grant.actors;
    return new SignJWT({
      client_id: actor?.id,
      scope: grant.scopes.join(' '),
      principal_class: grant.subject.class,
      act: actClaim(grant.actors),
    })
      .setProtectedHeader({ alg: SIGNING_ALGORITHM, kid: key.kid, typ: TOKEN_TYPE })
      .setIssuer(this.#issuerOf(tenant))
      .setSubject(grant.subject.id)
      .setAudience(grant.audience)
      .setIssuedAt(Math.floor(grant.issuedAt / 1000))
      .setExpirationTime(Math.floor(grant.expiresAt / 1000))
      .setJti(grant.id)
      .sign(key.privateKey);
  }

  /** See `TokenResolver`. An ID token is for its client, not for here: only access tokens name a principal. */
  readonly resolve: TokenResolver = async (tenant, token, now): Promise<TokenPrincipal> => {
    const issuer = unverifiedIssuerOf(token);
    if (issuer === this.#issuerOf(tenant)) {
      const grant = await this.grantOf(tenant, token, now);
      return { subject: grant.subject, actors: grant.actors, grant };
    }
    const trusted = this.#issuers.trusted(tenant, issuer);
    if (!trusted)
      throw new ServiceError('token_invalid', 'the token is of an issuer that the tenant does not trust');
    const { subject, kind, claims } = await this.#issuers.verify(tenant, trusted, token);
    if (kind !== 'access_token')
      throw new ServiceError('token_invalid', 'only an access token names a principal here');
    if (!audiencesOf(claims.aud).some((audience) => trusted.audiences.includes(audience)))
      throw new ServiceError('token_invalid', 'the token is for another audience');
    if (claims['act'] !== undefined)
      throw new ServiceError('token_invalid', 'a token that was delegated elsewhere is not taken');
    return { subject, actors: [], grant: undefined };
  };

  /** Whether this tenant itself issued it; unverified. */
  claimsOwnIssuer(tenant: Tenant, token: string): boolean {
    return unverifiedIssuerOf(token) === this.#issuerOf(tenant);
  }

  /** The living grant behind one of the tenant's own tokens. Throws `token_invalid`, `token_expired`, `token_revoked`. */
  async grantOf(tenant: Tenant, token: string, now: number): Promise<GrantRow> {
    const id = await this.#verifiedGrant(tenant, token, now);
    // Read after the last await: a revocation that was answered before this request is in it.
    const grant = this.#grants.find(tenant.no, id);
    if (!grant) throw new ServiceError('token_invalid', 'the token belongs to no grant');
    if (grant.revokedAt !== null) throw new ServiceError('token_revoked', 'the token was revoked');
    if (grant.expiresAt <= now) throw new ServiceError('token_expired', 'the token has expired');
    return grant;
  }

  async #verifiedGrant(tenant: Tenant, token: string, now: number): Promise<GrantId> {
    const digest = `${tenant.id} ${hash('sha256', token, 'base64')}`;
    const known = this.#verified.get(digest);
    if (known) return known;
    const id = await this.#verify(tenant, token, now);
    this.#verified.set(digest, id);
    return id;
  }

  async #verify(tenant: Tenant, token: string, now: number): Promise<GrantId> {
    const kid = headerOf(token).kid;
    const key = typeof kid === 'string' && kid.length <= 64 ? await this.#keys.find(tenant, kid) : undefined;
    if (!key) throw new ServiceError('token_invalid', 'the token is not valid', { detail: 'no such key' });
    const { payload } = await jwtVerify(token, key.publicKey, {
      algorithms: [SIGNING_ALGORITHM],
      typ: TOKEN_TYPE,
      issuer: this.#issuerOf(tenant),
      requiredClaims: ['exp', 'iat', 'aud', 'sub', 'jti', 'client_id'],
      currentDate: new Date(now),
    }).catch((cause: unknown) => {
      throw asTokenError(cause);
    });
    return payload.jti as GrantId;
  }
}

function headerOf(token: string): { kid?: unknown } {
  try {
    return decodeProtectedHeader(token);
  } catch (cause) {
    throw asTokenError(cause);
  }
}

export const audiencesOf = (claim: string | string[] | undefined): readonly string[] =>
  claim === undefined ? [] : Array.isArray(claim) ? claim : [claim];

interface ActClaim {
  readonly sub: string;
  readonly principal_class: string;
  readonly act?: ActClaim;
}

/** The current actor outermost, those before it nested inside. */
export function actClaim(actors: readonly PrincipalRef[]): ActClaim | undefined {
  return actors.reduceRight<ActClaim | undefined>(
    (inner, actor) => ({ sub: actor.id, principal_class: actor.class, ...(inner ? { act: inner } : {}) }),
    undefined,
  );
}
