import { constants, createHmac, type KeyObject, timingSafeEqual, verify } from 'node:crypto';
import { numberOf } from '../../values/numbers.ts';
import { bytesOf, decodeUtf8 } from '../../values/utf8.ts';
import { compareValues, isArray, isNumber, numberText, RegoObject, type Value } from '../../values/values.ts';
import { array, type BuiltinContext, BuiltinError, type BuiltinTable, object, text } from '../builtin.ts';
import { decodeUrlBase64 } from '../data/base64.ts';
import { unmarshalJson } from '../data/documents.ts';
import { checkHeader, decodeHeader, partsOf, type Token, unitsOf } from '../data/jwt.ts';
import { parseKeys, type VerificationKey } from '../data/keys.ts';

export const verifyingBuiltins: BuiltinTable = {
  'io.jwt.decode_verify': ([token, constraints], context) =>
    decodeVerify(text(token), constraintsOf(object(constraints), context), context),
};

const unitsPerByte = 24;
const shortestModulus = 1_024;

/** What a token has to hold beside a signature that is good. */
interface Constraints {
  readonly keys: readonly VerificationKey[] | undefined;
  readonly secret: string;
  /** Any, where it is empty. */
  readonly alg: string;
  readonly iss: string;
  /** None, where it is empty. */
  readonly aud: string;
  /** Nanoseconds since the Unix epoch, as a float. */
  readonly time: number;
}

const known = new Set(['cert', 'secret', 'alg', 'iss', 'aud', 'time']);

/** What it does not know it refuses. The time is the decision's, if it is left out. */
function constraintsOf(value: RegoObject, context: BuiltinContext): Constraints {
  for (const [name] of value.entries())
    if (typeof name !== 'string' || !known.has(name)) throw new BuiltinError('unknown constraint');
  const optional = (name: string): string => {
    const given = value.get(name);
    return given === undefined ? '' : text(given);
  };
  const [cert, time, secret] = [value.get('cert'), value.get('time'), optional('secret')];
  const keys = cert === undefined ? undefined : parseKeys(text(cert), context);
  if ((keys !== undefined) === (secret !== '')) throw new BuiltinError('one key is needed, and no more');
  const at =
    time === undefined ? context.nowMs * 1e6 : isNumber(time) ? Number(numberText(time)) : Number.NaN;
  if (!(at >= 0 && at < Number.POSITIVE_INFINITY)) throw new BuiltinError('not a time');
  return { keys, secret, alg: optional('alg'), iss: optional('iss'), aud: optional('aud'), time: at };
}

const unverified = (): Value => [false, new RegoObject(), new RegoObject()];

/** RFC 7519 section 7.2. */
function decodeVerify(value: string, constraints: Constraints, context: BuiltinContext): Value {
  let token = partsOf(value, context);
  for (;;) {
    const header = decodeHeader(token, context);
    checkHeader(header);
    const alg = header.get('alg');
    if (typeof alg !== 'string' || alg === '' || !understandsCritical(header)) return unverified();
    if (constraints.alg !== '' && constraints.alg !== alg) return unverified();
    const signed: Token = { ...token, signature: decodeUrlBase64(token.signature) };
    if (!isSigned(signed, alg, header.get('kid'), constraints, context)) return unverified();
    const payload = decodeUtf8(decodeUrlBase64(token.payload));
    const type = header.get('cty');
    // A token in a token: what counts is that within, which has to be signed too.
    if (typeof type === 'string' && type.toLowerCase() === 'jwt') {
      token = partsOf(payload, context);
      continue;
    }
    const claims = unmarshalJson(payload, context);
    if (!(claims instanceof RegoObject)) throw new BuiltinError('not a JSON object');
    return areMet(claims, constraints) ? [true, header, claims] : unverified();
  }
}

/** RFC 7515 section 4.1.11: none of what must be understood is. */
function understandsCritical(header: RegoObject): boolean {
  const critical = header.get('crit');
  if (critical === undefined) return true;
  const understood = ['alg', 'kid', 'typ', 'cty', 'crit'];
  return !array(critical).some(
    (name) => typeof name === 'string' && !understood.includes(name) && header.get(name) !== undefined,
  );
}

function isSigned(
  token: Token,
  alg: string,
  kid: Value | undefined,
  { keys, secret }: Constraints,
  context: BuiltinContext,
): boolean {
  context.spend(token.signed.length * unitsPerByte);
  if (keys === undefined) return isMacOf(token, alg, bytesOf(secret));
  const isGood = ({ key }: VerificationKey): boolean => {
    if (key.type === 'secret') return isMacOf(token, alg, key.export());
    context.spend(unitsOf(key));
    return isSignatureOf(token, alg, key);
  };
  const named = typeof kid === 'string' && kid !== '' ? keys.find((each) => each.kid === kid) : undefined;
  if (named) return isGood(named);
  return keys.filter((each) => each.alg === undefined || each.alg === alg).some(isGood);
}

function isMacOf({ signed, signature }: Token, alg: string, secret: Buffer): boolean {
  if (!/^HS(?:256|384|512)$/.test(alg) || secret.length === 0) return false;
  const expected = createHmac(`sha${alg.slice(2)}`, secret)
    .update(bytesOf(signed))
    .digest();
  return expected.length === signature.length && timingSafeEqual(expected, signature);
}

const families: Readonly<Record<string, { readonly keyType: string; readonly options: object }>> = {
  RS: { keyType: 'rsa', options: {} },
  PS: {
    keyType: 'rsa',
    options: { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST },
  },
  ES: { keyType: 'ec', options: { dsaEncoding: 'ieee-p1363' } },
};

function isSignatureOf({ signed, signature }: Token, alg: string, key: KeyObject): boolean {
  const message = bytesOf(signed);
  if (alg === 'EdDSA') return key.asymmetricKeyType === 'ed25519' && verify(null, message, key, signature);
  const family = /^(?:RS|PS|ES)(?:256|384|512)$/.test(alg) ? families[alg.slice(0, 2)] : undefined;
  if (family?.keyType !== key.asymmetricKeyType) return false;
  if ((key.asymmetricKeyDetails?.modulusLength ?? shortestModulus) < shortestModulus) return false;
  return verify(`sha${alg.slice(2)}`, message, { key, ...family?.options }, signature);
}

/** RFC 7519 section 4.1: `iss`, `aud`, `exp` and `nbf`. Times are compared as OPA does, in seconds as a float. */
function areMet(claims: RegoObject, { iss, aud, time }: Constraints): boolean {
  const issuer = claims.get('iss');
  if (iss !== '' && (issuer === undefined || text(issuer) !== iss)) return false;
  const audience = claims.get('aud');
  if (audience === undefined ? aud !== '' : !isAudience(audience, aud)) return false;
  const now = numberOf(String(time / 1e9));
  const expiry = claims.get('exp');
  if (expiry !== undefined) {
    if (!isNumber(expiry)) throw new BuiltinError('exp is no number');
    if (compareValues(now, expiry) >= 0) return false;
  }
  const start = claims.get('nbf');
  if (start === undefined) return true;
  if (!isNumber(start)) throw new BuiltinError('nbf is no number');
  return compareValues(now, start) >= 0;
}

function isAudience(audience: Value, wanted: string): boolean {
  return audience === wanted || (isArray(audience) && audience.includes(wanted));
}
