import { createHmac, timingSafeEqual } from 'node:crypto';

/**
 * A wrapped key as it is stored: by whom, what the service gave for it, and a MAC of that and of what it is bound to, by
 * the key itself. A service that answers other bytes than it was given, and a row that was put in another's place, are
 * known by it before anything is opened or sealed: what does not open for another reason is damage.
 */
export interface Envelope {
  readonly kms: string;
  readonly wrapped: string;
  /** HMAC-SHA256, base64. */
  readonly mac: string;
}

const BEGINS = Buffer.from('{"kms":"');

/** Of a wrapped key of 32 bytes with what it says of itself. */
const MOST_BYTES = 8_192;

/** What a master key sealed begins with a nonce: by chance one in 2^64 begins like this. */
export const isEnvelope = (stored: Uint8Array): boolean =>
  Buffer.from(stored.subarray(0, BEGINS.length)).equals(BEGINS);

export function envelopeOf(kms: string, wrapped: string, key: Uint8Array, binding: string): Uint8Array {
  const mac = macOf(kms, wrapped, key, binding).toString('base64');
  return Buffer.from(formatted({ kms, wrapped, mac }));
}

/** Throws for what is none. */
export function parseEnvelope(stored: Uint8Array): Envelope {
  if (stored.length > MOST_BYTES) throw new Error('a wrapped key is too long');
  const text = Buffer.from(stored).toString('utf8');
  const { kms, wrapped, mac } = JSON.parse(text) as Record<string, unknown>;
  if (typeof kms !== 'string' || typeof wrapped !== 'string' || typeof mac !== 'string')
    throw new Error('a wrapped key has not the members of one');
  const envelope = { kms, wrapped, mac };
  if (formatted(envelope) !== text) throw new Error('a wrapped key is not written as one is');
  return envelope;
}

/** Whether this is the key that was wrapped, for this. */
export function isKeyOf({ kms, wrapped, mac }: Envelope, key: Uint8Array, binding: string): boolean {
  const [given, own] = [Buffer.from(mac, 'base64'), macOf(kms, wrapped, key, binding)];
  return given.length === own.length && timingSafeEqual(given, own);
}

const formatted = ({ kms, wrapped, mac }: Envelope): string => JSON.stringify({ kms, wrapped, mac });

const macOf = (kms: string, wrapped: string, key: Uint8Array, binding: string): Buffer =>
  createHmac('sha256', key)
    .update(JSON.stringify(['mandate-wrapped-key', kms, wrapped, binding]))
    .digest();
