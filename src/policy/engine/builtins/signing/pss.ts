import { constants, createHash, type KeyObject, privateEncrypt } from 'node:crypto';
import { BuiltinError } from '../builtin.ts';

/**
 * RSASSA-PSS with a salt that is given (RFC 8017 section 8.1.1): OpenSSL draws its own, and a replay has to give the same
 * signature. The salt is as long as the hash (RFC 7518 section 3.5).
 */
export function signPss(key: KeyObject, hash: string, salt: Buffer, message: Uint8Array): Buffer {
  const bits = (key.asymmetricKeyDetails?.modulusLength ?? 0) - 1;
  const encoded = encode(hash, salt, message, bits);
  // One bit more than a multiple of eight: the encoded message is a byte shorter than the modulus.
  const padded = Buffer.concat([Buffer.alloc(Math.ceil((bits + 1) / 8) - encoded.length), encoded]);
  return privateEncrypt({ key, padding: constants.RSA_NO_PADDING }, padded);
}

/** EMSA-PSS (RFC 8017 section 9.1.1). */
function encode(hash: string, salt: Buffer, message: Uint8Array, bits: number): Buffer {
  const digest = (...parts: readonly Uint8Array[]): Buffer =>
    createHash(hash).update(Buffer.concat(parts)).digest();
  const length = Math.ceil(bits / 8);
  const hashed = digest(Buffer.alloc(8), digest(message), salt);
  const padding = length - salt.length - hashed.length - 2;
  if (padding < 0) throw new BuiltinError('the key is too short');
  const block = Buffer.concat([Buffer.alloc(padding), Buffer.of(1), salt]);
  for (let at = 0, counter = 0; at < block.length; counter += 1) {
    const count = Buffer.alloc(4);
    count.writeUInt32BE(counter);
    for (const byte of digest(hashed, count)) {
      if (at < block.length) block[at] = (block[at] ?? 0) ^ byte;
      at += 1;
    }
  }
  block[0] = (block[0] ?? 0) & (0xff >>> (8 * length - bits));
  return Buffer.concat([block, hashed, Buffer.of(0xbc)]);
}
