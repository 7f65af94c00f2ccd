import { isUtf8 } from 'node:buffer';
import { describe, ServiceError } from '../errors.ts';
import { checkStrict } from './strict-json.ts';
import { trustDomainIn } from './svid.ts';

type Members = Readonly<Record<string, unknown>>;

/** What a JWT says of itself, none of it verified: good for choosing a verifier, for nothing else. */
export interface UnverifiedJwt {
  readonly text: string;
  readonly header: Members;
  readonly claims: Members;
}

/** A token that somebody issued. */
export interface UnverifiedToken extends UnverifiedJwt {
  /** The claim `iss`; of a JWT-SVID that has none, its trust domain. */
  readonly issuer: string;
}

/** Of a whole token; a chain of certificates in the header fits beside the claims. */
export const MAX_TOKEN = 16_384;
const MAX_HEADER = 8_192;
const MAX_DEPTH = 32;

/** Reads what names its issuer. Throws `token_invalid`. */
export function readToken(text: string): UnverifiedToken {
  const token = readJwt(text);
  const { iss } = token.claims;
  const domain = Object.hasOwn(token.claims, 'iss') ? undefined : trustDomainIn(token);
  if (domain !== undefined) return { ...token, issuer: domain };
  if (typeof iss !== 'string') throw malformed('the token names no issuer');
  return { ...token, issuer: iss };
}

/**
 * Reads a compact JWS in its one canonical form, so that nobody after it can read it otherwise: base64url without
 * padding or stray bits, UTF-8, two JSON objects, no member twice (RFC 7515 section 4, RFC 7519 section 4), no critical
 * header, since none is understood (RFC 7515 section 4.1.11). Throws `token_invalid`.
 */
export function readJwt(text: string): UnverifiedJwt {
  // Three parts. Five would be a JWE, whose decompression nobody asked for.
  const parts = text.length <= MAX_TOKEN ? text.split('.', 4) : [];
  const [header = '', payload = '', signature = ''] = parts;
  if (parts.length !== 3 || header.length > MAX_HEADER) throw malformed('the token is not a signed JWT');
  const members = membersOf(header, 'header');
  if ('crit' in members || 'b64' in members) throw malformed('the token has a critical header');
  for (const name of ['alg', 'kid', 'typ'])
    if (members[name] !== undefined && typeof members[name] !== 'string')
      throw malformed(`the ${name} of the token is no text`);
  const claims = membersOf(payload, 'payload');
  bytesOf(signature, 'signature');
  return { text, header: members, claims };
}

const malformed = (message: string, cause?: unknown): ServiceError =>
  new ServiceError('token_invalid', message, cause === undefined ? {} : { cause, detail: describe(cause) });

function bytesOf(part: string, what: string): Buffer {
  const bytes = Buffer.from(part, 'base64url');
  if (part === '' || bytes.toString('base64url') !== part)
    throw malformed(`the ${what} of the token is not base64url`);
  return bytes;
}

function membersOf(part: string, what: string): Members {
  const bytes = bytesOf(part, what);
  try {
    if (!isUtf8(bytes)) throw new SyntaxError('it is not UTF-8');
    const text = bytes.toString();
    checkStrict(text, MAX_DEPTH);
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Members;
  } catch (cause) {
    throw malformed(`the ${what} of the token is not sound JSON`, cause);
  }
  throw malformed(`the ${what} of the token is no JSON object`);
}
