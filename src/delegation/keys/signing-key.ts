import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from 'jose';
import { storedJson } from '../../storage/faults.ts';
import type { KeyRow } from '../../storage/rows.ts';
import type { KeyAlgorithm } from '../../tenancy/keys-declared.ts';
import type { KeyFacts } from './lifecycle.ts';

/** A key of a tenant, as far as it may be known here. */
export interface VerifyingKey extends KeyFacts {
  readonly publicKey: KeyObject;
  readonly publicJwk: JWK;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
}

/** The one that signs. */
export interface SigningKey extends VerifyingKey {
  readonly privateKey: KeyObject;
}

export interface NewKey {
  readonly kid: string;
  readonly publicJwk: string;
  /** A JWK, to be sealed. */
  readonly privateJwk: string;
}

/** EdDSA is Ed25519 (RFC 8037), and an RSA key has 2,048 bits, the least that RS256 may have (RFC 7518 section 3.3). */
export async function newKey(algorithm: KeyAlgorithm): Promise<NewKey> {
  const pair = await generateKeyPair(algorithm, { extractable: true, modulusLength: 2_048 });
  const jwk = await exportJWK(pair.publicKey);
  const kid = await calculateJwkThumbprint(jwk);
  return {
    kid,
    publicJwk: JSON.stringify({ ...jwk, kid, alg: algorithm, use: 'sig' }),
    privateJwk: JSON.stringify(await exportJWK(pair.privateKey)),
  };
}

/** Throws for a key that is of another algorithm than it says. */
export function verifyingKey({ kid, alg, state, stateAt, createdAt, publicJwk }: KeyRow): VerifyingKey {
  const jwk = storedJson(publicJwk) as JWK;
  const publicKey = ofAlgorithm(alg, createPublicKey({ format: 'jwk', key: jwk }));
  return { kid, alg, state, stateAt, createdAt, publicJwk: jwk, publicKey };
}

/** Throws for a key that is of another algorithm than it says. */
export function signingKey(key: VerifyingKey, privateJwk: string): SigningKey {
  const privateKey = createPrivateKey({ format: 'jwk', key: JSON.parse(privateJwk) as JWK });
  return { ...key, privateKey: ofAlgorithm(key.alg, privateKey) };
}

function ofAlgorithm(alg: string, key: KeyObject): KeyObject {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  if (
    type === undefined ||
    type !== KEY_TYPES[alg] ||
    (type === 'ec' && details?.namedCurve !== 'prime256v1')
  )
    throw new Error(`a key for ${alg} is one of type ${type}`);
  return alg === 'ES256' ? Object.assign(key, P1363) : key;
}

/**
 * RFC 7518 section 3.4: the two numbers one after the other, not in DER. Node looks for it at whatever it is given as a
 * key; in an object of options beside the key it costs more to look at than half a signature.
 */
const P1363 = { dsaEncoding: 'ieee-p1363' } as const;

const KEY_TYPES: Readonly<Record<string, KeyObject['asymmetricKeyType']>> = {
  ES256: 'ec',
  EdDSA: 'ed25519',
  RS256: 'rsa',
};
