import { createCipheriv, createDecipheriv } from 'node:crypto';
import type { NamedRef, TenantId } from '../../ids.ts';
import type { MemberKey } from './keys.ts';

const CIPHER = 'aes-256-gcm';
const IV_BYTES = 12;
const TAG_BYTES = 16;

/** Where a box belongs: put anywhere else, it does not open. */
export interface BoxPlace {
  readonly tenant: TenantId;
  readonly decisionId: string;
  /** JSON Pointer into the input. */
  readonly path: string;
}

/** What stands in a record in the place of a sealed value, as its member `sealed`. */
export interface Box {
  /** `class:id`, for people; null where nobody is named, and then nothing else is there: the value was not kept. */
  readonly about: string | null;
  /** The id of the key. */
  readonly key?: string;
  /** base64url; 12 bytes, and ciphertext ‖ tag (16). */
  readonly iv?: string;
  readonly data?: string;
}

/**
 * AES-256-GCM over the value's JSON text. A key seals some members of the records about one principal, so that the 2^32 of
 * them that random nonces allow (NIST SP 800-38D, 8.3) are not reached.
 */
export function sealValue(value: unknown, key: MemberKey, place: BoxPlace, iv: Uint8Array): Box {
  const cipher = createCipheriv(CIPHER, key.secret, iv).setAAD(boundTo(place, key));
  const data = Buffer.concat([
    cipher.update(JSON.stringify(value), 'utf8'),
    cipher.final(),
    cipher.getAuthTag(),
  ]);
  return { about: nameOf(key.about), key: key.kid, iv: textOf(iv), data: textOf(data) };
}

/** Throws if it was sealed by another key, for another place, or changed since. */
export function openValue({ iv = '', data = '' }: Box, key: MemberKey, place: BoxPlace): unknown {
  const [nonce, sealed] = [Buffer.from(iv, 'base64url'), Buffer.from(data, 'base64url')];
  if (nonce.length !== IV_BYTES || sealed.length < TAG_BYTES) throw new RangeError('it is no box');
  const decipher = createDecipheriv(CIPHER, key.secret, nonce, { authTagLength: TAG_BYTES })
    .setAAD(boundTo(place, key))
    .setAuthTag(sealed.subarray(-TAG_BYTES));
  const text = decipher.update(sealed.subarray(0, -TAG_BYTES), undefined, 'utf8') + decipher.final('utf8');
  return JSON.parse(text) as unknown;
}

export { IV_BYTES };

export const nameOf = ({ class: cls, id }: NamedRef): string => `${cls}:${id}`;

const boundTo = ({ tenant, decisionId, path }: BoxPlace, { about, kid }: MemberKey): Uint8Array =>
  Buffer.from(
    `mandate-sealed-member ${JSON.stringify([tenant, decisionId, path, about.class, about.id, kid])}`,
  );

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url');
