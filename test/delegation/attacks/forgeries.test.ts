import { createHmac, createPublicKey, generateKeyPairSync } from 'node:crypto';
import {
  CompactEncrypt,
  exportJWK,
  generateKeyPair,
  type JWK,
  type JWTHeaderParameters,
  SignJWT,
} from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { listen } from '../../e2e/issuer.ts';
import { claimsOf, ID_TOKEN, request } from '../../e2e/requests.ts';
import { deniedFor, refusalOf, refused, Stage } from '../stage.ts';

/** The attack list of PROTOCOLS.md: tokens that nobody should believe. RFC 8725. */

let stage: Stage;
const rsaKeys = generateKeyPairSync('rsa', { modulusLength: 2048 });
const rsaJwk = { ...rsaKeys.publicKey.export({ format: 'jwk' }), kid: 'rsa-1', alg: 'RS256', use: 'sig' };

beforeAll(async () => {
  // The issuer publishes a second key, of an algorithm that tenant.yaml does not name.
  stage = await Stage.open({}, (incoming, response) => {
    if (incoming.url !== '/jwks') return false;
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ keys: [rsaJwk, stage.issuer.publicJwk] }));
    return true;
  });
});
afterAll(() => stage[Symbol.asyncDispose]());

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const headerOf = (token: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()) as Record<string, unknown>;

/** Neither an exchange nor a decision believes it. */
async function disbelieved(token: string, code = 'token_invalid'): Promise<void> {
  expect(refusalOf(await stage.exchange(token))).toEqual(refused(code));
  expect(await stage.check(token)).toMatchObject(deniedFor(code));
  expect(await stage.introspect(token)).toEqual({ active: false });
}

/** The public key of the tenant's own tokens, and of the issuer's. */
const targets = async (): Promise<{ token: string; jwk: JWK }[]> => {
  const { body } = await request<{ keys: JWK[] }>(`${stage.server.data}/t/acme/oauth2/jwks`);
  const [own = {}] = body.keys;
  return [
    { token: await stage.granted(), jwk: own },
    { token: await stage.issuer.sign(), jwk: stage.issuer.publicJwk },
  ];
};

/** Claims of a good token under an attacker's key, with whatever header. */
async function forged(token: string, header: Record<string, unknown>): Promise<string> {
  const { privateKey } = await generateKeyPair('ES256');
  return new SignJWT(claimsOf(token))
    .setProtectedHeader({ ...headerOf(token), ...header } as JWTHeaderParameters)
    .sign(privateKey);
}

describe('RFC 8725 3.1: the algorithm is the one of the key', () => {
  test('alg none, in any spelling, with and without a signature', async () => {
    for (const { token } of await targets())
      for (const alg of ['none', 'None', 'nOnE', '', null]) {
        const [, payload = '', signature = ''] = token.split('.');
        const header = encode({ ...headerOf(token), alg });
        await disbelieved(`${header}.${payload}.`);
        await disbelieved(`${header}.${payload}.${signature}`);
      }
  });

  test('HS256 with the public key as the secret, as JWK, PEM and DER', async () => {
    for (const { token, jwk } of await targets()) {
      const key = createPublicKey({ key: jwk, format: 'jwk' });
      const secrets = [
        JSON.stringify(jwk),
        key.export({ format: 'pem', type: 'spki' }),
        key.export({ format: 'der', type: 'spki' }),
        jwk.x ?? '',
      ];
      for (const secret of secrets) {
        const signed = `${encode({ ...headerOf(token), alg: 'HS256' })}.${token.split('.')[1]}`;
        const mac = createHmac('sha256', secret).update(signed).digest('base64url');
        await disbelieved(`${signed}.${mac}`);
      }
    }
  });

  test('an algorithm that was not agreed on, even under a key the issuer publishes', async () => {
    const claims = claimsOf(await stage.issuer.sign());
    const rsa = await new SignJWT(claims)
      .setProtectedHeader({ alg: 'RS256', kid: 'rsa-1', typ: 'at+jwt' })
      .sign(rsaKeys.privateKey);
    await disbelieved(rsa);
    // The same key under the kid of the other one.
    const swapped = await new SignJWT(claims)
      .setProtectedHeader({ alg: 'RS256', kid: 'issuer-1', typ: 'at+jwt' })
      .sign(rsaKeys.privateKey);
    await disbelieved(swapped);
  });

  test('a signature that was cut, swapped or of other bytes', async () => {
    for (const { token } of await targets()) {
      const [header = '', payload = '', signature = ''] = token.split('.');
      const claims = encode({ ...claimsOf(token), sub: 'carol' });
      for (const tampered of [
        `${header}.${claims}.${signature}`,
        `${header}.${payload}.`,
        `${header}.${payload}.${signature.slice(0, -4)}`,
        `${header}.${payload}.${'A'.repeat(signature.length)}`,
        `${header}.${payload}.${signature}.`,
      ])
        await disbelieved(tampered);
    }
  });
});

