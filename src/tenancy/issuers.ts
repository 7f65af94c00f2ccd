import {
  createRemoteJWKSet,
  customFetch,
  decodeProtectedHeader,
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify,
} from 'jose';
import type { Clock } from '../effects.ts';
import { describe, ServiceError } from '../errors.ts';
import type { PrincipalRef } from '../ids.ts';
import type { TrustedIssuer } from './manifest.ts';
import type { Tenant } from './tenants.ts';

/** What a trusted issuer says of a subject, verified. */
export interface IssuerToken {
  readonly subject: PrincipalRef;
  readonly issuer: TrustedIssuer;
  readonly kind: 'access_token' | 'id_token';
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
  readonly claims: JWTPayload;
}

/** How far an issuer's clock may be off, in seconds. Own tokens get none: skew would add up hop by hop. */
const CLOCK_TOLERANCE = 30;
const FETCH_TIMEOUT_MS = 3_000;
const MAX_DOCUMENT_BYTES = 256 * 1024;

/** Verifies tokens of the issuers a tenant trusts. One key set a tenant and issuer: no cache is shared by tenants. */
export class Issuers {
  readonly #keys = new Map<string, Promise<JWTVerifyGetKey>>();
  readonly #clock: Clock;
  readonly #loopbackHttp: boolean;
  readonly #everywhere: () => readonly TrustedIssuer[];

  /**
   * `loopbackHttp`: issuers on this machine may speak cleartext. `everywhere`: issuers that every tenant trusts.
   * Both are for development.
   */
  constructor(clock: Clock, loopbackHttp = false, everywhere: () => readonly TrustedIssuer[] = () => []) {
    this.#clock = clock;
    this.#loopbackHttp = loopbackHttp;
    this.#everywhere = everywhere;
  }

  /** Whether the tenant trusts this issuer; the claim is read before the token is verified, and only to choose keys. */
  trusted(tenant: Tenant, unverifiedIssuer: string): TrustedIssuer | undefined {
    const known = [...tenant.manifest.issuers, ...this.#everywhere()];
    return known.find((each) => each.issuer === unverifiedIssuer);
  }

  /** Throws `token_invalid`, `token_expired` or, if the issuer's keys cannot be had, `unavailable`. */
  async verify(tenant: Tenant, issuer: TrustedIssuer, token: string): Promise<IssuerToken> {
    const kind = kindOf(token);
    const keys = await this.#keysOf(tenant, issuer);
    const { payload } = await jwtVerify(token, keys, {
      issuer: issuer.issuer,
      algorithms: issuer.algorithms,
      requiredClaims: ['exp', 'iat', 'aud', issuer.subject_claim],
      clockTolerance: CLOCK_TOLERANCE,
      currentDate: new Date(this.#clock()),
    }).catch((cause: unknown) => {
      throw asTokenError(cause);
    });
    const id = payload[issuer.subject_claim];
    if (typeof id !== 'string' || id === '' || id.length > 256)
      throw new ServiceError('token_invalid', 'the token names no subject');
    return {
      subject: { class: issuer.subject_class, id },
      issuer,
      kind,
      expiresAt: (payload.exp ?? 0) * 1000,
      claims: payload,
    };
  }

  /**
   * The principal that a caller's own access token names: for this server, from an issuer of the tenant. Never a user:
   * a user's token in the place of a credential would let whoever holds it ask for anybody.
   */
  async verifyCaller(tenant: Tenant, token: string): Promise<PrincipalRef> {
    const refused = (cause: unknown): ServiceError =>
      new ServiceError('unauthenticated', 'the credential is not valid in this tenant', { cause });
    try {
      const issuer = this.trusted(tenant, unverifiedIssuerOf(token));
      if (!issuer || issuer.subject_class === 'user') throw refused('the issuer names no callers');
      const { subject, kind, claims } = await this.verify(tenant, issuer, token);
      const audiences = typeof claims.aud === 'string' ? [claims.aud] : (claims.aud ?? []);
      if (kind !== 'access_token' || !audiences.some((each) => issuer.audiences.includes(each)))
        throw refused('not an access token for this server');
      return subject;
    } catch (error) {
      throw error instanceof ServiceError && error.code.startsWith('token_') ? refused(error) : error;
    }
  }

  #keysOf(tenant: Tenant, issuer: TrustedIssuer): Promise<JWTVerifyGetKey> {
    const key = `${tenant.id} ${issuer.issuer} ${issuer.jwks_uri ?? ''}`;
    const known = this.#keys.get(key);
    if (known) return known;
    const opened = this.#open(issuer);
    this.#keys.set(key, opened);
    // A failed discovery is tried again with the next token.
    opened.catch(() => this.#keys.delete(key));
    return opened;
  }

  async #open(issuer: TrustedIssuer): Promise<JWTVerifyGetKey> {
    const uri = issuer.jwks_uri ?? (await this.#discover(issuer));
    return createRemoteJWKSet(this.#allowed(uri), {
      timeoutDuration: FETCH_TIMEOUT_MS,
      cooldownDuration: 10_000,
      cacheMaxAge: 600_000,
      [customFetch]: (url: string, init: { signal: AbortSignal }) => boundedFetch(url, init.signal),
    });
  }

  async #discover(issuer: TrustedIssuer): Promise<string> {
    const url = this.#allowed(`${issuer.issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
    try {
      const response = await boundedFetch(url.href, AbortSignal.timeout(FETCH_TIMEOUT_MS));
      const metadata = (await response.json()) as { issuer?: unknown; jwks_uri?: unknown };
      // RFC 8414 section 3.3: anything else is an impersonation.
      if (metadata.issuer !== issuer.issuer) throw new Error('the metadata names another issuer');
      if (typeof metadata.jwks_uri !== 'string') throw new Error('the metadata has no jwks_uri');
      // The metadata is the issuer's word; it does not get to point this server at other hosts.
      if (new URL(metadata.jwks_uri).origin !== url.origin)
        throw new Error('jwks_uri is on another origin; name it in the manifest if that is right');
      return metadata.jwks_uri;
    } catch (cause) {
      throw new ServiceError('unavailable', 'the keys of the token issuer cannot be had now', {
        cause,
        detail: `${issuer.issuer}: ${describe(cause)}`,
      });
    }
  }

