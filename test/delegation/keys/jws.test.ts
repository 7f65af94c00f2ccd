import * as fc from 'fast-check';
import { compactVerify, importJWK, type JWK } from 'jose';
import { describe, expect, test } from 'vitest';
import { isSignedBy, signJwt } from '../../../src/delegation/keys/jws.ts';
import { newKey, signingKey, verifyingKey } from '../../../src/delegation/keys/signing-key.ts';
import type { KeyRow } from '../../../src/storage/rows.ts';
import { readJwt, type UnverifiedJwt } from '../../../src/tenancy/jose.ts';

const made = async (alg: 'ES256' | 'EdDSA' | 'RS256') => {
  const key = await newKey(alg);
  const row = { kid: key.kid, alg, state: 'active', stateAt: 0, createdAt: 0, publicJwk: key.publicJwk };
  return { key, verifying: verifyingKey({ ...row, sealed: new Uint8Array() } as unknown as KeyRow) };
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

describe.each(['ES256', 'EdDSA', 'RS256'] as const)(
  '%s: what jose takes is taken, and nothing else',
  (alg) => {
    test('whatever is done to a token', async () => {
      const [{ key, verifying }, other] = [await made(alg), await made(alg)];
      const token = await signJwt(signingKey(verifying, key.privateJwk), 'at+jwt', {
        sub: 'alice',
        iss: 'i',
      });
      const foreign = await signJwt(signingKey(other.verifying, other.key.privateJwk), 'at+jwt', {
        iss: 'i',
      });
      const publicKey = await importJWK(JSON.parse(key.publicJwk) as JWK, alg);
      const [header = '', payload = '', signature = ''] = token.split('.');
      const bytes = Buffer.from(signature, 'base64url');
      const named = (said: object) => Buffer.from(JSON.stringify(said)).toString('base64url');
      const signatures = fc
        .oneof(
          fc.uint8Array({ maxLength: 80 }),
          fc.nat(bytes.length).map((length) => bytes.subarray(0, length)),
          fc.uint8Array({ minLength: 1, maxLength: 3 }).map((more) => Buffer.concat([bytes, more])),
          fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)).map(([at, value]) => {
            const changed = Buffer.from(bytes);
            changed[at] = value;
            return changed;
          }),
          fc.constantFrom(Buffer.alloc(bytes.length), Buffer.alloc(bytes.length, 0xff)),
        )
        .map((each) => `${header}.${payload}.${Buffer.from(each).toString('base64url')}`);
      const headers = fc
        .constantFrom('none', 'HS256', 'ES256', 'EdDSA', 'Ed25519', 'RS256', 'PS256', alg.toLowerCase())
        .map((said) => `${named({ alg: said, kid: key.kid })}.${payload}.${signature}`);
      const payloads = fc.string().map((sub) => `${header}.${named({ sub, iss: 'i' })}.${signature}`);
      const texts = fc.oneof(signatures, headers, payloads, fc.constantFrom(token, foreign));
      const met = { taken: 0, refused: 0 };
      await fc.assert(
        fc.asyncProperty(texts, async (text) => {
          let jwt: UnverifiedJwt;
          try {
            jwt = readJwt(text);
          } catch {
            return;
          }
          const isTaken = await compactVerify(text, publicKey, { algorithms: [alg] }).then(
            () => true,
            () => false,
          );
          met[isTaken ? 'taken' : 'refused'] += 1;
          expect(await isSignedBy(verifying, jwt)).toBe(isTaken);
        }),
        { numRuns: 400 },
      );
      expect(met.taken).toBeGreaterThan(5);
      expect(met.refused).toBeGreaterThan(100);
    });
  },
);
