import { createHmac } from 'node:crypto';
import {
  type CryptoKey,
  exportJWK,
  generateKeyPair,
  type JWK,
  type JWTHeaderParameters,
  SignJWT,
} from 'jose';
import * as oauth from 'oauth4webapi';
import * as client from 'openid-client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Issuer, listen, startIssuer, trustIn } from '../issuer.ts';
import { type Answer, exchangeFields, form, type TokenJson } from '../requests.ts';
import { type Running, startIn, startServer } from '../server.ts';
import { helper, Registrar } from './stage.ts';

/** private_key_jwt: two libraries as clients, and whoever would like to be taken for one. RFC 7523, RFC 8725. */

let issuer: Issuer;
let server: Running;
let registrar: Registrar;
let own: Keys;
let published: Keys;
let keyServer: Awaited<ReturnType<typeof listen>>;
let fetched: string[];
let served: JWK[];

interface Keys {
  readonly privateKey: CryptoKey;
  readonly jwk: JWK;
}

const make = async (alg: string, kid: string): Promise<Keys> => {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return { privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg } };
};

beforeAll(async () => {
  issuer = await startIssuer();
  server = await startServer({
    acme: (manifest) => {
      manifest.issuers = [trustIn(issuer.url)];
    },
    globex: (manifest) => {
      manifest.issuers = [trustIn(issuer.url)];
    },
  });
  registrar = new Registrar(server);
  [own, published] = [await make('ES256', 'own'), await make('EdDSA', 'published')];
  served = [published.jwk];
  fetched = [];
  keyServer = await listen((request, response) => {
    fetched.push(request.url ?? '');
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ keys: served }));
  });
  const answer = await registrar.put(
    helper({ credentials: [{ jwks: { keys: [own.jwk] } }, { jwksUri: `${keyServer.url}/jwks` }] }),
  );
  expect(answer.body).toEqual({ written: 1 });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await issuer[Symbol.asyncDispose]();
  await keyServer[Symbol.asyncDispose]();
});

const base = (): string => `${server.data}/t/acme`;
let serial = 0;

interface Forged {
  readonly claims?: Record<string, unknown>;
  readonly header?: { readonly [name: string]: unknown };
  readonly keys?: Keys;
}

function assertion({ claims = {}, header = {}, keys = own }: Forged = {}): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  serial += 1;
  const defaults = {
    iss: 'helper',
    sub: 'helper',
    aud: base(),
    jti: `id-${serial}`,
    iat: now,
    exp: now + 60,
  };
  return new SignJWT({ ...defaults, ...claims })
    .setProtectedHeader({ alg: keys.jwk.alg, kid: keys.jwk.kid, ...header } as JWTHeaderParameters)
    .sign(keys.privateKey);
}

const TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

async function present(
  text: string,
  fields: Record<string, string> = {},
  tenant = 'acme',
): Promise<Answer<TokenJson>> {
  const asserted = { client_assertion: text, client_assertion_type: TYPE, ...fields };
  return await form(server.data, 'token', exchangeFields(await issuer.sign(), asserted), undefined, tenant);
}

const invalidClient = { status: 401, body: { error: 'invalid_client', code: 'unauthenticated' } };

