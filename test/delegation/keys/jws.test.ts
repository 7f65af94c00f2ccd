import { compactVerify, importJWK, type JWK } from 'jose';
import { expect, test } from 'vitest';
import { signJwt } from '../../../src/delegation/keys/jws.ts';
import { newKey, signingKey, verifyingKey } from '../../../src/delegation/keys/signing-key.ts';
import type { KeyRow } from '../../../src/storage/rows.ts';

const made = async (alg: 'ES256' | 'EdDSA' | 'RS256') => {
  const key = await newKey(alg);
  const row = { kid: key.kid, alg, state: 'active', stateAt: 0, createdAt: 0, publicJwk: key.publicJwk };
  return { key, verifying: await verifyingKey({ ...row, sealed: new Uint8Array() } as unknown as KeyRow) };
};

test.each(['ES256', 'EdDSA', 'RS256'] as const)('what %s signs is what jose verifies', async (alg) => {
  const { key, verifying } = await made(alg);
  const claims = { sub: 'älice "', aud: ['a', 'b'], exp: 1, act: { sub: 'x' }, nothing: undefined };
  const token = await signJwt(signingKey(verifying, key.privateJwk), 'at+jwt', claims);
  const publicKey = await importJWK(JSON.parse(key.publicJwk) as JWK, alg);
  const { payload, protectedHeader } = await compactVerify(token, publicKey, { algorithms: [alg] });
  expect(protectedHeader).toEqual({ alg, kid: key.kid, typ: 'at+jwt' });
  const { nothing: _, ...rest } = claims;
  expect(JSON.parse(Buffer.from(payload).toString())).toEqual(rest);
});

test('a private key of another algorithm than the one it is stored under signs nothing', async () => {
  const [{ verifying }, other] = [await made('ES256'), await made('EdDSA')];
  expect(() => signingKey(verifying, other.key.privateJwk)).toThrow(
    /a key for ES256 is one of type ed25519/u,
  );
});
