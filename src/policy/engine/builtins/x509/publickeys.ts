import { constants, createPublicKey, type KeyObject, verify } from 'node:crypto';
import { fromBigInt } from '../../values/numbers.ts';
import { RegoObject, type Value } from '../../values/values.ts';
import { type BuiltinContext, BuiltinError } from '../builtin.ts';
import { unitsOf } from '../data/jwt.ts';
import { bigOf } from '../signing/ecdsa.ts';
import { DerReader, tag } from './der.ts';

/** Fuel units to read a key: measured, 30 to 90 µs. */
const unitsPerKey = 60_000;
const unitsPerByte = 16;
const shortestModulus = 1_024;
const largestExponent = 2n ** 31n - 1n;
const largestInt = 2n ** 63n - 1n;

/** The curves that Go knows, by their identifiers, with the bytes of a coordinate. */
export const curveSizes: Readonly<Record<string, number>> = {
  '1.3.132.0.33': 28,
  '1.2.840.10045.3.1.7': 32,
  '1.3.132.0.34': 48,
  '1.3.132.0.35': 66,
};

/** Go's numbers of public key algorithms; 0 is none that it knows. */
export const keyAlgorithms: Readonly<Record<string, number>> = {
  '1.2.840.113549.1.1.1': 1,
  '1.2.840.10040.4.1': 2,
  '1.2.840.10045.2.1': 3,
  '1.3.101.112': 4,
};

export interface PublicKey {
  readonly algorithm: number;
  /** As Go's JSON has it; null for one it does not know. */
  readonly value: Value;
  /** For signatures; of what Go verifies none by it is undefined. */
  readonly load: (() => KeyObject) | undefined;
}

/** A SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7). @throws BuiltinError for one that Go does not parse */
export function readPublicKey(whole: Buffer, context: BuiltinContext): PublicKey {
  context.spend(whole.length * unitsPerByte);
  const info = new DerReader(whole).enter(tag.sequence);
  const algorithm = info.enter(tag.sequence);
  const identifier = algorithm.identifier().join('.');
  const parameters = algorithm.isEmpty ? Buffer.alloc(0) : algorithm.read().whole;
  const data = info.bits();
  const number = keyAlgorithms[identifier] ?? 0;
  const load = (): KeyObject => importSpki(whole, context);
  if (number === 1)
    return { algorithm: number, value: readRsa(parameters, data), load: rsaLoader(data, load) };
  if (number === 2) return { algorithm: number, value: readDsa(parameters, data), load: undefined };
  if (number === 3) return { algorithm: number, value: readPoint(parameters, data, load), load };
  if (number === 4) {
    if (parameters.length > 0 || data.length !== 32) throw new BuiltinError('not a key of Ed25519');
    return { algorithm: number, value: data.toString('base64'), load };
  }
  return { algorithm: 0, value: null, load: undefined };
}

function importSpki(whole: Buffer, context: BuiltinContext): KeyObject {
  context.spend(unitsPerKey);
  try {
    return createPublicKey({ key: whole, format: 'der', type: 'spki' });
  } catch (cause) {
    throw new BuiltinError('not a public key', { cause });
  }
}

function readRsa(parameters: Buffer, data: Buffer): Value {
  if (!parameters.equals(Buffer.of(5, 0))) throw new BuiltinError('the parameters are not NULL');
  const { modulus, exponent } = rsaParts(data);
  if (modulus <= 0n || exponent <= 0n || exponent > largestInt) throw new BuiltinError('not a key of RSA');
  return new RegoObject([
    ['N', fromBigInt(modulus)],
    ['E', fromBigInt(exponent)],
  ]);
}

function rsaParts(data: Buffer): { modulus: bigint; exponent: bigint } {
  const key = new DerReader(data).enter(tag.sequence);
  return { modulus: key.integer(), exponent: key.integer() };
}

/** Go verifies with no exponent of more than 31 bits, and with no modulus that is short. */
function rsaLoader(data: Buffer, load: () => KeyObject): (() => KeyObject) | undefined {
  const { modulus, exponent } = rsaParts(data);
  const isUsable =
    modulus.toString(2).length >= shortestModulus && modulus % 2n === 1n && exponent <= largestExponent;
  return isUsable && exponent > 1n ? load : undefined;
}

function readDsa(parameters: Buffer, data: Buffer): Value {
  const y = new DerReader(data).integer();
  const reader = new DerReader(parameters).enter(tag.sequence);
  const [p, q, g] = [reader.integer(), reader.integer(), reader.integer()];
  if ([y, p, q, g].some((each) => each <= 0n)) throw new BuiltinError('not a key of DSA');
  return new RegoObject([
    ['P', fromBigInt(p)],
    ['Q', fromBigInt(q)],
    ['G', fromBigInt(g)],
    ['Y', fromBigInt(y)],
  ]);
}

/** A point that is on its curve, which loading it checks. */
function readPoint(parameters: Buffer, data: Buffer, load: () => KeyObject): Value {
  const size = curveSizes[new DerReader(parameters).identifier().join('.')];
  if (size === undefined || data[0] !== 4 || data.length !== 1 + 2 * size)
    throw new BuiltinError('not a point of a known curve');
  load();
  return pointValue(data.subarray(1, 1 + size), data.subarray(1 + size));
}

export const pointValue = (x: Buffer, y: Buffer): RegoObject =>
  new RegoObject([
    ['Curve', new RegoObject()],
    ['X', fromBigInt(bigOf(x))],
    ['Y', fromBigInt(bigOf(y))],
  ]);

/** Go's numbers of signature algorithms that certificates are verified by: the key's, the hash, and the padding. */
const signatures: Readonly<
  Record<number, { readonly key: number; readonly hash: string | null; readonly isPss?: true }>
> = {
  4: { key: 1, hash: 'sha256' },
  5: { key: 1, hash: 'sha384' },
  6: { key: 1, hash: 'sha512' },
  10: { key: 3, hash: 'sha256' },
  11: { key: 3, hash: 'sha384' },
  12: { key: 3, hash: 'sha512' },
  13: { key: 1, hash: 'sha256', isPss: true },
  14: { key: 1, hash: 'sha384', isPss: true },
  15: { key: 1, hash: 'sha512', isPss: true },
  16: { key: 4, hash: null },
};

/** Signatures with MD5 and SHA-1 are none. */
export function isSignedBy(
  key: PublicKey,
  signatureAlgorithm: number,
  signed: Buffer,
  signature: Buffer,
  context: BuiltinContext,
): boolean {
  const used = signatures[signatureAlgorithm];
  if (!used || used.key !== key.algorithm || !key.load) return false;
  const loaded = key.load();
  context.spend(unitsOf(loaded) + signed.length * unitsPerByte);
  const padding = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };
  return verify(used.hash, signed, { key: loaded, ...(used.isPss ? padding : {}) }, signature);
}
