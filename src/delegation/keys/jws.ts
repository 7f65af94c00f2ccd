import { sign, verify } from 'node:crypto';
import { promisify } from 'node:util';
import type { UnverifiedJwt } from '../../tenancy/jose.ts';
import type { SigningKey, VerifyingKey } from './signing-key.ts';

const signElsewhere = promisify(sign);
const verifyElsewhere = promisify(verify);

/**
 * The claims as a signed JWT in compact form (RFC 7515 section 7.1). ES256 and EdDSA are signed at once: to hand one
 * over to another thread and back costs as much as to sign it. RS256 takes ten times as long, and goes there.
 */
export async function signJwt(
  { alg, kid, privateKey }: SigningKey,
  typ: string,
  claims: Readonly<Record<string, unknown>>,
): Promise<string> {
  const signed = `${encoded({ alg, kid, typ })}.${encoded(claims)}`;
  const bytes = Buffer.from(signed);
  const signature =
    alg === 'RS256'
      ? await signElsewhere('sha256', bytes, privateKey)
      : sign(digestOf(alg), bytes, privateKey);
  return `${signed}.${signature.toString('base64url')}`;
}

/**
 * Whether the key signed it, by the algorithm that is the key's own: what the header says is compared with it and never
 * followed (RFC 8725 section 3.1).
 */
export async function isSignedBy({ alg, publicKey }: VerifyingKey, jwt: UnverifiedJwt): Promise<boolean> {
  if (jwt.header['alg'] !== alg) return false;
  const end = jwt.text.lastIndexOf('.');
  const signed = Buffer.from(jwt.text.slice(0, end), 'latin1');
  const signature = Buffer.from(jwt.text.slice(end + 1), 'base64url');
  return await verifyElsewhere(digestOf(alg), signed, publicKey, signature);
}

const digestOf = (alg: string): string | null => (alg === 'EdDSA' ? null : 'sha256');

const encoded = (members: object): string => Buffer.from(JSON.stringify(members)).toString('base64url');