describe('RFC 8725 3.10: a header says nothing about where keys are', () => {
  test('jku, x5u and an embedded jwk are not followed: a listener sees no request', async () => {
    const { publicKey } = await generateKeyPair('ES256');
    const jwk = { ...(await exportJWK(publicKey)), kid: 'mine', alg: 'ES256' };
    const seen: string[] = [];
    await using trap = await listen((incoming, response) => {
      seen.push(incoming.url ?? '');
      response.end(JSON.stringify({ keys: [jwk] }));
    });
    for (const { token } of await targets())
      for (const header of [
        { jku: `${trap.url}/jwks`, kid: 'mine' },
        { x5u: `${trap.url}/cert`, kid: 'mine' },
        { jwk, kid: 'mine' },
        { jku: `${trap.url}/jwks`, jwk },
        { x5c: ['AAAA'], 'x5t#S256': 'x' },
      ])
        await disbelieved(await forged(token, header));
    // An issuer that nobody trusts is not asked for its keys either.
    await disbelieved(await stage.issuer.sign({ iss: trap.url }));
    expect(seen).toEqual([]);
  });

  test('a critical header that is not understood is refused (RFC 7515 4.1.11)', async () => {
    const header = { crit: ['exp'], exp: 1 } as unknown as Partial<JWTHeaderParameters>;
    const token = await stage.issuer.sign();
    const text = `${encode({ ...headerOf(token), ...header })}.${token.split('.')[1]}.${token.split('.')[2]}`;
    await disbelieved(text);
  });

  test('a kid that walks paths, asks the database or is no text finds no key', async () => {
    const kids = [
      '../../../../etc/passwd',
      '..\\keys',
      "' OR 1=1 --",
      '',
      '__proto__',
      '%00',
      7,
      null,
      ['issuer-1'],
    ];
    for (const { token } of await targets())
      for (const kid of kids) await disbelieved(await forged(token, { kid }));
  });

  test('a kid of a megabyte is refused before anything is read of it', async () => {
    for (const { token } of await targets()) {
      const [header = '', ...rest] = (await forged(token, { kid: 'k'.repeat(700_000) })).split('.');
      const big = [header, ...rest].join('.');
      expect(refusalOf(await stage.exchange(big))).toEqual(refused('token_invalid'));
      // Small enough for a form, too large for a token.
      await disbelieved(await forged(token, { kid: 'k'.repeat(10_000) }));
    }
  });
});

describe('RFC 8725 3.11: one kind of token is not taken for another', () => {
  test('an ID token is no access token, and an access token no ID token', async () => {
    const idToken = await stage.issuer.sign({ aud: 'research-agent' }, { typ: 'JWT' });
    await disbelieved(idToken);
    const swapped = await stage.exchange(await stage.issuer.sign(), { subject_token_type: ID_TOKEN });
    expect(refusalOf(swapped)).toEqual(refused('token_invalid'));
    const own = await stage.exchange(await stage.granted(), { subject_token_type: ID_TOKEN });
    expect(refusalOf(own)).toEqual(refused('token_invalid'));
  });

  test('neither is anything else that a trusted issuer signs', async () => {
    for (const typ of [
      'logout+jwt',
      'token-introspection+jwt',
      'dpop+jwt',
      'client-authentication+jwt',
      'secevent+jwt',
    ])
      await disbelieved(await stage.issuer.sign({}, { typ }));
  });

  test("a client's own assertion names no subject (RFC 7523 3)", async () => {
    const { privateKey } = await generateKeyPair('ES256');
    const assertion = await new SignJWT({
      iss: 'research-agent',
      sub: 'research-agent',
      aud: stage.server.data,
    })
      .setProtectedHeader({ alg: 'ES256', typ: 'client-authentication+jwt' })
      .setIssuedAt()
      .setExpirationTime('1m')
      .sign(privateKey);
    await disbelieved(assertion);
  });

  test('a trusted issuer cannot speak as the tenant itself', async () => {
    const own = claimsOf(await stage.granted());
    await disbelieved(await stage.issuer.sign({ ...own, act: { sub: 'research-agent' } }));
  });
});

describe('RFC 7519 4.1: claims that a token cannot do without', () => {
  test('a token without exp, iat, aud or sub, or with ones of the wrong type, is refused', async () => {
    for (const claim of ['exp', 'iat', 'aud', 'sub'])
      await disbelieved(await stage.issuer.sign({ [claim]: undefined }));
    for (const claims of [
      { sub: '' },
      { sub: 7 },
      { sub: 'x'.repeat(300) },
      { exp: 'never' },
      { iss: ['a'] },
    ])
      await disbelieved(await stage.issuer.sign(claims));
  });

  test('a token that is not valid yet is refused', async () => {
    await disbelieved(await stage.issuer.sign({ nbf: Math.floor(Date.now() / 1000) + 3_600 }));
  });
});

describe('JWT bombs', () => {
  test('JSON as deep as a token can hold is refused or believed, and the process goes on', async () => {
    const [header = '', , signature = ''] = (await stage.issuer.sign()).split('.');
    const bomb = `{"iss":${JSON.stringify(stage.issuer.url)},"x":${'['.repeat(5_000)}${']'.repeat(5_000)}}`;
    await disbelieved(`${header}.${Buffer.from(bomb).toString('base64url')}.${signature}`);
  });

  test('ten thousand scopes are refused, in the request and in the token', async () => {
    const scopes = Array.from({ length: 10_000 }, (_, at) => `s${at}`).join(' ');
    expect(refusalOf(await stage.exchange(await stage.issuer.sign(), { scope: scopes }))).toEqual({
      status: 400,
      error: 'invalid_scope',
      code: 'invalid_scope',
    });
    const token = await stage.issuer.sign({ scope: scopes });
    expect(refusalOf(await stage.exchange(token))).toEqual(refused('token_invalid'));
    // Too large to be asked about at all.
    expect(await stage.check(token)).toMatchObject({ code: 'invalid_argument' });
  });

  test('RFC 8725 3.6: a JWE in five parts, compressed or not, is not opened', async () => {
    const { publicKey } = await generateKeyPair('ECDH-ES');
    const jwe = await new CompactEncrypt(new Uint8Array(1_000))
      .setProtectedHeader({ alg: 'ECDH-ES', enc: 'A256GCM' })
      .encrypt(publicKey);
    await disbelieved(jwe);
    const [, ...rest] = jwe.split('.');
    await disbelieved([encode({ alg: 'dir', enc: 'A256GCM', zip: 'DEF' }), ...rest].join('.'));
  });
});
