import { hash } from 'node:crypto';
import { errors, type JWTPayload, jwtVerify } from 'jose';
import type { Clock } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import { type PrincipalClass, principalKey } from '../../ids.ts';
import type { Writer } from '../../storage/writer.ts';
import { CLOCK_TOLERANCE } from '../claims.ts';
import { readToken, type UnverifiedToken } from '../jose.ts';
import { KeySet } from '../key-set.ts';
import type { ManifestPrincipal } from '../manifest.ts';
import type { Tenant } from '../tenants.ts';
import { type Credential, isGood } from './credentials.ts';
import type { Holder } from './registry.ts';

/** RFC 7518, RFC 8037: what a client may sign with; a key takes its own alone. */
export const ASSERTION_ALGORITHMS = ['ES256', 'ES384', 'EdDSA', 'Ed25519', 'RS256', 'PS256'];

/** How far in the future an assertion may end, in seconds: for so long its id is kept. */
const MAX_LIFETIME = 600;
const MAX_ID = 256;

/** A type says what a token is for (RFC 8725 section 3.11): none, or one of these. */
const TYPES: ReadonlySet<string | undefined> = new Set([undefined, 'jwt', 'client-authentication+jwt']);

/** Those that may have keys. */
const CLIENTS: readonly PrincipalClass[] = ['agent', 'mcp_server', 'service', 'job'];

type KeyCredential = Extract<Credential, { jwks: unknown } | { jwks_uri: string }>;

/** Clients that authenticate by signing: private_key_jwt (RFC 7523 section 3, OpenID Connect Core section 9). */
export class ClientAssertions {
  readonly #issuerOf: (tenant: Tenant) => string;
  readonly #fetchKeys: (uri: string) => Promise<unknown>;
  readonly #writer: Pick<Writer, 'run'>;
  readonly #clock: Clock;
  readonly #monotonic: Clock;
  /** Of a credential as it is registered: another one has keys of its own. */
  readonly #keys = new WeakMap<KeyCredential, KeySet>();

  /** `fetchKeys` gets a document by https, or rejects with `unavailable`. */
  constructor(options: {
    issuerOf: (tenant: Tenant) => string;
    fetchKeys: (uri: string) => Promise<unknown>;
    writer: Pick<Writer, 'run'>;
    clock: Clock;
    monotonic: Clock;
  }) {
    this.#issuerOf = options.issuerOf;
    this.#fetchKeys = options.fetchKeys;
    this.#writer = options.writer;
    this.#clock = options.clock;
    this.#monotonic = options.monotonic;
  }

  /**
   * Whose assertion it is; each is taken once, across restarts too. `clientId`: what the request says beside it. Rejects
   * with `unauthenticated`, or `unavailable` where keys or store cannot be had.
   */
  async verify(tenant: Tenant, text: string, clientId: string | undefined): Promise<Holder> {
    const token = read(text);
    const { claims } = token;
    const id = claims['sub'];
    if (typeof id !== 'string' || claims['iss'] !== id || (clientId !== undefined && clientId !== id))
      throw refused('iss, sub and client_id are not one client');
    if (!this.#isForUs(tenant, claims['aud'])) throw refused('it is for somebody else');
    const holder = await this.#signer(tenant, id, token);
    await this.#takeOnce(tenant, holder, claims);
    return holder;
  }

  /** One audience alone: who else it is for could present it here (draft-ietf-oauth-rfc7523bis section 4). */
  #isForUs(tenant: Tenant, aud: unknown): boolean {
    const issuer = this.#issuerOf(tenant);
    const audience: unknown = Array.isArray(aud) && aud.length === 1 ? aud[0] : aud;
    return audience === issuer || audience === `${issuer}/oauth2/token`;
  }

  /** Of two principals of that id, the one whose key signed it; two that share a key are neither. */
  async #signer(tenant: Tenant, id: string, token: UnverifiedToken): Promise<Holder> {
    const now = this.#clock();
    const signers: Holder[] = [];
    for (const cls of CLIENTS) {
      const principal = tenant.declared.get(principalKey({ class: cls, id }));
      const credential = principal && (await this.#signedWith(principal, token, now));
      if (principal && credential) signers.push({ principal, credential });
    }
    const [signer] = signers;
    if (signer && signers.length === 1) return signer;
    throw refused(signer ? 'two principals of that id have the key' : 'no key of the client verifies it');
  }

  async #signedWith(
    { credentials }: ManifestPrincipal,
    token: UnverifiedToken,
    now: number,
  ): Promise<KeyCredential | undefined> {
    for (const each of credentials)
      if (
        ('jwks' in each || 'jwks_uri' in each) &&
        isGood(each, now) &&
        (await this.#verifies(each, token, now))
      )
        return each;
    return undefined;
  }

  async #verifies(credential: KeyCredential, token: UnverifiedToken, now: number): Promise<boolean> {
    const { alg = '', kid } = token.header as { alg?: string; kid?: string };
    for await (const key of this.#keysOf(credential).candidates(alg, kid)) {
      try {
        const options = { algorithms: [alg], clockTolerance: CLOCK_TOLERANCE, currentDate: new Date(now) };
        await jwtVerify(token.text, key, { ...options, requiredClaims: ['exp'] });
        return true;
      } catch (cause) {
        if (cause instanceof errors.JWSSignatureVerificationFailed) continue;
        if (cause instanceof errors.JOSEError) throw refused(cause.message, cause);
        throw cause;
      }
    }
    return false;
  }

  #keysOf(credential: KeyCredential): KeySet {
    const known = this.#keys.get(credential);
    if (known) return known;
    const fetch =
      'jwks' in credential
        ? () => Promise.resolve(credential.jwks)
        : () => this.#fetchKeys(credential.jwks_uri);
    const keys = new KeySet(fetch, this.#monotonic);
    this.#keys.set(credential, keys);
    return keys;
  }

  async #takeOnce(tenant: Tenant, { principal }: Holder, { jti, exp, iat }: JWTPayload): Promise<void> {
    const now = this.#clock() / 1_000;
    if (typeof jti !== 'string' || jti === '' || jti.length > MAX_ID) throw refused('it has no jti');
    if (exp === undefined || !(exp < now + MAX_LIFETIME + CLOCK_TOLERANCE))
      throw refused(`it is good for longer than ${MAX_LIFETIME} seconds`);
    if (iat !== undefined && !(iat <= now + CLOCK_TOLERANCE)) throw refused('it was made in the future');
    const { value } = await this.#writer.run('takeOnce', {
      tenantNo: tenant.no,
      name: hash('sha256', JSON.stringify(['assertion', principalKey(principal), jti]), 'buffer'),
      until: Math.ceil((exp + 2 * CLOCK_TOLERANCE) * 1_000),
      at: this.#clock(),
    });
    if (value === undefined) throw refused('it was used before');
  }
}

function read(text: string): UnverifiedToken {
  let token: UnverifiedToken;
  try {
    token = readToken(text);
  } catch (cause) {
    throw refused('it is no signed JWT', cause);
  }
  const { alg, typ } = token.header as { alg?: string; typ?: string };
  if (alg === undefined || !ASSERTION_ALGORITHMS.includes(alg)) throw refused('its algorithm is not taken');
  if (!TYPES.has(typ?.toLowerCase())) throw refused('it is of another type');
  return token;
}

/** An outsider hears the same of every one, so that none tells which clients and keys there are. */
const refused = (detail: string, cause?: unknown): ServiceError =>
  new ServiceError('unauthenticated', 'the credential is not valid in this tenant', {
    detail: `client assertion: ${detail}`,
    ...(cause !== undefined && { cause }),
  });
