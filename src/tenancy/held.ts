import { timingSafeEqual } from 'node:crypto';
import { ServiceError } from '../errors.ts';

/** What whoever presents a token, or asks for one, is known to hold. */
export interface Held {
  /** RFC 7638 thumbprint of the key that its proof is by (RFC 9449). */
  readonly jkt?: string | undefined;
  /** Thumbprint of the certificate that its connection is by (RFC 8705 section 3.1): SHA-256 of its DER, base64url. */
  readonly x5tS256?: string | undefined;
}

/** RFC 9449 section 6.1, RFC 8705 section 3.1: of a confirmation (RFC 7800), what is known here and may be held. */
const members = { jkt: 'jkt', 'x5t#S256': 'x5tS256' } as const satisfies Record<string, keyof Held>;

/**
 * Whoever presents a token holds all that it is bound to, and a token is bound to what is known here. A proof of a key
 * is made for one token, and stands beside none that is not bound to it; a certificate is of the connection, whatever
 * is sent over it. Throws `token_invalid`.
 */
export function checkHeld(cnf: unknown, held: Held): void {
  if (cnf === undefined && held.jkt === undefined) return;
  const named = typeof cnf === 'object' && cnf !== null && !Array.isArray(cnf) ? Object.entries(cnf) : [];
  const isHeld = ([name, value]: [string, unknown]): boolean =>
    Object.hasOwn(members, name) && areEqual(value, held[members[name as keyof typeof members]]);
  const isKeyNamed = held.jkt === undefined || named.some(([name]) => name === 'jkt');
  if (named.length > 0 && named.every(isHeld) && isKeyNamed) return;
  throw new ServiceError(
    'token_invalid',
    cnf === undefined
      ? 'the token is bound to no key: present it as a bearer token'
      : 'a token that is bound to a key or a certificate is taken with that alone',
  );
}

/** In constant time where they are of one length. */
export function areEqual(one: unknown, other: string | undefined): boolean {
  if (typeof one !== 'string' || other === undefined) return false;
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}
