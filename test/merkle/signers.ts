import { generateKeyPairSync } from 'node:crypto';
import { type SignatureType, type SignerKey, verifierKey } from '../../src/merkle/keys.ts';

/** A new key under that name. */
export function newSigner(name: string, type: SignatureType): SignerKey {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  return { ...verifierKey(name, type, publicKey), privateKey };
}
