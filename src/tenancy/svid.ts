import { ServiceError } from '../errors.ts';
import type { UnverifiedJwt } from './jose.ts';

/**
 * JWT-SVIDs that name no issuer (SPIFFE JWT-SVID sections 2 and 3): then the trust domain of `sub` stands for it, by the
 * name `spiffe://<trust domain>`, and its bundle has the keys.
 */

const TRUST_DOMAIN = /^spiffe:\/\/[a-z0-9._-]{1,255}$/;
/** SPIFFE-ID section 2: no empty segment, and none that is relative. */
const ID = /^(spiffe:\/\/[a-z0-9._-]{1,255})((?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._-]+)+)$/;
const MAX_ID = 2_048;

/** Of an issuer as a tenant declares it. */
export const isTrustDomain = (issuer: string): boolean => TRUST_DOMAIN.test(issuer);
export const isSpiffe = (issuer: string): boolean => /^spiffe:/i.test(issuer);

/** The trust domain that a token without `iss` is of; undefined where its subject is no SPIFFE id. */
export function trustDomainIn({ claims }: UnverifiedJwt): string | undefined {
  const { sub } = claims;
  if (typeof sub !== 'string' || sub.length > MAX_ID) return undefined;
  return ID.exec(sub)?.[1];
}

/**
 * What is of a trust domain names no other issuer, and is of a type that a JWT-SVID may have (section 2.1). Throws
 * `token_invalid`.
 */
export function checkSvid({ header, claims }: UnverifiedJwt): void {
  const { typ } = header;
  if (Object.hasOwn(claims, 'iss'))
    throw new ServiceError('token_invalid', 'a JWT-SVID of a trust domain has no iss');
  if (typ !== undefined && typ !== 'JWT' && typ !== 'JOSE')
    throw new ServiceError('token_invalid', 'the token is of no type that a JWT-SVID has');
}
