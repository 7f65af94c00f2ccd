import { constants, createHmac, type KeyObject, timingSafeEqual, verify } from 'node:crypto';
import { decodeUtf8 } from '../../values/utf8.ts';
import { RegoObject, type Value } from '../../values/values.ts';
import {
  array,
  type Builtin,
  type BuiltinContext,
  BuiltinError,
  type BuiltinTable,
  text,
} from '../builtin.ts';
import { decodeUrlBase64 } from './base64.ts';
import { unmarshalJson } from './documents.ts';
import { parseKeys, type VerificationKey } from './keys.ts';

/** Fuel units of a signature's verification: some 100 µs. */
const unitsPerVerification = 300_000;
/** Curves other than P-256 have no code of their own in OpenSSL: measured, up to 1.3 ms. */
const unitsPerSlowCurve = 1_500_000;
/** RSA is a multiplication of so many bits by so many for each bit of the exponent: measured, 6 ms for 3,072 of both. */
const multipliedBitsPerUnit = 5_000;
const unitsPerByte = 16;

export interface Token {
  readonly header: string;
  readonly payload: string;
  readonly signature: Buffer;
  /** What the signature is over. */
  readonly signed: string;
}

export interface Algorithm {
  readonly keyType: string;
  /** null where the algorithm says it itself. */
  readonly hash: string | null;
  readonly options?: {
    readonly padding?: number;
    readonly saltLength?: number;
    readonly dsaEncoding?: 'ieee-p1363';
  };
}

const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_AUTO };
const ecdsa = { dsaEncoding: 'ieee-p1363' } as const;

export const asymmetric: Readonly<Record<string, Algorithm>> = {
  rs256: { keyType: 'rsa', hash: 'sha256' },
  rs384: { keyType: 'rsa', hash: 'sha384' },
  rs512: { keyType: 'rsa', hash: 'sha512' },
  ps256: { keyType: 'rsa', hash: 'sha256', options: pss },
  ps384: { keyType: 'rsa', hash: 'sha384', options: pss },
  ps512: { keyType: 'rsa', hash: 'sha512', options: pss },
  es256: { keyType: 'ec', hash: 'sha256', options: ecdsa },
  es384: { keyType: 'ec', hash: 'sha384', options: ecdsa },
  es512: { keyType: 'ec', hash: 'sha512', options: ecdsa },
  eddsa: { keyType: 'ed25519', hash: null },
};

export const symmetric: Readonly<Record<string, string>> = {
  hs256: 'sha256',
  hs384: 'sha384',
  hs512: 'sha512',
};

export const jwtBuiltins: BuiltinTable = {
  // The policy decides what it makes of claims nobody vouches for; the name is OPA's.
  'io.jwt.decode': ([token], context) => decodeUnverified(text(token), context),
  ...mapNames(
    asymmetric,
    (algorithm): Builtin =>
      ([token, keys], context) => {
        const parsed = split(text(token), context);
        return isSignedBy(parsed, text(keys), algorithm, context);
      },
  ),
  ...mapNames(
    symmetric,
    (hash): Builtin =>
      ([token, secret], context) => {
        const { signed, signature } = split(text(token), context);
        const expected = createHmac(hash, text(secret)).update(signed).digest();
        return expected.length === signature.length && timingSafeEqual(expected, signature);
      },
  ),
};

function mapNames<T>(table: Readonly<Record<string, T>>, make: (entry: T) => Builtin): BuiltinTable {
  return Object.fromEntries(
    Object.entries(table).map(([name, entry]) => [`io.jwt.verify_${name}`, make(entry)]),
  );
}

export function split(token: string, context: BuiltinContext): Token {
  const { signature, ...parts } = partsOf(token, context);
  return { ...parts, signature: decodeUrlBase64(signature) };
}

/** With the signature as it is written. */
export function partsOf(
  token: string,
  context: BuiltinContext,
): Omit<Token, 'signature'> & { readonly signature: string } {
  context.spend(token.length * unitsPerByte);
  const [header, payload, signature, ...rest] = token.split('.');
  if (header === undefined || payload === undefined || signature === undefined || rest.length > 0)
    throw new BuiltinError('a JWT has three parts');
  return { header, payload, signature, signed: `${header}.${payload}` };
}

export function decodeObject(part: string, context: BuiltinContext): RegoObject {
  const value = unmarshalJson(decodeUtf8(decodeUrlBase64(part)), context);
  if (!(value instanceof RegoObject)) throw new BuiltinError('not a JSON object');
  return value;
}

export function decodeHeader(token: Pick<Token, 'header'>, context: BuiltinContext): RegoObject {
  const header = decodeObject(token.header, context);
  if (header.get('enc') !== undefined) throw new BuiltinError('encrypted tokens are not supported');
  return header;
}

/** Header, payload and the signature in hexadecimal. */
function decodeUnverified(value: string, context: BuiltinContext): Value {
  const token = split(value, context);
  const header = decodeHeader(token, context);
  const type = header.get('cty');
  if (type !== undefined) text(type);
  // RFC 7519 section 5.2: the payload is a token itself.
  if (type === 'JWT') return decodeUnverified(unquote(decodeUtf8(decodeUrlBase64(token.payload))), context);
  return [header, decodeObject(token.payload, context), token.signature.toString('hex')];
}

function unquote(value: string): string {
  let [start, end] = [0, value.length];
  while (value[start] === '"' || value[start] === "'") start += 1;
  while (end > start && (value[end - 1] === '"' || value[end - 1] === "'")) end -= 1;
  return value.slice(start, end);
}

/** The parameters of RFC 7515 that have a type must have it, whoever signed. */
export function checkHeader(header: RegoObject): void {
  for (const name of ['alg', 'kid', 'typ', 'cty']) {
    const value = header.get(name);
    if (value !== undefined) text(value);
  }
  const critical = header.get('crit');
  if (critical !== undefined && !array(critical).some((name) => typeof name === 'string'))
    throw new BuiltinError('crit: must be a nonempty list');
}

function isSignedBy(token: Token, keysText: string, algorithm: Algorithm, context: BuiltinContext): boolean {
  const keys = parseKeys(keysText, context);
  const header = decodeHeader(token, context);
  checkHeader(header);
  const [alg, kid] = [header.get('alg'), header.get('kid')];
  const isGood = ({ key }: VerificationKey): boolean => {
    context.spend(unitsOf(key));
    return verifies(token, key, algorithm);
  };
  const named = typeof kid === 'string' && kid !== '' ? keys.find((each) => each.kid === kid) : undefined;
  if (named) return isGood(named);
  return keys.filter((each) => each.alg === undefined || each.alg === alg).some(isGood);
}

export function unitsOf(key: KeyObject): number {
  const { modulusLength = 0, publicExponent = 0n, namedCurve } = key.asymmetricKeyDetails ?? {};
  if (namedCurve !== undefined && namedCurve !== 'prime256v1') return unitsPerSlowCurve;
  const multiplied = modulusLength ** 2 * publicExponent.toString(2).length;
  return unitsPerVerification + multiplied / multipliedBitsPerUnit;
}

export function verifies(token: Token, key: KeyObject, { keyType, hash, options }: Algorithm): boolean {
  if (key.asymmetricKeyType !== keyType) return false;
  return verify(hash, Buffer.from(token.signed), { key, ...options }, token.signature);
}