  #allowed(uri: string): URL {
    const url = new URL(uri);
    const loopback = ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname);
    if (url.protocol === 'https:' || (url.protocol === 'http:' && loopback && this.#loopbackHttp)) return url;
    throw new ServiceError('unavailable', 'the keys of the token issuer cannot be had now', {
      detail: `${uri} is not https`,
    });
  }
}

/** GET without redirects, of at most MAX_DOCUMENT_BYTES. */
async function boundedFetch(url: string, signal: AbortSignal): Promise<Response> {
  const response = await fetch(url, { signal, redirect: 'error', headers: { accept: 'application/json' } });
  if (!response.ok || !response.body) throw new Error(`${url} answered ${response.status}`);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body) {
    size += chunk.byteLength;
    if (size > MAX_DOCUMENT_BYTES) throw new Error(`${url} answered more than ${MAX_DOCUMENT_BYTES} bytes`);
    chunks.push(chunk);
  }
  return new Response(Buffer.concat(chunks), { headers: { 'content-type': 'application/json' } });
}

/** RFC 9068 section 2.1 types access tokens; RFC 8725 section 3.11: other types never pass for one. */
function kindOf(token: string): IssuerToken['kind'] {
  const type = decodeProtectedHeader(token)
    .typ?.toLowerCase()
    .replace(/^application\//, '');
  if (type === 'at+jwt') return 'access_token';
  if (type === undefined || type === 'jwt') return 'id_token';
  throw new ServiceError('token_invalid', 'a token of this type does not name a subject');
}

/** Throws `token_invalid`. The claim is unverified: good for choosing a verifier, for nothing else. */
export function unverifiedIssuerOf(token: string): string {
  // A compact JWS: three parts. Five would be a JWE, whose decompression nobody asked for.
  const parts = token.length <= 16_384 ? token.split('.') : [];
  if (parts.length !== 3) throw new ServiceError('token_invalid', 'the token is not a signed JWT');
  try {
    const claims = JSON.parse(Buffer.from(parts[1] ?? '', 'base64url').toString('utf8')) as { iss?: unknown };
    if (typeof claims.iss === 'string') return claims.iss;
  } catch {
    // Falls through: whatever it is, it names no issuer.
  }
  throw new ServiceError('token_invalid', 'the token names no issuer');
}

/** What jose says when the keys, not the token, are at fault; the generic one is an answer that holds no JSON. */
const KEYS_FAILED: ReadonlySet<string> = new Set([
  errors.JWKSTimeout.code,
  errors.JWKSInvalid.code,
  errors.JOSEError.code,
]);

export function asTokenError(cause: unknown): ServiceError {
  if (cause instanceof ServiceError) return cause;
  if (cause instanceof errors.JWTExpired) return new ServiceError('token_expired', 'the token has expired');
  if (!(cause instanceof errors.JOSEError) || KEYS_FAILED.has(cause.code))
    return new ServiceError('unavailable', 'the keys of the token issuer cannot be had now', {
      cause,
      detail: describe(cause),
    });
  return new ServiceError('token_invalid', 'the token is not valid', { cause, detail: describe(cause) });
}
