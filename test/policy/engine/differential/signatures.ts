import { constants, createHmac, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { parseJson } from '../../../../src/policy/engine/values/parse.ts';
import { RegoObject, type Value } from '../../../../src/policy/engine/values/values.ts';
import { type Draw, type Generator, listOf, text } from './draw.ts';

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

/** Algorithms that sign alike each time in OPA too: those of RSA with PKCS #1, of HMAC, and EdDSA. */
export const header: Generator = (draw) =>
  new RegoObject([
    ['alg', draw.one(['RS256', 'RS512', 'HS256', 'HS384', 'EdDSA', 'none', 'HS257', 1])],
    ...(draw.chance(2) ? [['typ', draw.one(['JWT', 'x', 1])] as const] : []),
    ...(draw.chance(4) ? [['kid', text(draw)] as const] : []),
  ]);

const privateJwks = [rsa, pairs.eddsa, pairs.es256].map(({ privateKey }) =>
  privateKey.export({ format: 'jwk' }),
);

export const signingKey: Generator = (draw) => {
  const jwk = draw.one<object>([
    ...privateJwks,
    { kty: 'oct', k: 'c2VjcmV0' },
    { kty: 'oct', k: '' },
    { kty: 'x' },
    {},
  ]);
  return parseJson(JSON.stringify(draw.chance(4) ? { keys: [jwk] } : jwk));
};

/** What a token must hold. Without a time OPA's is the machine's, ours the decision's. */
export const constraints: Generator = (draw) =>
  new RegoObject([
    ['time', draw.one([0, 1_500_000_000_000_000_000n, 2_000_000_000_000_000_000n, -1, 'x'])],
    ...(draw.chance(2)
      ? [['secret', 'secret'] as const]
      : [['cert', keyText(draw, draw.one(algorithms))] as const]),
    ...(draw.chance(3) ? [['alg', draw.one(['HS256', 'RS256'])] as const] : []),
    ...(draw.chance(3) ? [['iss', 'i'] as const] : []),
    ...(draw.chance(3) ? [['aud', 'a'] as const] : []),
    ...(draw.chance(15) ? [['x', 1] as const] : []),
  ]);

const claims = (draw: Draw): object => ({
  ...(draw.chance(2) ? { iss: draw.one(['i', 'j']) } : {}),
  ...(draw.chance(2) ? { aud: draw.one(['a', ['a', 'b'], 'c', 1]) } : {}),
  ...(draw.chance(2) ? { exp: draw.one([1, 1_500_000_000, 1_500_000_000.5, 3_000_000_000, 'x']) } : {}),
  ...(draw.chance(3) ? { nbf: draw.one([1, 1_500_000_000, 3_000_000_000, 'x']) } : {}),
});

function hmacToken(draw: Draw, payload: string, type: object): string {
  const signed = `${encode({ alg: 'HS256', ...type })}.${payload}`;
  const mac = createHmac('sha256', draw.chance(6) ? 'other' : 'secret')
    .update(signed)
    .digest('base64url');
  return `${signed}.${mac}`;
}

/** A token, one within another now and then, and what it must hold; mostly by the same secret. */
export const verified = (draw: Draw): readonly Value[] => {
  const algorithm = draw.one(algorithms);
  if (draw.chance(2))
    return [
      signed(algorithm, { alg: algorithm === 'eddsa' ? 'EdDSA' : algorithm.toUpperCase() }),
      new RegoObject([
        ['time', 0],
        ['cert', keyText(draw, algorithm)],
      ]),
    ];
  const inner = hmacToken(draw, encode(claims(draw)), draw.chance(6) ? { crit: ['x'], x: 1 } : {});
  const outer = draw.chance(4)
    ? hmacToken(draw, Buffer.from(inner).toString('base64url'), { cty: 'jwt' })
    : inner;
  const given = constraints(draw);
  if (given instanceof RegoObject && draw.chance(2)) {
    given.delete('cert');
    given.set('secret', 'secret');
  }
  return [outer, given];
};