describe('a client', () => {
  test('by openid-client exchanges, introspects and revokes', async () => {
    const found = await client.discovery(
      new URL(base()),
      'helper',
      undefined,
      client.PrivateKeyJwt({ key: own.privateKey, kid: 'own' }),
      { algorithm: 'oauth2', execute: [client.allowInsecureRequests] },
    );
    expect(found.serverMetadata().token_endpoint_auth_methods_supported).toContain('private_key_jwt');
    const fields = exchangeFields(await issuer.sign());
    const { access_token: token } = await client.genericGrantRequest(
      found,
      fields['grant_type'] ?? '',
      fields,
    );
    expect(await client.tokenIntrospection(found, token)).toMatchObject({
      active: true,
      client_id: 'helper',
    });
    await client.tokenRevocation(found, token);
    expect(await client.tokenIntrospection(found, token)).toEqual({ active: false });
  });

  test('by oauth4webapi exchanges, by a key that its address has', async () => {
    const as = { issuer: base(), token_endpoint: `${base()}/oauth2/token` };
    const response = await oauth.genericTokenEndpointRequest(
      as,
      { client_id: 'helper' },
      oauth.PrivateKeyJwt({ key: published.privateKey, kid: 'published' }),
      exchangeFields(await issuer.sign())['grant_type'] ?? '',
      new URLSearchParams(exchangeFields(await issuer.sign())),
      { [oauth.allowInsecureRequests]: true },
    );
    expect(await response.json()).toMatchObject({ scope: 'docs.read' });
    expect(fetched).toEqual(['/jwks']);
  });

  test.each<[string, () => Forged, Record<string, string>]>([
    ['with its client_id beside it', () => ({}), { client_id: 'helper' }],
    ['to the token endpoint by its address', () => ({ claims: { aud: [`${base()}/oauth2/token`] } }), {}],
    ['of the type that is its own', () => ({ header: { typ: 'client-authentication+jwt' } }), {}],
    ['without a kid', () => ({ header: { kid: undefined } }), {}],
    ['without iat', () => ({ claims: { iat: undefined } }), {}],
  ])('may present it %s', async (_name, forged, fields) => {
    expect((await present(await assertion(forged()), fields)).status).toBe(200);
  });

  test('is found with its last use, and its keys alone', async () => {
    const { credentials } = await registrar.show('agent', 'helper');
    expect(credentials?.every(({ lastUsedAt }) => lastUsedAt !== undefined)).toBe(true);
  });
});

