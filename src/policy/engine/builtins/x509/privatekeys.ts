import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { fromBigInt } from '../../values/numbers.ts';
import { RegoObject, type Value } from '../../values/values.ts';
import { type BuiltinContext, BuiltinError } from '../builtin.ts';
import { bigOf, bytesOfBig } from '../signing/ecdsa.ts';
import { DerReader, tag } from './der.ts';
import { curveSizes, pointValue } from './publickeys.ts';
import { struct } from './shape.ts';

/** Fuel units of a private key, and per byte: a public key is made from it. */
const unitsPerKey = 1_500_000;
const unitsPerSlowCurve = 9_000_000;
/** Fuel units of one of RSA, whose parts are checked here: measured, 80 µs. */
const unitsPerRsaKey = 200_000;
const unitsPerByte = 60;
const squaredBitsPerUnit = 400;

/** A private key of Go's. */
export interface PrivateKey {
  readonly type: 'RSA' | 'EC' | 'Ed25519' | 'X25519';
  /** As Go's JSON has it. */
  readonly value: Value;
  /** As lestrrat's jwk has it; undefined for one that it does not take. */
  readonly jwk: Value | undefined;
  /** The JSON of its public key. */
  readonly publicValue: Value;
}

const url = (bytes: Buffer): string => bytes.toString('base64url');
const minimal = (value: bigint): Buffer => bytesOfBig(value, Math.ceil(value.toString(16).length / 2));

/** PKCS #1 (RFC 8017 appendix A.1.2), of two primes whose parts are those of one another. */
export function parsePkcs1(der: Buffer, context: BuiltinContext): PrivateKey {
  const outer = new DerReader(der);
  const reader = outer.enter(tag.sequence);
  if (!outer.isEmpty) throw new BuiltinError('trailing data');
  if (reader.integer() > 1n) throw new BuiltinError('unsupported version');
  const parts = Array.from({ length: 5 }, () => reader.integer());
  const given = Array.from({ length: 3 }, () => (reader.peeks(tag.integer) ? reader.integer() : undefined));
  if (reader.peeks(tag.sequence)) throw new BuiltinError('more than two primes');
  const [n, e, d, p, q] = parts as [bigint, bigint, bigint, bigint, bigint];
  context.spend(unitsPerRsaKey + der.length * unitsPerByte + (der.length * 8) ** 2 / squaredBitsPerUnit);
  if (![...parts, ...given].every((part) => part === undefined || part > 0n))
    throw new BuiltinError('not positive');
  const isWhole = p > 1n && q > 1n && p % 2n === 1n && q % 2n === 1n && p * q === n && e > 1n && d < n;
  const isInverse = isWhole && (d * e) % (p - 1n) === 1n && (d * e) % (q - 1n) === 1n;
  if (!isInverse || e > 0x7fff_ffffn || e % 2n === 0n) throw new BuiltinError('not a key of RSA');
  const computed = [d % (p - 1n), d % (q - 1n), inverse(q, p)] as const;
  if (given.some((part, at) => part !== undefined && part !== computed[at]))
    throw new BuiltinError('not a key of RSA');
  const [dp, dq, qi] = computed;
  const publicValue = struct({ N: fromBigInt(n), E: fromBigInt(e) });
  return {
    type: 'RSA',
    publicValue,
    value: struct({
      N: fromBigInt(n),
      E: fromBigInt(e),
      D: fromBigInt(d),
      Primes: [fromBigInt(p), fromBigInt(q)],
      Precomputed: struct({ Dp: fromBigInt(dp), Dq: fromBigInt(dq), Qinv: fromBigInt(qi), CRTValues: [] }),
    }),
    jwk: struct({
      kty: 'RSA',
      ...Object.fromEntries(
        Object.entries({ n, e, d, p, q, dp, dq, qi }).map(([name, part]) => [name, url(minimal(part))]),
      ),
    }),
  };
}

function inverse(value: bigint, modulus: bigint): bigint {
  let [a, b, x, y] = [value % modulus, modulus, 1n, 0n];
  while (b > 0n) {
    const quotient = a / b;
    [a, b] = [b, a % b];
    [x, y] = [y, x - quotient * y];
  }
  if (a !== 1n) throw new BuiltinError('not a key of RSA');
  return ((x % modulus) + modulus) % modulus;
}

const curveNames: Readonly<Record<string, string>> = {
  '1.2.840.10045.3.1.7': 'P-256',
  '1.3.132.0.34': 'P-384',
  '1.3.132.0.35': 'P-521',
};

