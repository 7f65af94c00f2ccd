import { createCipheriv, createDecipheriv } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Random } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import { makeDurably, makeFolder } from '../../storage/files.ts';

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

  /** The key itself, to be sealed by another one. */
  get text(): string {
    return Buffer.from(this.#key).toString('base64');
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

/** Makes the file, with mode 0600. It is on the disk before it seals anything: what it seals is, and opens with no other. */
export function makeMasterKey(file: string, random: Random): void {
  makeFolder(path.dirname(file));
  makeDurably(file, random(KEY_BYTES));
}

/** Throws `config_invalid` for a file that cannot be read or has another length; an empty one is called so. */
export function readMasterKey(file: string): MasterKey {
  const key = bytesOf(file);
  if (key.length === KEY_BYTES) return new MasterKey(key);
  const is = key.length === 0 ? 'is empty, as a power cut may leave it' : `has ${key.length} bytes`;
  throw new ServiceError('config_invalid', `${file} ${is}; a master key has ${KEY_BYTES}`);
}

function bytesOf(file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new ServiceError('config_invalid', `the master key ${file} cannot be read (${code})`, { cause });
  }
}
