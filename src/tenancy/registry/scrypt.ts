import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';

const derive = promisify<
  string,
  Uint8Array,
  number,
  { N: number; r: number; p: number; maxmem: number },
  Buffer
>(scrypt);

/** A secret that somebody chose, as scrypt (RFC 7914) keeps it: what it costs to make, its salt and its hash. */
export interface ScryptHash {
  /** The base-2 logarithm of N. */
  readonly ln: number;
  readonly p: number;
  readonly salt: Uint8Array;
  readonly hash: Uint8Array;
}

/** What RFC 7914 section 2 calls r: with 8, a hash takes 2^(ln + 10) bytes. */
const R = 8;
/** 32 MiB, about a tenth of a second. */
const LN = 15;
const LEAST_LN = 14;
/** 128 MiB. */
const MOST_LN = 17;
const MOST_P = 4;
const SALT_BYTES = 16;
const HASH_BYTES = 32;

const FORM = /^\$scrypt\$ln=(\d{1,2}),r=8,p=(\d)\$([A-Za-z0-9+/]{22,86})\$([A-Za-z0-9+/]{43,86})$/;

/** Reads `$scrypt$ln=15,r=8,p=1$<salt>$<hash>`, base64 without padding; undefined for anything else. */
export function readScrypt(text: string): ScryptHash | undefined {
  const [, ln = '', p = '', salt = '', hash = ''] = FORM.exec(text) ?? [];
  const read = { ln: Number(ln), p: Number(p), salt: bytesOf(salt), hash: bytesOf(hash) };
  const isSound =
    read.ln >= LEAST_LN && read.ln <= MOST_LN && read.p >= 1 && read.p <= MOST_P && read.salt && read.hash;
  return isSound ? (read as ScryptHash) : undefined;
}

/** Undefined for what is not the one text of its bytes. */
function bytesOf(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, 'base64');
  return text !== '' && bytes.toString('base64').replace(/=+$/, '') === text ? bytes : undefined;
}

/** How it is shown: what it costs, and nothing to guess against. */
export const shownScrypt = (text: string): string => `${text.split('$').slice(0, 3).join('$')}$…`;

/** Takes as long and as much memory as the hash says. */
export async function isSecretOf({ ln, p, salt, hash }: ScryptHash, secret: string): Promise<boolean> {
  const derived = await derive(secret, salt, hash.length, costOf(ln, p));
  return timingSafeEqual(derived, hash);
}

export async function newScrypt(secret: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const hash = await derive(secret, salt, HASH_BYTES, costOf(LN, 1));
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64').replace(/=+$/, '');
  return `$scrypt$ln=${LN},r=${R},p=1$${text(salt)}$${text(hash)}`;
}

const costOf = (ln: number, p: number) => ({ N: 2 ** ln, r: R, p, maxmem: 2 ** (ln + 10) * 2 + 1024 * 1024 });
