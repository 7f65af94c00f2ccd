import { constants, generateKeyPairSync, verify } from 'node:crypto';
import { expect, test } from 'vitest';
import { bigOf, curves, signDeterministically } from '../../../src/policy/engine/builtins/signing/ecdsa.ts';
import { evaluateAll } from './opa.ts';

const ellipticAlgorithms = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' } as const;
const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 });

/** The token that a policy signs in the decision of an id. */
async function sign(alg: string, key: object, seed?: string): Promise<string> {
  const expression = `io.jwt.encode_sign({"alg": "${alg}"}, {"a": 1}, input.key)`;
  const { token } = await evaluateAll({ token: expression }, { key }, seed);
  return token as string;
}

function split(token: string): [signed: Buffer, signature: Buffer] {
  const dot = token.lastIndexOf('.');
  return [Buffer.from(token.slice(0, dot)), Buffer.from(token.slice(dot + 1), 'base64url')];
}

// RFC 6979 A.2.5 and A.2.7, the message "sample".
test.each([
  [
    'P-256',
    'sha256',
    'c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721',
    'efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8',
  ],
  [
    'P-521',
    'sha512',
    '00fad06daa62ba3b25d2fb40133da757205de67f5bb0018fee8c86e1b68c7e75caa896eb32f1f47c70855836a6d16fcc1466f6d8fbec67db89ec0c08b0e996b83538',
    '00c328fafcbd79dd77850370c46325d987cb525569fb63c5d3bc53950e6d4c5f174e25a1ee9017b5d450606add152b534931d7d4e8455cc91f9b15bf05ec36e377fa00617cce7cf5064806c467f678d3b4080d6f1cc50af26ca209417308281b68af282623eaa63e5b5c0723d8b8c37ff0777b1a20f8ccb1dccc43997f1ee0e44da4a67a',
  ],
] as const)('%s signs as RFC 6979 has it', (name, hash, key, signature) => {
  const curve = curves[name] as NonNullable<(typeof curves)[string]>;
  const signed = signDeterministically(curve, bigOf(Buffer.from(key, 'hex')), hash, Buffer.from('sample'));
  expect(signed.toString('hex')).toBe(signature);
});

test.each(Object.entries(ellipticAlgorithms))(
  '%s is one signature a key and message, and OpenSSL verifies it',
  async (alg, namedCurve) => {
    const pair = generateKeyPairSync('ec', { namedCurve });
    const key = pair.privateKey.export({ format: 'jwk' });
    const token = await sign(alg, key);
    const [signed, signature] = split(token);
    const publicKey = { key: pair.publicKey, dsaEncoding: 'ieee-p1363' } as const;
    expect(verify(`sha${alg.slice(2)}`, signed, publicKey, signature)).toBe(true);
    expect(await sign(alg, key, 'another decision')).toBe(token);
  },
);

test.each(['PS256', 'PS384', 'PS512'])(
  '%s is salted by the decision, and OpenSSL verifies it',
  async (alg) => {
    const key = rsa.privateKey.export({ format: 'jwk' });
    const token = await sign(alg, key);
    const publicKey = { key: rsa.publicKey, padding: constants.RSA_PKCS1_PSS_PADDING };
    const [signed, signature] = split(token);
    expect(verify(`sha${alg.slice(2)}`, signed, publicKey, signature)).toBe(true);
    expect(await sign(alg, key)).toBe(token);
    expect(await sign(alg, key, 'another decision')).not.toBe(token);
  },
);

/** Otherwise a decision could not be repeated later. */
test('io.jwt.decode_verify takes the time of the decision', async () => {
  const values = await evaluateAll(
    {
      before: `io.jwt.decode_verify(io.jwt.encode_sign({"alg": "RS256"}, {"exp": 1767225601}, input.key), {"cert": input.pem})[0]`,
      after: `io.jwt.decode_verify(io.jwt.encode_sign({"alg": "RS256"}, {"exp": 1767225599}, input.key), {"cert": input.pem})[0]`,
    },
    {
      key: rsa.privateKey.export({ format: 'jwk' }),
      pem: rsa.publicKey.export({ type: 'spki', format: 'pem' }),
    },
  );
  expect(values).toEqual({ before: true, after: false });
});
