import { sign } from 'node:crypto';
import { promisify } from 'node:util';
import type { SigningKey } from './signing-key.ts';

const signElsewhere = promisify(sign);

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
      : alg === 'ES256'
        ? // RFC 7518 section 3.4: the two numbers one after the other, not in DER.
          sign('sha256', bytes, { key: privateKey, dsaEncoding: 'ieee-p1363' })
        : sign(null, bytes, privateKey);
  return `${signed}.${signature.toString('base64url')}`;
}

const encoded = (members: object): string => Buffer.from(JSON.stringify(members)).toString('base64url');
