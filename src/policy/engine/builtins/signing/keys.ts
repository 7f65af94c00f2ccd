import { createPrivateKey, type KeyObject } from 'node:crypto';
import { type BuiltinContext, BuiltinError } from '../builtin.ts';
import { bigOf } from './ecdsa.ts';

/** Fuel units to read a key, and per byte of its text. */
const unitsPerKey = 100_000;
const unitsPerByte = 24;
/** What a private RSA operation multiplies, as a cube of its bits: measured, 0.7 ms for 2,048. */
const cubedBitsPerUnit = 3_000;
/** Go refuses shorter ones, and exponents of more than 31 bits; OpenSSL refuses longer ones. */
const shortestModulus = 1_024;
const longestModulus = 16_384;
const largestExponent = 2n ** 31n - 1n;

export type Jwk = Readonly<Record<string, unknown>>;

export interface SigningKey {
  readonly type: 'oct' | 'RSA' | 'EC' | 'OKP';
  readonly fields: Jwk;
}

/** A JWK, or the first one of a set. @throws BuiltinError for what is none */
export function parseSigningKey(json: string, context: BuiltinContext): SigningKey {
  context.spend(unitsPerKey + json.length * unitsPerByte);
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch (cause) {
    throw new BuiltinError('not a JWK', { cause });
  }
  const set = isObject(parsed) ? parsed['keys'] : undefined;
  const first: unknown = Array.isArray(set) ? set[0] : parsed;
  if (!isObject(first)) throw new BuiltinError('not a JWK');
  const type = first['kty'];
  if (type !== 'oct' && type !== 'RSA' && type !== 'EC' && type !== 'OKP')
    throw new BuiltinError('not a JWK');
  return { type, fields: first };
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A member that is bytes in base64url. @throws BuiltinError if it is not there */
export function bytesIn(fields: Jwk, name: string): Buffer {
  const value = fields[name];
  if (typeof value !== 'string' || !/^[A-Za-z0-9+/_-]*={0,2}$/.test(value))
    throw new BuiltinError(`${name} is missing`);
  return Buffer.from(value, 'base64url');
}

/**
 * The private key, whose parts must be those of one another: OpenSSL would find out after it has signed, and sign again
 * at four times the time.
 */
export function rsaKey(fields: Jwk, context: BuiltinContext): KeyObject {
  const modulus = bytesIn(fields, 'n');
  const bits = bigOf(modulus).toString(2).length;
  if (bits < shortestModulus || bits > longestModulus)
    throw new BuiltinError('the modulus is too short or too long');
  context.spend(bits ** 3 / cubedBitsPerUnit);
  const [e, d, p, q] = ['e', 'd', 'p', 'q'].map((name) => bigOf(bytesIn(fields, name))) as [
    bigint,
    bigint,
    bigint,
    bigint,
  ];
  if (p < 3n || q < 3n || p * q !== bigOf(modulus) || e < 3n || e > largestExponent || d >= bigOf(modulus))
    throw new BuiltinError('not a private key');
  if ((d * e) % (p - 1n) !== 1n || (d * e) % (q - 1n) !== 1n) throw new BuiltinError('not a private key');
  const encode = (value: bigint): string => {
    const hex = value.toString(16);
    return Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex').toString('base64url');
  };
  const inverse = invertBy(q, p);
  const parts = { dp: encode(d % (p - 1n)), dq: encode(d % (q - 1n)), qi: encode(inverse) };
  return importKey({ ...fields, ...parts, kty: 'RSA' });
}

/** @throws BuiltinError for a key that OpenSSL does not take */
export function importKey(fields: Jwk): KeyObject {
  try {
    return createPrivateKey({ key: fields, format: 'jwk' });
  } catch (cause) {
    throw new BuiltinError('not a private key', { cause });
  }
}

function invertBy(value: bigint, modulus: bigint): bigint {
  let [a, b, x, y] = [value % modulus, modulus, 1n, 0n];
  while (a > 1n) {
    if (b === 0n) throw new BuiltinError('not a private key');
    const quotient = a / b;
    [a, b] = [b, a % b];
    [x, y] = [y, x - quotient * y];
  }
  return ((x % modulus) + modulus) % modulus;
}
