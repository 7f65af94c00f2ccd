import { createPublicKey, hash, type JsonWebKey, type KeyObject, sign, verify } from 'node:crypto';
import { fromBase64, toBase64 } from './base64.ts';

/**
 * C2SP signed-note, signature types: a log's own signature, a witness's with the time, and one of ML-DSA-44 with the time
 * (C2SP tlog-cosignature), which no quantum computer forges.
 */
export const SignatureType = { ED25519: 0x01, COSIGNATURE: 0x04, ML_DSA_44: 0x06 } as const;
export type SignatureType = (typeof SignatureType)[keyof typeof SignatureType];

const ID_BYTES = 4;

interface Algorithm {
  /** As Node calls it. */
  readonly type: string;
  /** Of a public key. */
  readonly bytes: number;
  readonly jwkOf: (key: string) => JsonWebKey;
}

/** RFC 8032, RFC 8037. */
const ED25519: Algorithm = {
  type: 'ed25519',
  bytes: 32,
  jwkOf: (x) => ({ kty: 'OKP', crv: 'Ed25519', x }),
};

/** FIPS 204. */
const ML_DSA_44: Algorithm = {
  type: 'ml-dsa-44',
  bytes: 1_312,
  jwkOf: (pub) => ({ kty: 'AKP', alg: 'ML-DSA-44', pub }),
};

const algorithms = {
  [SignatureType.ED25519]: ED25519,
  [SignatureType.COSIGNATURE]: ED25519,
  [SignatureType.ML_DSA_44]: ML_DSA_44,
} as const satisfies Record<SignatureType, Algorithm>;

const isKnown = (type: number | undefined): type is SignatureType =>
  type !== undefined && Object.hasOwn(algorithms, type);

/** What a signature is verified by. */
export interface VerifierKey {
  /** Without spaces and `+`. */
  readonly name: string;
  readonly id: Uint8Array;
  readonly type: SignatureType;
  readonly publicKey: KeyObject;
}

/** What signs. */
export interface SignerKey extends VerifierKey {
  readonly privateKey: KeyObject;
}

/** The key of a pair under a name. Throws for a name that a note cannot hold, and for a key of another algorithm. */
export function verifierKey(name: string, type: SignatureType, publicKey: KeyObject): VerifierKey {
  if (publicKey.asymmetricKeyType !== algorithms[type].type)
    throw new Error(`the key of ${name} is none of ${algorithms[type].type}`);
  if (!isKeyName(name)) throw new Error(`${JSON.stringify(name)} cannot be the name of a key`);
  return { name, type, publicKey, id: idOf(name, type, rawOf(publicKey)) };
}

/** `name+id+key`, as `mandate audit key` prints it. */
export function vkeyOf({ name, id, type, publicKey }: VerifierKey): string {
  const material = Buffer.concat([Buffer.of(type), rawOf(publicKey)]);
  return `${name}+${Buffer.from(id).toString('hex')}+${toBase64(material)}`;
}

/** Throws, in its user's words, for what is no verifier key of a type known here. */
export function parseVkey(text: string): VerifierKey {
  // The key itself may hold a `+`, as base64 does.
  const [name = '', id = '', ...encoded] = text.split('+');
  const material = fromBase64(encoded.join('+'));
  if (!isKeyName(name) || !/^[0-9a-f]{8}$/.test(id) || !material?.length)
    throw new Error('a verifier key is name+id+key');
  const [type] = material;
  if (!isKnown(type))
    throw new Error(
      `the verifier key ${name} is of type ${type}; known are 1 and 4, of Ed25519, and 6, of ML-DSA-44`,
    );
  const raw = material.subarray(1);
  const { bytes } = algorithms[type];
  if (raw.length !== bytes) throw new Error(`the verifier key ${name} is not of ${bytes} bytes`);
  const key = verifierKey(name, type, publicKeyOf(type, raw));
  if (Buffer.from(key.id).toString('hex') !== id)
    throw new Error(`the verifier key ${name} does not have the id ${id}: a part of it was changed`);
  return key;
}

export const signWith = ({ privateKey }: SignerKey, message: Uint8Array): Uint8Array =>
  sign(null, message, privateKey);

export const isSignedBy = ({ publicKey }: VerifierKey, message: Uint8Array, signature: Uint8Array): boolean =>
  verify(null, message, publicKey, signature);

/** C2SP signed-note: neither empty nor with what ends it, nor with a control character, which no note has. */
export const isKeyName = (name: string): boolean =>
  name !== '' && !/[\p{White_Space}+[\p{Cc}--[\x7f-\x9f]]]/v.test(name) && name.isWellFormed();

const idOf = (name: string, type: SignatureType, raw: Uint8Array): Uint8Array =>
  hash('sha256', Buffer.concat([Buffer.from(`${name}\n`), Buffer.of(type), raw]), 'buffer').subarray(
    0,
    ID_BYTES,
  );

/** The bytes of a public key. */
export function rawOf(publicKey: KeyObject): Uint8Array {
  const { x, pub = x } = publicKey.export({ format: 'jwk' });
  return Buffer.from(typeof pub === 'string' ? pub : '', 'base64url');
}

const publicKeyOf = (type: SignatureType, raw: Uint8Array): KeyObject =>
  createPublicKey({
    format: 'jwk',
    key: algorithms[type].jwkOf(Buffer.from(raw).toString('base64url')),
  });
