import { createECDH, createHash, createHmac } from 'node:crypto';
import { BuiltinError } from '../builtin.ts';

/**
 * ECDSA with the nonce of RFC 6979: a function of the key and the message, as a decision that is replayed has to give the
 * same signature. OpenSSL draws its own. The point is multiplied by OpenSSL, what is left is arithmetic modulo the order.
 * It takes a time that depends on the numbers: the key is one of the policy or of its input, which know it anyway.
 */

interface Curve {
  /** OpenSSL's name. */
  readonly name: string;
  /** Of the group. */
  readonly order: bigint;
}

/** By the name that JWKs have (RFC 7518 section 6.2.1.1). */
export const curves: Readonly<Record<string, Curve>> = {
  'P-256': {
    name: 'prime256v1',
    order: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  },
  'P-384': {
    name: 'secp384r1',
    order:
      0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
  },
  'P-521': {
    name: 'secp521r1',
    order:
      0x01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
  },
};

export const bigOf = (bytes: Uint8Array): bigint => BigInt(`0x0${Buffer.from(bytes).toString('hex')}`);

export const bytesOfBig = (value: bigint, length: number): Buffer =>
  Buffer.from(value.toString(16).padStart(length * 2, '0'), 'hex');

/** The signature as JWS has it: r and s, each as long as the order. @throws BuiltinError for a key that is none */
export function signDeterministically(
  curve: Curve,
  privateKey: bigint,
  hash: string,
  message: Uint8Array,
): Buffer {
  const { order, name } = curve;
  if (privateKey <= 0n || privateKey >= order) throw new BuiltinError('not a private key');
  const bits = order.toString(2).length;
  const length = Math.ceil(bits / 8);
  const digest = createHash(hash).update(message).digest();
  const hashed = leftmost(digest, bits) % order;
  for (const nonce of nonces(hash, bits, length, order, privateKey, hashed)) {
    const point = createECDH(name);
    point.setPrivateKey(bytesOfBig(nonce, length));
    const r = bigOf(point.getPublicKey().subarray(1, 1 + length)) % order;
    const s = (invert(nonce, order) * (hashed + r * privateKey)) % order;
    if (r !== 0n && s !== 0n) return Buffer.concat([bytesOfBig(r, length), bytesOfBig(s, length)]);
  }
  throw new BuiltinError('no signature');
}

/** The leftmost bits of some bytes, as many as the order has (bits2int). */
function leftmost(bytes: Uint8Array, bits: number): bigint {
  const extra = bytes.length * 8 - bits;
  return extra > 0 ? bigOf(bytes) >> BigInt(extra) : bigOf(bytes);
}

/** RFC 6979 section 3.2. */
function* nonces(
  hash: string,
  bits: number,
  length: number,
  order: bigint,
  privateKey: bigint,
  hashed: bigint,
): Generator<bigint> {
  const size = createHash(hash).digest().length;
  const mac = (key: Buffer, ...parts: readonly Uint8Array[]): Buffer =>
    createHmac(hash, key).update(Buffer.concat(parts)).digest();
  const seed = Buffer.concat([bytesOfBig(privateKey, length), bytesOfBig(hashed, length)]);
  let value: Buffer = Buffer.alloc(size, 1);
  let key: Buffer = Buffer.alloc(size, 0);
  for (const mark of [0, 1]) {
    key = mac(key, value, Buffer.of(mark), seed);
    value = mac(key, value);
  }
  for (;;) {
    let drawn: Buffer = Buffer.alloc(0);
    while (drawn.length < length) {
      value = mac(key, value);
      drawn = Buffer.concat([drawn, value]);
    }
    const nonce = leftmost(drawn.subarray(0, length), bits);
    if (nonce > 0n && nonce < order) yield nonce;
    key = mac(key, value, Buffer.of(0));
    value = mac(key, value);
  }
}

/** The inverse modulo a prime, by Euclid's algorithm. */
function invert(value: bigint, modulus: bigint): bigint {
  let [a, b, x, y] = [value % modulus, modulus, 1n, 0n];
  while (a > 1n) {
    const quotient = a / b;
    [a, b] = [b, a % b];
    [x, y] = [y, x - quotient * y];
  }
  return ((x % modulus) + modulus) % modulus;
}
