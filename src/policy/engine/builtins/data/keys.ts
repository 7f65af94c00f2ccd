import { createPublicKey, createSecretKey, type KeyObject, X509Certificate } from 'node:crypto';
import { FuelExhausted } from '../../failure.ts';
import type { Value } from '../../values/values.ts';
import { type BuiltinContext, BuiltinError, text } from '../builtin.ts';

/** Fuel units to read a key: measured, 30 to 90 µs. */
const unitsPerKey = 60_000;
const unitsPerByte = 16;

export interface VerificationKey {
  readonly key: KeyObject;
  readonly alg: string | undefined;
  readonly kid: string | undefined;
}

/** A PEM certificate or public key, a JWK, or a set of them. */
export function parseKeys(value: string, context: BuiltinContext): VerificationKey[] {
  context.spend(value.length * unitsPerByte);
  try {
    if (value.trimStart().startsWith('-----BEGIN')) {
      context.spend(unitsPerKey);
      return [fromPem(value)];
    }
    const parsed = JSON.parse(value) as { keys?: JsonWebKeyFields[] } & JsonWebKeyFields;
    return (parsed.keys ?? [parsed]).flatMap((fields) => {
      context.spend(unitsPerKey);
      const key = fromJwk(fields);
      return key.alg === undefined || usable.test(key.alg) ? [key] : [];
    });
  } catch (cause) {
    if (cause instanceof BuiltinError || cause instanceof FuelExhausted) throw cause;
    throw new BuiltinError('not a key', { cause });
  }
}

interface JsonWebKeyFields extends Record<string, unknown> {
  readonly kid?: string;
  readonly alg?: string;
}

function fromPem(pem: string): VerificationKey {
  if (!/-----END [A-Z ]+-----$/.test(pem.trimEnd()) || pem.split('-----BEGIN').length > 2)
    throw new BuiltinError('extra data after a PEM block');
  const isCertificate = pem.includes('-----BEGIN CERTIFICATE-----');
  if (!isCertificate && !pem.includes('-----BEGIN PUBLIC KEY-----'))
    throw new BuiltinError('not a public key');
  const key = isCertificate ? new X509Certificate(pem).publicKey : createPublicKey(pem);
  return { key, alg: undefined, kid: undefined };
}

/** The algorithms of OPA; keys for others of the registry are left out, and what is none makes the set unusable. */
const usable = /^(?:(?:HS|RS|PS|ES)(?:256|384|512)|EdDSA)$/;
const registered =
  /^(?:ES256K|EdDSA|none|dir|RSA1_5|RSA-OAEP(?:-(?:256|384|512))?|(?:ECDH-ES\+)?A(?:128|192|256)(?:GC)?KW|ECDH-ES|PBES2-HS(?:256\+A128|384\+A192|512\+A256)KW)$/;

function fromJwk(fields: JsonWebKeyFields): VerificationKey {
  const alg = fields.alg === undefined ? undefined : text(fields.alg);
  if (alg !== undefined && alg !== '' && !usable.test(alg) && !registered.test(alg))
    throw new BuiltinError('not an algorithm');
  // A secret verifies nothing but what io.jwt.decode_verify takes for signed with it.
  const key =
    fields['kty'] === 'oct'
      ? createSecretKey(Buffer.from(text(fields['k'] as Value | undefined), 'base64url'))
      : createPublicKey({ key: fields, format: 'jwk' });
  return { key, alg: alg || undefined, kid: fields.kid };
}