/** SEC 1 (RFC 5915). The curve may be named by what is around it. */
export function parseSec1(der: Buffer, context: BuiltinContext, named?: string): PrivateKey {
  const reader = new DerReader(der).enter(tag.sequence);
  if (reader.integer() !== 1n) throw new BuiltinError('unknown version');
  const octets = reader.read(tag.octetString).content;
  const own = reader.optional(0xa0);
  const written = reader.optional(0xa1);
  if (written) new DerReader(written.content).bits();
  const curve = named ?? (own ? new DerReader(own.content).identifier().join('.') : '');
  const size = curveSizes[curve];
  if (size === undefined) throw new BuiltinError('unknown curve');
  context.spend(curve === '1.2.840.10045.3.1.7' ? unitsPerKey : unitsPerSlowCurve);
  const scalar = bigOf(octets);
  if (octets.length > size && octets.subarray(0, octets.length - size).some((byte) => byte !== 0))
    throw new BuiltinError('too long');
  const d = bytesOfBig(scalar, size);
  const key = loadSec1(curve, d);
  const point = createPublicKey(key)
    .export({ format: 'der', type: 'spki' })
    .subarray(-2 * size);
  const [x, y] = [point.subarray(0, size), point.subarray(size)];
  const publicValue = pointValue(x, y);
  const value = publicValue.copy();
  value.set('D', fromBigInt(scalar));
  const crv = curveNames[curve];
  const jwk = crv === undefined ? undefined : struct({ kty: 'EC', crv, x: url(x), y: url(y), d: url(d) });
  return { type: 'EC', value, publicValue, jwk };
}

/** OpenSSL computes the point of a key that has none, and refuses a scalar beyond the order. */
function loadSec1(curve: string, scalar: Buffer): KeyObject {
  const identifier = encode(tag.objectIdentifier, identifierBytes(curve));
  const key = encode(
    tag.sequence,
    Buffer.concat([
      encode(tag.integer, Buffer.of(1)),
      encode(tag.octetString, scalar),
      encode(0xa0, identifier),
    ]),
  );
  try {
    return createPrivateKey({ key, format: 'der', type: 'sec1' });
  } catch (cause) {
    throw new BuiltinError('not a key of the curve', { cause });
  }
}

const encode = (kind: number, content: Buffer): Buffer =>
  Buffer.concat([
    content.length < 128 ? Buffer.of(kind, content.length) : Buffer.of(kind, 0x81, content.length),
    content,
  ]);

function identifierBytes(dotted: string): Buffer {
  const [first = 0, second = 0, ...others] = dotted.split('.').map(Number);
  const bytes = others.flatMap((part) => {
    const digits = [part & 0x7f];
    for (let rest = part >>> 7; rest > 0; rest >>>= 7) digits.unshift((rest & 0x7f) | 0x80);
    return digits;
  });
  return Buffer.from([first * 40 + second, ...bytes]);
}

/** PKCS #8 (RFC 5208). */
export function parsePkcs8(der: Buffer, context: BuiltinContext): PrivateKey {
  const reader = new DerReader(der).enter(tag.sequence);
  reader.integer();
  const algorithm = reader.enter(tag.sequence);
  const identifier = algorithm.identifier().join('.');
  const parameters = algorithm.isEmpty ? undefined : algorithm.read();
  const content = reader.read(tag.octetString).content;
  if (identifier === '1.2.840.113549.1.1.1') return parsePkcs1(content, context);
  if (identifier === '1.2.840.10045.2.1') {
    const named =
      parameters?.tag === tag.objectIdentifier
        ? new DerReader(parameters.whole).identifier().join('.')
        : undefined;
    return parseSec1(content, context, named);
  }
  const isEdwards = identifier === '1.3.101.112';
  if ((!isEdwards && identifier !== '1.3.101.110') || parameters) throw new BuiltinError('unknown algorithm');
  context.spend(unitsPerKey);
  const seed = new DerReader(content).read(tag.octetString).content;
  if (seed.length !== 32) throw new BuiltinError('not a key of the curve');
  return okpKey(der, seed, isEdwards ? 'Ed25519' : 'X25519');
}

function okpKey(der: Buffer, seed: Buffer, type: 'Ed25519' | 'X25519'): PrivateKey {
  const prefix = Buffer.from(`302e020100300506032b65${type === 'Ed25519' ? '70' : '6e'}04220420`, 'hex');
  const key = createPrivateKey({ key: Buffer.concat([prefix, seed]), format: 'der', type: 'pkcs8' });
  const point = createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32);
  const jwk = struct({ kty: 'OKP', crv: type, x: url(point), d: url(seed) });
  return type === 'X25519'
    ? { type, value: new RegoObject(), publicValue: new RegoObject(), jwk }
    : {
        type,
        value: Buffer.concat([seed, point]).toString('base64'),
        publicValue: point.toString('base64'),
        jwk,
      };
}
