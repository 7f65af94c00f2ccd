import { createHash, createHmac } from 'node:crypto';
import fc from 'fast-check';
import { type CryptoKey, calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import * as oauth from 'oauth4webapi';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { DpopProofs, type Proven } from '../../../src/delegation/sender/dpop.ts';
import type { TenantNo } from '../../../src/storage/rows.ts';
import type { Writer } from '../../../src/storage/writer.ts';
import { openStore, temporaryFolder, tenantNo } from '../../storage/store.ts';

/** Proofs of possession over a real store, as RFC 9449 section 4.3 has them checked. */

let place: Awaited<ReturnType<typeof temporaryFolder>>;
let writer: Writer;
let acme: TenantNo;
let globex: TenantNo;
let proofs: DpopProofs;
let keys: { privateKey: CryptoKey; jwk: JWK };
let now: number;

const make = async (alg = 'ES256') => {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return { privateKey, jwk: await exportJWK(publicKey) };
};
const proofsOver = (over: Writer): DpopProofs =>
  new DpopProofs({ writer: over, clock: () => now, nonceKey: Buffer.alloc(32, 1) });

beforeAll(async () => {
  place = await temporaryFolder();
  writer = await openStore(place.folder);
  acme = await tenantNo(writer, 'acme');
  globex = await tenantNo(writer, 'globex');
  keys = await make();
});
afterAll(async () => {
  await writer[Symbol.asyncDispose]();
  await place[Symbol.asyncDispose]();
});
beforeEach(() => {
  now = Date.now();
  proofs = proofsOver(writer);
});

const URI = 'https://mandate.acme.example/t/acme/oauth2/token';
const asked: Omit<Proven, 'proof'> = { method: 'POST', uri: URI, nonce: 'ours' };
let serial = 0;

function proof(
  claims: Record<string, unknown> = {},
  header: Record<string, unknown> = {},
  by: typeof keys = keys,
  alg = 'ES256',
): Promise<string> {
  serial += 1;
  return new SignJWT({ jti: `p${serial}`, htm: 'POST', htu: URI, iat: Math.floor(now / 1000), ...claims })
    .setProtectedHeader({ typ: 'dpop+jwt', alg, jwk: by.jwk, ...header })
    .sign(by.privateKey);
}

const verify = (text: string, changes: Partial<Proven> = {}, tenant = acme): Promise<string> =>
  proofs.verify(tenant, { ...asked, proof: text, ...changes });
const invalid = { code: 'dpop_invalid' };

describe('a proof', () => {
  test.each(['ES256', 'ES384', 'EdDSA', 'RS256', 'PS256'])(
    'of %s tells the thumbprint of its key',
    async (alg) => {
      const own = await make(alg);
      expect(await verify(await proof({}, {}, own, alg))).toBe(await calculateJwkThumbprint(own.jwk));
    },
  );

  test('of oauth4webapi is taken, with its token and its nonce', async () => {
    const pair = await oauth.generateKeyPair('ES256');
    const client: oauth.Client = { client_id: 'x' };
    const handle = oauth.DPoP(client, pair);
    let sent: Headers | undefined;
    await oauth.protectedResourceRequest(
      'the-token',
      'GET',
      new URL('https://docs.acme.example/a?b=c'),
      new Headers(),
      null,
      {
        DPoP: handle,
        [oauth.customFetch]: (_url: string, options: { headers: unknown }) => {
          sent = new Headers(options.headers as Record<string, string>);
          return Promise.resolve(new Response('{}'));
        },
      },
    );
    const text = sent?.get('dpop') ?? '';
    const got = { method: 'GET', uri: 'https://docs.acme.example/a?b=c', accessToken: 'the-token' };
    expect(await verify(text, got)).toBe(await handle.calculateThumbprint());
  });

  test.each([
    ['HTTPS://MANDATE.acme.example:443/t/acme/oauth2/token?x=1#y', true],
    ['https://mandate.acme.example/t/acme/./oauth2/token', false],
    ['https://mandate.acme.example/t/x/../acme/oauth2/token', false],
    ['https://mandate.acme.example/t/x/%2E%2e/acme/oauth2/token', false],
    ['https://evil.example\\\\@mandate.acme.example/t/acme/oauth2/token', false],
    ['https://evil@mandate.acme.example/t/acme/oauth2/token', false],
    ['https://mandate.acme.example/t/globex/oauth2/token', false],
    ['http://mandate.acme.example/t/acme/oauth2/token', false],
    ['https://mandate.acme.example:8443/t/acme/oauth2/token', false],
    ['/t/acme/oauth2/token', false],
    ['javascript:alert(1)', false],
  ])('is for its address however it is written, and no other: %s', async (htu, is) => {
    const verified = verify(await proof({ htu }));
    await (is
      ? expect(verified).resolves.toBeTypeOf('string')
      : expect(verified).rejects.toMatchObject(invalid));
  });

  test('is for the token it came with', async () => {
    const ath = createHash('sha256').update('token').digest('base64url');
    await expect(verify(await proof({ ath }), { accessToken: 'token' })).resolves.toBeTypeOf('string');
    await expect(verify(await proof({ ath }), { accessToken: 'other' })).rejects.toMatchObject(invalid);
    await expect(verify(await proof(), { accessToken: 'token' })).rejects.toMatchObject(invalid);
    await expect(verify(await proof({ ath }))).rejects.toMatchObject(invalid);
  });

  test.each<[string, Record<string, unknown>]>([
    ['another method', { htm: 'GET' }],
    ['a method in other letters', { htm: 'post' }],
    ['no method', { htm: undefined }],
    ['no address', { htu: undefined }],
    ['no id', { jti: undefined }],
    ['an empty id', { jti: '' }],
    ['a long id', { jti: 'x'.repeat(257) }],
    ['no time', { iat: undefined }],
    ['a time that is a text', { iat: '1' }],
  ])('with %s is none', async (_name, claims) => {
    await expect(verify(await proof(claims))).rejects.toMatchObject(invalid);
  });

  test('is young, by a clock that may be half a minute off', async () => {
    const at = (seconds: number) => proof({ iat: Math.floor(now / 1000) + seconds });
    for (const seconds of [-85, 0, 25]) await expect(verify(await at(seconds))).resolves.toBeTypeOf('string');
    for (const seconds of [-95, 35, 1e9])
      await expect(verify(await at(seconds))).rejects.toMatchObject(invalid);
  });

  test.each<[string, (own: typeof keys, other: typeof keys) => Record<string, unknown>]>([
    ['another key than signed it', (_own, other) => ({ jwk: other.jwk })],
    ['a private key', (own) => ({ jwk: { ...own.jwk, d: 'AAAA' } })],
    ['no key', () => ({ jwk: undefined })],
    ['a key that is a text', () => ({ jwk: 'key' })],
    ['a symmetric key', () => ({ jwk: { kty: 'oct', k: 'AAAA' } })],
    ['another type', () => ({ typ: 'JWT' })],
    ['no type', () => ({ typ: undefined })],
    ['a critical header', () => ({ crit: ['exp'], exp: 1 })],
  ])('with %s in its header is none', async (_name, header) => {
    const text = await proof({}, header(keys, await make())).catch(() => 'a.b.c');
    await expect(verify(text)).rejects.toMatchObject(invalid);
  });

  test('by no signature, or by one that everybody can make, is none', async () => {
    const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const claims = encode({ jti: 'n', htm: 'POST', htu: URI, iat: Math.floor(now / 1000) });
    for (const alg of ['none', 'HS256']) {
      const text = `${encode({ typ: 'dpop+jwt', alg, jwk: keys.jwk })}.${claims}`;
      const signature = createHmac('sha256', JSON.stringify(keys.jwk)).update(text).digest('base64url');
      await expect(verify(`${text}.${alg === 'none' ? '' : signature}`)).rejects.toMatchObject(invalid);
    }
  });

  test('that is anything at all is refused by its code, and never otherwise', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.string(),
          fc.base64String().map((part) => `${part}.${part}.${part}`),
        ),
        async (text) => {
          await expect(verify(text)).rejects.toMatchObject(invalid);
        },
      ),
    );
  });
});

