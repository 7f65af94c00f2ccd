import { hash } from 'node:crypto';
import { type CryptoKey, errors, type JWTPayload, jwtVerify } from 'jose';
import { ServiceError } from '../errors.ts';
import { Generations } from '../generations.ts';
import type { TenantId } from '../ids.ts';
import { asTokenError, CLOCK_TOLERANCE, checkLasting } from './claims.ts';
import type { UnverifiedToken } from './jose.ts';
import type { KeySet } from './key-set.ts';
import type { TrustedIssuer } from './manifest.ts';
import { checkSvid, isSpiffe } from './svid.ts';

/** Of texts and claims, roughly. */
const KEPT_BYTES = 32 * 1024 * 1024;
const OVERHEAD = 512;

const CLAIMS = ['exp', 'iat', 'aud'];
/** JWT-SVID section 3. */
const SVID_CLAIMS = ['exp', 'sub', 'aud'];

interface Verified {
  readonly key: CryptoKey;
  /** The declaration that it was verified by; another one asks for other things. */
  readonly issuer: TrustedIssuer;
  readonly claims: JWTPayload;
}

/**
 * What issuers have signed. A token comes again and again while it lasts: its signature is verified once for as long as the
 * key is one of the issuer's, and its times each time.
 */
export class SignedTokens {
  /** By tenant, SHA-256 of the token, and the claims that were required. */
  readonly #verified = new Generations<string, Verified>(KEPT_BYTES);

  /**
   * The claims of a token that is of the issuer by signature, name and times (RFC 7519 section 7.2). Tries the keys that
   * may have signed it, one after the other. `now` in milliseconds since the epoch. Throws `token_invalid`,
   * `token_expired`, and what the keys reject with.
   */
  async claims(
    tenant: TenantId,
    issuer: TrustedIssuer,
    token: UnverifiedToken,
    required: readonly string[],
    keys: KeySet,
    now: number,
  ): Promise<JWTPayload> {
    const { alg, kid } = token.header as { alg?: string; kid?: string };
    if (alg === undefined || !(issuer.algorithms as readonly string[]).includes(alg))
      throw new ServiceError('token_invalid', 'the token is signed by an algorithm that is not taken');
    const isSvid = isSpiffe(issuer.issuer);
    if (isSvid) checkSvid(token);
    const name = `${tenant} ${hash('sha256', token.text, 'base64')} ${required.join(' ')}`;
    const known = this.#verified.get(name);
    for await (const key of keys.candidates(alg, kid)) {
      if (known?.key === key && known.issuer === issuer) {
        checkLasting(known.claims, now);
        return known.claims;
      }
      try {
        const { payload } = await jwtVerify(token.text, key, {
          ...(!isSvid && { issuer: issuer.issuer }),
          algorithms: issuer.algorithms,
          requiredClaims: [...(isSvid ? SVID_CLAIMS : CLAIMS), ...required],
          clockTolerance: CLOCK_TOLERANCE,
          currentDate: new Date(now),
        });
        this.#verified.set(name, { key, issuer, claims: payload }, OVERHEAD + 3 * token.text.length);
        return payload;
      } catch (cause) {
        if (!(cause instanceof errors.JWSSignatureVerificationFailed)) throw asTokenError(cause);
      }
    }
    throw new ServiceError('token_invalid', 'the token is not valid', {
      detail: `no key of ${issuer.issuer} verifies it`,
    });
  }
}
