import { createHmac, hash } from 'node:crypto';
import { calculateJwkThumbprint, compactVerify, type JWK } from 'jose';
import type { Clock } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import type { TenantNo } from '../../storage/rows.ts';
import type { Writer } from '../../storage/writer.ts';
import { areEqual } from '../../tenancy/held.ts';
import { readJwt, type UnverifiedJwt } from '../../tenancy/jose.ts';
import { keysIn } from '../../tenancy/key-set.ts';

/** RFC 9449 section 5.1: what a proof may be signed with. */
export const DPOP_ALGORITHMS = ['ES256', 'ES384', 'EdDSA', 'Ed25519', 'RS256', 'PS256'];

/** How old a proof may be, and how far ahead its clock, in seconds (section 11.1). */
const MAX_AGE = 60;
const TOLERANCE = 30;
const MAX_ID = 256;
/** How long a nonce is given out, in milliseconds; it is taken for as long again (section 8). */
const NONCE_PERIOD = 180_000;

/** RFC 7518 section 6: members that only a private or a symmetric key has. */
const SECRET_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];

/** A request that a proof came with. */
export interface Proven {
  readonly proof: string;
  /** The method of the request, and where it went: its address without query and fragment counts (section 4.3). */
  readonly method: string;
  readonly uri: string;
  /** The access token that came beside it; a request for one has none. */
  readonly accessToken?: string | undefined;
  /**
   * `required`: it must hold one of ours. `ours`: if it holds one it is ours. `theirs`: it is the business of whom the
   * request went to.
   */
  readonly nonce: 'required' | 'ours' | 'theirs';
}

/** Verifies proofs of possession of a key (DPoP, RFC 9449). */
export class DpopProofs {
  readonly #writer: Pick<Writer, 'run'>;
  readonly #clock: Clock;
  /** Of this process alone: what was given out before it is not taken. */
  readonly #nonceKey: Uint8Array;

  /** `nonceKey`: 32 random bytes. */
  constructor(options: { writer: Pick<Writer, 'run'>; clock: Clock; nonceKey: Uint8Array }) {
    this.#writer = options.writer;
    this.#clock = options.clock;
    this.#nonceKey = options.nonceKey;
  }

  /**
   * The thumbprint (RFC 7638) of the key that the request is proven to hold. A proof is taken once, across restarts too.
   * Rejects with `dpop_invalid`, `dpop_nonce_required`, or `unavailable` where the store takes nothing.
   */
  async verify(tenantNo: TenantNo, asked: Proven): Promise<string> {
    const { header, claims, text } = read(asked.proof);
    if (header['typ'] !== 'dpop+jwt') throw invalid('its type is not dpop+jwt');
    const { alg, jwk } = header as { alg?: string; jwk?: JWK };
    if (alg === undefined || !DPOP_ALGORITHMS.includes(alg)) throw invalid('its algorithm is not taken');
    const thumbprint = await this.#signedBy(text, alg, jwk);
    this.#checkClaims(claims, asked);
    await this.#takeOnce(tenantNo, thumbprint, claims);
    return thumbprint;
  }

  /** What a client is to put into its next proof. */
  nonce(): string {
    return this.#nonceOf(Math.floor(this.#clock() / NONCE_PERIOD));
  }

  async #signedBy(text: string, alg: string, jwk: JWK | undefined): Promise<string> {
    if (typeof jwk !== 'object' || jwk === null || SECRET_MEMBERS.some((name) => Object.hasOwn(jwk, name)))
      throw invalid('its header holds no public key');
    const [key] = keysIn({ keys: [jwk] });
    const imported = key?.verifies(alg) ? await key.imported(alg) : undefined;
    if (!imported) throw invalid('its key is none for its algorithm');
    await compactVerify(text, imported, { algorithms: [alg] }).catch((cause: unknown) => {
      throw invalid('its key does not verify it', cause);
    });
    return await calculateJwkThumbprint(jwk, 'sha256');
  }

  #checkClaims(claims: Readonly<Record<string, unknown>>, asked: Proven): void {
    const { htm, htu, iat, ath, nonce } = claims;
    if (htm !== asked.method) throw invalid('htm is another method');
    const address = typeof htu === 'string' ? addressOf(htu) : undefined;
    if (address === undefined || address !== addressOf(asked.uri)) throw invalid('htu is another address');
    const now = this.#clock() / 1_000;
    if (typeof iat !== 'number' || !(iat > now - MAX_AGE - TOLERANCE && iat < now + TOLERANCE))
      throw invalid('iat is not about now');
    if (
      asked.accessToken === undefined
        ? ath !== undefined
        : ath !== hash('sha256', asked.accessToken, 'base64url')
    )
      throw invalid('ath is not the hash of the token that came with it');
    if (asked.nonce === 'theirs' || (nonce === undefined && asked.nonce === 'ours')) return;
    if (typeof nonce !== 'string' || !this.#isOurs(nonce))
      throw new ServiceError('dpop_nonce_required', 'the proof is to hold the nonce that this answer gives', {
        // RFC 9449 section 8.
        fields: { 'dpop-nonce': this.nonce() },
      });
  }

  async #takeOnce(
    tenantNo: TenantNo,
    thumbprint: string,
    { jti, iat }: Readonly<Record<string, unknown>>,
  ): Promise<void> {
    if (typeof jti !== 'string' || jti === '' || jti.length > MAX_ID) throw invalid('it has no jti');
    const { value } = await this.#writer.run('takeOnce', {
      tenantNo,
      name: hash('sha256', JSON.stringify(['dpop', thumbprint, jti]), 'buffer'),
      until: Math.ceil(((iat as number) + MAX_AGE + 2 * TOLERANCE) * 1_000),
      at: this.#clock(),
    });
    if (value === undefined) throw invalid('it was used before');
  }

  #isOurs(nonce: string): boolean {
    const period = Math.floor(this.#clock() / NONCE_PERIOD);
    return [period, period - 1].some((each) => areEqual(nonce, this.#nonceOf(each)));
  }

  #nonceOf(period: number): string {
    return createHmac('sha256', this.#nonceKey).update(String(period)).digest('base64url');
  }
}

function read(proof: string): UnverifiedJwt {
  try {
    return readJwt(proof);
  } catch (cause) {
    throw invalid('it is no signed JWT', cause);
  }
}

/** What a parser would take away: who it is for, a way up, a slash that is none. */
const ODD = /[\\@\s]|\/\.{1,2}(?:[/?#]|$)|%2e/i;

/**
 * Without query and fragment, as RFC 3986 sections 6.2.2 and 6.2.3 have it written; undefined for what is none, and for
 * what others may read otherwise.
 */
function addressOf(uri: string): string | undefined {
  const [place = ''] = uri.split(/[?#]/, 1);
  const url = URL.parse(place);
  if (!url || ODD.test(place) || (url.protocol !== 'https:' && url.protocol !== 'http:')) return undefined;
  return `${url.origin}${url.pathname}`;
}

/** Of a token that is bound to a key, or is not, and that came with a key, or none. */
export function notHeld(isBound: boolean, jkt: string | undefined): ServiceError {
  if (!isBound)
    return new ServiceError('dpop_invalid', 'the token is bound to no key: present it as a bearer token');
  const what = jkt === undefined ? 'it comes with a DPoP proof' : 'the proof is of another key';
  return new ServiceError('dpop_invalid', `the token is bound to a key: ${what}`);
}

const invalid = (detail: string, cause?: unknown): ServiceError =>
  new ServiceError('dpop_invalid', `the DPoP proof is not valid: ${detail}`, {
    ...(cause !== undefined && { cause }),
  });
