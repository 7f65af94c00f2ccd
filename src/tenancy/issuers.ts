import type { JWTPayload } from 'jose';
import { boundedBody } from '../bounded-body.ts';
import type { Clock } from '../effects.ts';
import { describe, ServiceError } from '../errors.ts';
import type { PrincipalRef } from '../ids.ts';
import type { Authentication } from '../storage/rows.ts';
import { authenticationIn } from './authentication.ts';
import type { JwtHolder } from './callers.ts';
import { audiencesOf, checkTimes } from './claims.ts';
import { checkHeld, type Held } from './held.ts';
import { readToken, type UnverifiedToken } from './jose.ts';
import { KeySet, type KeyUse, keysIn } from './key-set.ts';
import type { TrustedIssuer } from './manifest.ts';
import { isGood } from './registry/credentials.ts';
import type { WorkloadHolder } from './registry/registry.ts';
import { matches } from './registry/workload.ts';
import { SignedTokens } from './signed.ts';
import { subjectOf } from './subject-claim.ts';
import { isSpiffe } from './svid.ts';
import type { Tenant } from './tenants.ts';
import { kindOf, requireClient, type TokenKind } from './token-kind.ts';

/** What a trusted issuer says of a subject, verified. */
export interface IssuerToken {
  readonly subject: PrincipalRef;
  readonly issuer: TrustedIssuer;
  readonly kind: TokenKind;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
  readonly audiences: readonly string[];
  readonly authentication: Authentication;
  readonly claims: JWTPayload;
}

const FETCH_TIMEOUT_MS = 3_000;
const MAX_DOCUMENT_BYTES = 256 * 1024;
const MAX_KEY_SETS = 100_000;
const MOST_DESCRIBED = 64;

/** Verifies tokens of the issuers a tenant trusts. One key set a tenant and issuer: no cache is shared by tenants. */
export class Issuers {
  readonly #keys = new Map<string, KeySet>();
  readonly #signed = new SignedTokens();
  readonly #clock: Clock;
  readonly #monotonic: Clock;
  readonly #loopbackHttp: boolean;
  readonly #everywhere: () => readonly TrustedIssuer[];
  readonly #isKilled: (tenant: Tenant, issuer: string) => boolean;

  /**
   * `loopbackHttp`: issuers on this machine may speak cleartext. `everywhere`: issuers that every tenant trusts.
   * Both are for development. `isKilled`: of which issuers nothing is taken any more.
   */
  constructor(
    clock: Clock,
    monotonic: Clock,
    loopbackHttp = false,
    everywhere: () => readonly TrustedIssuer[] = () => [],
    isKilled: (tenant: Tenant, issuer: string) => boolean = () => false,
  ) {
    this.#clock = clock;
    this.#monotonic = monotonic;
    this.#loopbackHttp = loopbackHttp;
    this.#everywhere = everywhere;
    this.#isKilled = isKilled;
  }

  /** Whether the tenant trusts this issuer; the claim is read before the token is verified, and only to choose keys. */
  trusted(tenant: Tenant, unverifiedIssuer: string): TrustedIssuer | undefined {
    return (
      tenant.issuers.get(unverifiedIssuer) ??
      this.#everywhere().find((each) => each.issuer === unverifiedIssuer)
    );
  }

