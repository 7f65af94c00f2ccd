import { constants, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import type { Value } from '../../../../src/policy/engine/values/values.ts';
import { type Draw, listOf } from './draw.ts';

/** Tokens that are signed, and keys that some of them are signed by. */

const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };
const ecdsa = { dsaEncoding: 'ieee-p1363' } as const;
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const pairs = {
  rs: rsa,
  ps: rsa,
  es256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  es384: generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  es512: generateKeyPairSync('ec', { namedCurve: 'P-521' }),
  eddsa: generateKeyPairSync('ed25519'),
} as const;

const algorithms = listOf('rs256¦rs384¦rs512¦ps256¦ps384¦ps512¦es256¦es384¦es512¦eddsa');

function pairOf(algorithm: string): { publicKey: KeyObject; privateKey: KeyObject } {
  const name = algorithm.startsWith('rs') ? 'rs' : algorithm.startsWith('ps') ? 'ps' : algorithm;
  return pairs[name as keyof typeof pairs];
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function signed(algorithm: string, header: object): string {
  const text = `${encode(header)}.${encode({ sub: 'a' })}`;
  const hash = algorithm === 'eddsa' ? null : `sha${algorithm.slice(2)}`;
  const options = algorithm.startsWith('ps') ? pss : algorithm.startsWith('es') ? ecdsa : {};
  const key = { key: pairOf(algorithm).privateKey, ...options };
  return `${text}.${sign(hash, Buffer.from(text), key).toString('base64url')}`;
}

function jwk(algorithm: string, fields: object): object {
  return { ...pairOf(algorithm).publicKey.export({ format: 'jwk' }), ...fields };
}

function keyText(draw: Draw, algorithm: string): string {
  const other = draw.chance(4) ? draw.one(algorithms) : algorithm;
  const fields = draw.one([
    {},
    {},
    { kid: 'k' },
    { alg: algorithm.toUpperCase() },
    { alg: 'RS256' },
    { kid: 'x', alg: 'x' },
  ]);
  return draw.one([
    () => String(pairOf(other).publicKey.export({ type: 'spki', format: 'pem' })),
    () => JSON.stringify(jwk(other, fields)),
    () => JSON.stringify({ keys: [jwk(draw.one(algorithms), {}), jwk(other, fields)] }),
    () => draw.one(['', '{}', '{"keys":[]}', 'x']),
  ])();
}

function verification(algorithm: string): (draw: Draw) => readonly Value[] {
  return (draw) => {
    const header = draw.one([
      { alg: algorithm.toUpperCase() },
      { alg: algorithm.toUpperCase(), kid: 'k' },
      { alg: 'none' },
      {},
      { kid: 1 },
      { alg: algorithm.toUpperCase(), crit: ['x'] },
      { alg: algorithm.toUpperCase(), crit: [] },
      { alg: algorithm.toUpperCase(), enc: 'x' },
    ]);
    const token = signed(draw.chance(5) ? draw.one(algorithms) : algorithm, header);
    return [draw.chance(6) ? `${token.slice(0, -4)}AAAA` : token, keyText(draw, algorithm)];
  };
}

/** By the built-in. */
export const verifications: Readonly<Record<string, (draw: Draw) => readonly Value[]>> = Object.fromEntries(
  algorithms.map((algorithm) => [`io.jwt.verify_${algorithm}`, verification(algorithm)]),
);
