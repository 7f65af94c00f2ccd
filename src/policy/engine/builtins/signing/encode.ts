import { createHmac, sign } from 'node:crypto';
import { bytesOf } from '../../values/utf8.ts';
import { any, type BuiltinContext, BuiltinError, type BuiltinTable, text } from '../builtin.ts';
import { marshalJson } from '../data/json.ts';
import { drawBytes } from '../numbers/random.ts';
import { bigOf, curves, signDeterministically } from './ecdsa.ts';
import { bytesIn, importKey, parseSigningKey, rsaKey, type SigningKey } from './keys.ts';
import { signPss } from './pss.ts';

/** The same decision signs the same: nonces are those of RFC 6979, salts are drawn from the decision's id. */
export const signingBuiltins: BuiltinTable = {
  'io.jwt.encode_sign': ([header, payload, key], context) =>
    encodeSign(
      marshalJson(any(header), context),
      marshalJson(any(payload), context),
      marshalJson(any(key), context),
      context,
    ),
  'io.jwt.encode_sign_raw': ([header, payload, key], context) =>
    encodeSign(text(header), text(payload), text(key), context),
};

const unitsPerByte = 24;
/** Fuel units of an elliptic signature: measured, 0.1 ms; 1.5 ms for the curves that OpenSSL has no code of their own for. */
const unitsPerSignature = 600_000;
const unitsPerSlowCurve = 6_000_000;

type Algorithm =
  | { readonly family: 'HS' | 'RS' | 'PS' | 'ES'; readonly hash: string }
  | { readonly family: 'EdDSA'; readonly hash: null };

function algorithmOf(name: unknown): Algorithm {
  if (name === 'EdDSA') return { family: 'EdDSA', hash: null };
  const found = typeof name === 'string' ? /^(HS|RS|PS|ES)(256|384|512)$/.exec(name) : null;
  if (!found) throw new BuiltinError('unknown JWS algorithm');
  return { family: found[1] as 'HS' | 'RS' | 'PS' | 'ES', hash: `sha${found[2]}` };
}

function encodeSign(header: string, payload: string, key: string, context: BuiltinContext): string {
  context.spend((header.length + payload.length) * unitsPerByte);
  const signingKey = parseSigningKey(key, context);
  const { alg, typ } = readHeader(header);
  const algorithm = algorithmOf(alg);
  if ((typeof typ !== 'string' || typ === 'JWT') && !isJson(payload))
    throw new BuiltinError('type is JWT but payload is not JSON');
  const signed = `${bytesOf(header).toString('base64url')}.${bytesOf(payload).toString('base64url')}`;
  const signature = signWith(signingKey, algorithm, Buffer.from(signed), context);
  return `${signed}.${signature.toString('base64url')}`;
}

function readHeader(header: string): { readonly alg?: unknown; readonly typ?: unknown } {
  try {
    const parsed = JSON.parse(header) as unknown;
    return typeof parsed === 'object' && parsed !== null ? parsed : {};
  } catch (cause) {
    throw new BuiltinError('the header is not JSON', { cause });
  }
}

function isJson(value: string): boolean {
  try {
    JSON.parse(value);
    return true;
  } catch {
    return false;
  }
}

function signWith(
  key: SigningKey,
  { family, hash }: Algorithm,
  message: Buffer,
  context: BuiltinContext,
): Buffer {
  const { fields } = key;
  const isSuited = { HS: 'oct', RS: 'RSA', PS: 'RSA', ES: 'EC', EdDSA: 'OKP' }[family] === key.type;
  if (!isSuited) throw new BuiltinError('the key is not one for the algorithm');
  if (family === 'HS') {
    const secret = bytesIn(fields, 'k');
    if (secret.length === 0) throw new BuiltinError('the key is empty');
    return createHmac(hash, secret).update(message).digest();
  }
  if (family === 'RS') return sign(hash, message, rsaKey(fields, context));
  if (family === 'PS') {
    const size = Number(hash.slice(3)) / 8;
    const drawn = [0, 1].map((part) =>
      drawBytes(context.seed, `io.jwt.encode_sign ${part}`, message.toString()),
    );
    return signPss(rsaKey(fields, context), hash, Buffer.concat(drawn).subarray(0, size), message);
  }
  if (family === 'ES') {
    const curve = curves[String(fields['crv'])];
    if (!curve) throw new BuiltinError('not a curve');
    context.spend(curve.name === 'prime256v1' ? unitsPerSignature : unitsPerSlowCurve);
    importKey(fields);
    return signDeterministically(curve, bigOf(bytesIn(fields, 'd')), hash, message);
  }
  context.spend(unitsPerSignature);
  if (fields['crv'] !== 'Ed25519') throw new BuiltinError('not a curve');
  return sign(null, message, importKey(fields));
}