  /**
   * A token that whoever holds it may present, or if it is bound to a key or a certificate whoever holds that. Throws as
   * `claimsOf`.
   */
  async verify(
    tenant: Tenant,
    issuer: TrustedIssuer,
    token: UnverifiedToken,
    held: Held = {},
  ): Promise<IssuerToken> {
    const claims = await this.claimsOf(tenant, issuer, token, held);
    const kind = kindOf(issuer, token.header, claims);
    if (kind === 'access_token') requireClient(issuer, claims);
    const subject = { class: issuer.subject_class, id: subjectOf(issuer, claims) };
    const audiences = audiencesOf(claims.aud);
    const authentication = authenticationIn(claims, this.#clock(), issuer);
    return { subject, issuer, kind, expiresAt: (claims.exp ?? 0) * 1000, audiences, authentication, claims };
  }

  /**
   * What the issuer has signed, whatever kind of token it is, its times checked. Throws `token_invalid`, `token_expired`,
   * `token_revoked` where the issuer was killed or, if its keys cannot be had, `unavailable`.
   */
  async claimsOf(
    tenant: Tenant,
    issuer: TrustedIssuer,
    token: UnverifiedToken,
    held: Held,
  ): Promise<JWTPayload> {
    // It lets a workload in, and is no token to act by: nobody has narrowed it.
    if (isSpiffe(issuer.issuer))
      throw new ServiceError('token_invalid', 'a JWT-SVID is the credential of a workload, and no token');
    const claims = await this.#verified(tenant, issuer, token, [issuer.subject_claim]);
    checkTimes(claims, this.#clock() / 1000);
    // RFC 9449 section 7, RFC 8705 section 3: whoever presents it would have to prove that the key is its own.
    checkHeld(claims['cnf'], held);
    // RFC 8693 section 4.1: it is the word of another authority on who acts, and here only grants say that.
    if (claims['act'] !== undefined)
      throw new ServiceError('token_invalid', 'a token that was delegated elsewhere is not taken');
    return claims;
  }

  /**
   * The principal that a caller's own token names, from an issuer of the tenant: an access token for this server, or one
   * that a platform gave to a workload. Never a user: a user's token in the place of a credential would let whoever holds
   * it ask for anybody. `among`: tenants that trust the issuer alike, whose workloads would do, too.
   */
  async verifyCaller(tenant: Tenant, text: string, among: readonly Tenant[] = [tenant]): Promise<JwtHolder> {
    const refused = (cause: unknown): ServiceError =>
      new ServiceError('unauthenticated', 'the credential is not valid in this tenant', { cause });
    try {
      const token = readToken(text);
      const issuer = this.trusted(tenant, token.issuer);
      if (!issuer || issuer.subject_class === 'user') throw refused('the issuer names no callers');
      const hasWorkloads = among.some((each) => (each.workloads.get(token.issuer) ?? []).length > 0);
      const workload = hasWorkloads && (await this.#workload(tenant, issuer, token, among));
      if (workload) return workload;
      const { subject, kind, audiences } = await this.verify(tenant, issuer, token);
      if (kind !== 'access_token' || !audiences.some((each) => issuer.audiences.includes(each)))
        throw refused('not an access token for this server');
      return subject;
    } catch (error) {
      throw error instanceof ServiceError && error.code.startsWith('token_') ? refused(error) : error;
    }
  }

  /** Whose the token of a workload is. What it is for, its audience says; no type is asked of it. */
  async #workload(
    tenant: Tenant,
    issuer: TrustedIssuer,
    token: UnverifiedToken,
    among: readonly Tenant[],
  ): Promise<JwtHolder | undefined> {
    const claims = await this.#verified(tenant, issuer, token, []);
    const now = this.#clock();
    checkTimes(claims, now / 1000);
    // Bound to a key, or somebody else's word on who acts: see `verify`.
    if (claims['cnf'] !== undefined || claims['act'] !== undefined) return undefined;
    const audiences = audiencesOf(claims.aud);
    const isTheirs = ({ credential }: WorkloadHolder): boolean =>
      isGood(credential, now) &&
      audiences.includes(credential.workload.audience) &&
      matches(credential.workload, claims);
    for (const each of among) {
      const found = (each.workloads.get(token.issuer) ?? []).filter(isTheirs);
      const principals = new Set(found.map(({ principal }) => principal));
      // That of two principals is neither's.
      const [principal] = principals;
      if (principal && principals.size === 1)
        return {
          class: principal.class,
          id: principal.id,
          credentials: found.map(({ credential }) => credential),
        };
    }
    return undefined;
  }

  /** Throws `token_revoked`. Asked again after whatever was waited for. */
  refuseKilled(tenant: Tenant, { issuer }: TrustedIssuer): void {
    if (this.#isKilled(tenant, issuer))
      throw new ServiceError('token_revoked', 'the tenant takes no tokens of this issuer any more');
  }

  async #verified(
    tenant: Tenant,
    issuer: TrustedIssuer,
    token: UnverifiedToken,
    required: readonly string[],
  ): Promise<JWTPayload> {
    // Before its keys are asked for, and after: they may take a while.
    this.refuseKilled(tenant, issuer);
    const keys = this.#keysOf(tenant, issuer);
    const claims = await this.#signed.claims(tenant.id, issuer, token, required, keys, this.#clock());
    this.refuseKilled(tenant, issuer);
    return claims;
  }

  #keysOf(tenant: Tenant, issuer: TrustedIssuer): KeySet {
    const key = `${tenant.id} ${issuer.issuer} ${issuer.jwks_uri ?? ''}`;
    const known = this.#keys.get(key);
    if (known) return known;
    const keys = new KeySet(() => this.#fetchKeys(issuer), this.#monotonic, useOf(issuer));
    // Issuers that tenants no longer name are never asked for again.
    if (this.#keys.size >= MAX_KEY_SETS) this.#keys.clear();
    this.#keys.set(key, keys);
    return keys;
  }

  /** A set of keys by its address. Rejects with `unavailable`. */
  async fetched(uri: string): Promise<unknown> {
    try {
      return await boundedJson(this.#allowed(uri));
    } catch (cause) {
      throw new ServiceError('unavailable', 'the keys of the client cannot be had now', {
        cause,
        detail: `${uri}: ${describe(cause)}`,
      });
    }
  }

  /** Fetches metadata and keys anew, and says what of them is of use. What fails is told, and not thrown. */
  async examine(issuer: TrustedIssuer): Promise<{
    readonly jwksUri: string;
    readonly keys: readonly { kid: string; kty: string; algorithms: readonly string[] }[];
    readonly problem: string;
  }> {
    let jwksUri = issuer.jwks_uri ?? '';
    try {
      jwksUri ||= await this.#discover(issuer);
      const keys = keysIn(await boundedJson(this.#allowed(jwksUri)));
      const described = keys.slice(0, MOST_DESCRIBED).map((key) => ({
        kid: key.kid ?? '',
        kty: key.kty,
        algorithms: issuer.algorithms.filter((each) => key.verifies(each, useOf(issuer))),
      }));
      return { jwksUri, keys: described, problem: keys.length > 0 ? '' : 'there is no key' };
    } catch (cause) {
      return { jwksUri, keys: [], problem: describe(cause) };
    }
  }

  /** Whom a token names, or why it does not. */
  async tried(
    tenant: Tenant,
    issuer: TrustedIssuer,
    text: string,
  ): Promise<Pick<IssuerToken, 'subject' | 'kind' | 'authentication'> | { readonly problem: string }> {
    try {
      const token = readToken(text);
      if (token.issuer !== issuer.issuer) return { problem: 'the token is of another issuer' };
      return await this.verify(tenant, issuer, token);
    } catch (error) {
      if (error instanceof ServiceError) return { problem: describe(error) };
      throw error;
    }
  }

  async #fetchKeys(issuer: TrustedIssuer): Promise<unknown> {
    try {
      const uri = issuer.jwks_uri ?? (await this.#discover(issuer));
      return await boundedJson(this.#allowed(uri));
    } catch (cause) {
      throw new ServiceError('unavailable', `the keys of ${issuer.issuer} cannot be had now`, {
        cause,
        detail: describe(cause),
      });
    }
  }

  async #discover(issuer: TrustedIssuer): Promise<string> {
    const url = this.#allowed(`${issuer.issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
    const metadata = ((await boundedJson(url)) ?? {}) as { issuer?: unknown; jwks_uri?: unknown };
    // RFC 8414 section 3.3: anything else is an impersonation.
    if (metadata.issuer !== issuer.issuer) throw new Error('the metadata names another issuer');
    if (typeof metadata.jwks_uri !== 'string') throw new Error('the metadata has no jwks_uri');
    // The metadata is the issuer's word; it does not get to point this server at other hosts.
    if (new URL(metadata.jwks_uri).origin !== url.origin)
      throw new Error('jwks_uri is on another origin; name it in the manifest if that is right');
    return metadata.jwks_uri;
  }

  #allowed(uri: string): URL {
    const url = new URL(uri);
    const loopback = ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname);
    if (url.protocol === 'https:' || (url.protocol === 'http:' && loopback && this.#loopbackHttp)) return url;
    throw new Error(`${uri} is not https`);
  }
}

const useOf = ({ issuer }: TrustedIssuer): KeyUse => (isSpiffe(issuer) ? 'jwt-svid' : 'sig');

/** GET without redirects, of at most MAX_DOCUMENT_BYTES. */
async function boundedJson(url: URL): Promise<unknown> {
  const signal = AbortSignal.timeout(FETCH_TIMEOUT_MS);
  const response = await fetch(url, { signal, redirect: 'error', headers: { accept: 'application/json' } });
  if (!response.ok || !response.body) throw new Error(`${url.href} answered ${response.status}`);
  return JSON.parse((await boundedBody(response, MAX_DOCUMENT_BYTES)).toString('utf8')) as unknown;
}
