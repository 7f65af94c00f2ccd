import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import { beforeAll, expect, test } from 'vitest';
import type { TenantId } from '../../src/ids.ts';
import { readToken } from '../../src/tenancy/jose.ts';
import { KeySet } from '../../src/tenancy/key-set.ts';
import type { TrustedIssuer } from '../../src/tenancy/manifest.ts';
import { SignedTokens } from '../../src/tenancy/signed.ts';

/** What was verified before must be answered as what comes for the first time is, whatever has happened meanwhile. */

const ACME = 'acme' as TenantId;
const NOW = 1_790_000_000;
const issuer = { issuer: 'https://idp.example', algorithms: ['ES256'] } as unknown as TrustedIssuer;

const keyed = async (kid: string) => {
  const { privateKey, publicKey } = await generateKeyPair('ES256');
  const jwk: JWK = { ...(await exportJWK(publicKey)), kid, alg: 'ES256' };
  const sign = (claims: object) =>
    new SignJWT({ iss: issuer.issuer, aud: 'here', sub: 'alice', iat: NOW, exp: NOW + 300, ...claims })
      .setProtectedHeader({ alg: 'ES256', kid })
      .sign(privateKey);
  return { jwk, sign };
};

let one: Awaited<ReturnType<typeof keyed>>;
let other: typeof one;
beforeAll(async () => {
  one = await keyed('a');
  other = await keyed('a');
});

function place(published: JWK[] = [one.jwk]) {
  let age = 0;
  const keys = new KeySet(
    () => Promise.resolve({ keys: published }),
    () => age,
  );
  const signed = new SignedTokens();
  return {
    publish: (...next: JWK[]) => {
      published = next;
      age += 3_600_000;
    },
    ask: async (
      text: string,
      {
        at = NOW,
        by = issuer,
        required = ['sub'],
        tenant = ACME,
      }: { at?: number; by?: TrustedIssuer; required?: string[]; tenant?: TenantId } = {},
    ): Promise<string> => {
      const token = readToken(text);
      return signed.claims(tenant, by, token, required, keys, at * 1_000).then(
        ({ sub }) => String(sub),
        ({ code }: { code: string }) => code,
      );
    },
  };
}

test('its times are looked at each time, as at the first', async () => {
  const text = await one.sign({ nbf: NOW + 100 });
  const { ask } = place();
  expect(await ask(text, { at: NOW + 200 })).toBe('alice');
  const met = new Set<string>();
  for (const around of [NOW, NOW + 100, NOW + 300])
    for (let off = -32; off <= 32; off += 1)
      for (const part of [0, 0.001, 0.999]) {
        const at = around + off + part;
        const answer = await ask(text, { at });
        expect(answer, String(at - NOW)).toBe(await place().ask(text, { at }));
        met.add(answer);
      }
  expect([...met].toSorted()).toEqual(['alice', 'token_expired', 'token_invalid']);
});

test('it is not taken once its key is withdrawn, not even for another one of the same id', async () => {
  const text = await one.sign({});
  for (const next of [[], [other.jwk]]) {
    const { ask, publish } = place();
    expect(await ask(text)).toBe('alice');
    publish(...next);
    expect(await ask(text)).toBe('token_invalid');
    publish(other.jwk, one.jwk);
    expect(await ask(text)).toBe('alice');
  }
});

test('it is verified anew by another declaration of the issuer', async () => {
  const text = await one.sign({});
  const { ask } = place();
  expect(await ask(text)).toBe('alice');
  const renamed = { ...issuer, issuer: 'https://other.example' };
  const stricter = { ...issuer, algorithms: ['EdDSA'] } as unknown as TrustedIssuer;
  expect(await ask(text, { by: renamed })).toBe('token_invalid');
  expect(await ask(text, { by: stricter })).toBe('token_invalid');
});

test('what was asked of it before does not answer for what is asked now', async () => {
  const text = await one.sign({});
  const { ask } = place();
  expect(await ask(text, { required: [] })).toBe('alice');
  expect(await ask(text, { required: ['email'] })).toBe('token_invalid');
  expect(await ask(text, { required: ['sub'] })).toBe('alice');
});

test('no other signature is taken for the one that was verified', async () => {
  const text = await one.sign({});
  const { ask } = place();
  expect(await ask(text)).toBe('alice');
  const [header, payload] = text.split('.');
  const [, , foreign] = (await other.sign({})).split('.');
  expect(await ask(`${header}.${payload}.${foreign}`)).toBe('token_invalid');
});
