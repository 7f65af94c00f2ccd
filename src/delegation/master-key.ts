import { createCipheriv, createDecipheriv } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Random } from '../effects.ts';
import { ServiceError } from '../errors.ts';

const CIPHER = 'aes-256-gcm';
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** The key that seals all others. What it seals is bound to a text, and opens with that text alone. */
export class MasterKey {
  readonly #key: Uint8Array;

  constructor(key: Uint8Array) {
    this.#key = key;
  }

  /** nonce (12 bytes) ‖ tag (16) ‖ ciphertext. A nonce is used once. */
  seal(text: string, binding: string, nonce: Uint8Array): Uint8Array {
    const cipher = createCipheriv(CIPHER, this.#key, nonce).setAAD(Buffer.from(binding));
    const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
    return Buffer.concat([nonce, cipher.getAuthTag(), body]);
  }

  /** Throws if it was sealed with another key, bound to another text, or changed since. */
  unseal(sealed: Uint8Array, binding: string): string {
    const tagEnd = NONCE_BYTES + TAG_BYTES;
    const decipher = createDecipheriv(CIPHER, this.#key, sealed.subarray(0, NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    })
      .setAAD(Buffer.from(binding))
      .setAuthTag(sealed.subarray(NONCE_BYTES, tagEnd));
    return Buffer.concat([decipher.update(sealed.subarray(tagEnd)), decipher.final()]).toString('utf8');
  }

  opens(sealed: Uint8Array, binding: string): boolean {
    try {
      this.unseal(sealed, binding);
      return true;
    } catch {
      return false;
    }
  }
}

/** Makes the file, with mode 0600. */
export function makeMasterKey(file: string, random: Random): void {
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  writeFileSync(file, random(KEY_BYTES), { mode: 0o600, flag: 'wx' });
  chmodSync(file, 0o600);
}

/** Throws `config_invalid` for a file of another length. */
export function readMasterKey(file: string): MasterKey {
  const key = readFileSync(file);
  if (key.length !== KEY_BYTES)
    throw new ServiceError('config_invalid', `${file} is not a master key of ${KEY_BYTES} bytes`);
  return new MasterKey(key);
}