describe('it is taken once', () => {
  test('by whichever endpoint, across a restart too, and its id is its own', async () => {
    const text = await assertion({ claims: { jti: 'once' } });
    expect((await present(text)).status).toBe(200);
    expect(await present(text)).toMatchObject(invalidClient);
    const introspected = await form(server.data, 'introspect', {
      token: 'x',
      client_assertion: text,
      client_assertion_type: TYPE,
    });
    expect(introspected).toMatchObject(invalidClient);
    // Signed anew it is still the one.
    expect(await present(await assertion({ claims: { jti: 'once' } }))).toMatchObject(invalidClient);
    await registrar.put(helper({ id: 'twin', credentials: [{ jwks: { keys: [own.jwk] } }] }));
    const twin = { iss: 'twin', sub: 'twin', jti: 'once' };
    expect((await present(await assertion({ claims: twin }))).status).toBe(200);
    // The same address: an audience names it.
    const port = new URL(server.data).port;
    await server.stop();
    server = await startIn(server.folder, { overrides: { data: `127.0.0.1:${port}` } });
    registrar = new Registrar(server);
    expect(await present(text)).toMatchObject(invalidClient);
    expect((await present(await assertion())).status).toBe(200);
  });

  test('of many at the same time one is taken', async () => {
    const text = await assertion();
    const answers = await Promise.all(Array.from({ length: 20 }, () => present(text)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
  });

  test('one that was refused before its signature held takes no id from the client', async () => {
    const stranger = await make('ES256', 'own');
    expect(await present(await assertion({ keys: stranger, claims: { jti: 'taken' } }))).toMatchObject(
      invalidClient,
    );
    expect((await present(await assertion({ claims: { jti: 'taken' } }))).status).toBe(200);
  });
});

describe('nobody is taken for the client by', () => {
  const now = (): number => Math.floor(Date.now() / 1000);
  test.each<[string, () => Forged | Promise<Forged>]>([
    ['a key of a stranger under its kid', async () => ({ keys: await make('ES256', 'own') })],
    ['another algorithm', async () => ({ keys: await make('ES384', 'own') })],
    ['another subject', () => ({ claims: { sub: 'research-agent' } })],
    ['another issuer', () => ({ claims: { iss: 'research-agent' } })],
    ['an audience beyond', () => ({ claims: { aud: 'https://elsewhere.example' } })],
    ['a second audience', () => ({ claims: { aud: [base(), 'https://elsewhere.example'] } })],
    ["another tenant's audience", () => ({ claims: { aud: `${server.data}/t/globex` } })],
    ['no audience', () => ({ claims: { aud: undefined } })],
    ['one that has expired', () => ({ claims: { exp: now() - 31 } })],
    ['one that never expires', () => ({ claims: { exp: undefined } })],
    ['one that is good for a day', () => ({ claims: { exp: now() + 86_400 } })],
    ['one to come', () => ({ claims: { nbf: now() + 60 } })],
    ['one made in the future', () => ({ claims: { iat: now() + 60 } })],
    ['one without an id', () => ({ claims: { jti: undefined } })],
    ['one with an id that is none', () => ({ claims: { jti: '' } })],
    ['one with a long id', () => ({ claims: { jti: 'x'.repeat(257) } })],
    ['an access token', () => ({ header: { typ: 'at+jwt' } })],
    ['a DPoP proof', () => ({ header: { typ: 'dpop+jwt' } })],
    ['a critical header', () => ({ header: { crit: ['x'], x: 1 } })],
  ])('%s', async (_name, forged) => {
    const text = await assertion(await forged()).catch(() => 'a.b.c');
    expect(await present(text)).toMatchObject(invalidClient);
  });

  test('a header that brings a key or says where one is: nobody is asked', async () => {
    const stranger = await make('ES256', 'own');
    const before = fetched.length;
    for (const header of [
      { jwk: stranger.jwk },
      { jku: `${keyServer.url}/stranger` },
      { x5u: `${keyServer.url}/stranger` },
    ])
      expect(await present(await assertion({ keys: stranger, header }))).toMatchObject(invalidClient);
    expect(fetched.slice(before).filter((path) => path !== '/jwks')).toEqual([]);
  });

  test('no signature, or one of a secret that everybody knows', async () => {
    const [, claims] = (await assertion()).split('.');
    const signed = (alg: string, sign: (text: string) => string): string => {
      const text = `${Buffer.from(JSON.stringify({ alg, kid: 'own' })).toString('base64url')}.${claims}`;
      return `${text}.${sign(text)}`;
    };
    const secret = JSON.stringify(own.jwk);
    for (const text of [
      signed('none', () => ''),
      signed('HS256', (each) => createHmac('sha256', secret).update(each).digest('base64url')),
    ])
      expect(await present(text)).toMatchObject(invalidClient);
  });

  test("another client's id beside it, a second way of authentication, or half of the parameters", async () => {
    expect(await present(await assertion(), { client_id: 'research-agent' })).toMatchObject(invalidClient);
    const both = await present(await assertion(), { client_secret: 'x', client_id: 'helper' });
    expect(both).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
    const other = await present(await assertion(), { client_assertion_type: 'urn:other' });
    expect(other).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
  });

  test('one for this tenant in another that has the client too', async () => {
    await registrar.call(
      'PutPrincipals',
      { principals: [helper({ credentials: [{ jwks: { keys: [own.jwk] } }] })] },
      'globex',
    );
    expect(await present(await assertion(), {}, 'globex')).toMatchObject(invalidClient);
  });

  test('an id that two principals have, with one key', async () => {
    await registrar.put({ class: 'job', id: 'helper', credentials: [{ jwks: { keys: [own.jwk] } }] });
    expect(await present(await assertion())).toMatchObject(invalidClient);
    // By the other key it is one of them.
    expect((await present(await assertion({ keys: published }))).status).toBe(200);
    await registrar.call('RetirePrincipal', { class: 'job', id: 'helper' });
    expect((await present(await assertion())).status).toBe(200);
  });
});

test('a key that was withdrawn, a credential that has ended or was removed authenticates nobody', async () => {
  const next = await make('ES256', 'next');
  const put = (credentials: object[]) => registrar.put(helper({ credentials }));
  await put([{ jwks: { keys: [next.jwk] } }]);
  expect(await present(await assertion())).toMatchObject(invalidClient);
  expect((await present(await assertion({ keys: next }))).status).toBe(200);
  await put([{ jwks: { keys: [next.jwk] }, expiresAt: '2020-01-01T00:00:00Z' }]);
  expect(await present(await assertion({ keys: next }))).toMatchObject(invalidClient);
});

test('no client hears why: a client that is not there and a wrong key sound alike', async () => {
  const [unknown, wrong] = await Promise.all([
    present(await assertion({ claims: { iss: 'nobody', sub: 'nobody' } })),
    present(await assertion({ keys: await make('ES256', 'own') })),
  ]);
  expect(unknown.body).toEqual(wrong.body);
});