describe('it is taken once', () => {
  test('of many at the same time, and after a restart', async () => {
    const text = await proof();
    const taken = await Promise.allSettled(Array.from({ length: 20 }, () => verify(text)));
    expect(taken.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    proofs = proofsOver(writer);
    await expect(verify(text)).rejects.toMatchObject(invalid);
  });

  test('for its whole time, and not by one that did not verify', async () => {
    const text = await proof({ jti: 'mine' });
    await expect(verify(await proof({ jti: 'mine' }, {}, await make()))).resolves.toBeTypeOf('string');
    await expect(verify(await proof({ jti: 'mine', htm: 'GET' }))).rejects.toMatchObject(invalid);
    await expect(verify(text)).resolves.toBeTypeOf('string');
    now += 85_000;
    // Others are taken meanwhile, which makes room.
    for (let each = 0; each < 20; each += 1) await verify(await proof());
    await expect(verify(text)).rejects.toMatchObject(invalid);
  });

  test('in each tenant apart', async () => {
    const text = await proof();
    await verify(text);
    await expect(verify(text, {}, globex)).resolves.toBeTypeOf('string');
  });
});

describe('a nonce', () => {
  test('is asked for, and taken for one period more than it is given out', async () => {
    const asks = { nonce: 'required' } as const;
    await expect(verify(await proof(), asks)).rejects.toMatchObject({
      code: 'dpop_nonce_required',
    });
    const nonce = proofs.nonce();
    await expect(verify(await proof({ nonce }), asks)).resolves.toBeTypeOf('string');
    now += 180_000;
    await expect(verify(await proof({ nonce }), asks)).resolves.toBeTypeOf('string');
    now += 180_000;
    await expect(verify(await proof({ nonce }), asks)).rejects.toMatchObject({
      code: 'dpop_nonce_required',
    });
  });

  test("is somebody else's business with a request that went there", async () => {
    await expect(verify(await proof({ nonce: 'of the server' }), { nonce: 'theirs' })).resolves.toBeTypeOf(
      'string',
    );
  });

  test('that is not ours is refused where none is asked for, too', async () => {
    for (const nonce of ['x', 7, ''])
      await expect(verify(await proof({ nonce }))).rejects.toMatchObject({ code: 'dpop_nonce_required' });
  });
});
