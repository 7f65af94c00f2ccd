import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { exportJWK, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { listen } from '../issuer.ts';
import { aliceReads, check, exchangeFields, form, tokenReads } from '../requests.ts';
import { bearer, type Running, secrets, startServer } from '../server.ts';
import { codeOf, Registrar } from './stage.ts';

/** JWT-SVIDs without `iss`: the trust domain of `sub` names the bundle that their keys are in. */

const DOMAIN = 'spiffe://acme.example';
const ID = `${DOMAIN}/ns/prod/sa/deploy`;
const AUDIENCE = 'https://mandate.acme.example/t/acme';
const [own, other, x509, unsaid] = Array.from({ length: 4 }, () =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' }),
) as [Pair, Pair, Pair, Pair];
type Pair = { publicKey: KeyObject; privateKey: KeyObject };

let bundles: Awaited<ReturnType<typeof listen>>;
let server: Running;
let registrar: Registrar;

beforeAll(async () => {
  const entry = async ({ publicKey }: Pair, kid: string, use?: string) => ({
    ...(await exportJWK(publicKey)),
    kid,
    ...(use && { use }),
  });
  const acme = {
    spiffe_sequence: 1,
    keys: [
      await entry(own, 'own', 'jwt-svid'),
      await entry(x509, 'x509', 'x509-svid'),
      await entry(unsaid, 'unsaid'),
    ],
  };
  const evil = { keys: [await entry(other, 'own', 'jwt-svid')] };
  bundles = await listen((request, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(request.url === '/acme' ? acme : evil));
  });
  server = await startServer();
  registrar = new Registrar(server);
  for (const [issuer, name] of [
    [DOMAIN, 'acme'],
    ['spiffe://evil.example', 'evil'],
  ])
    await registrar.call('PutIssuer', {
      issuer: { issuer, jwksUri: `${bundles.url}/${name}`, algorithms: ['ES256'], subjectClass: 'service' },
    });
  const credential = {
    workload: { issuer: DOMAIN, audience: AUDIENCE, claims: { sub: `${DOMAIN}/ns/prod/sa/*` } },
  };
  expect((await registrar.put({ class: 'service', id: 'deploy', credentials: [credential] })).body).toEqual({
    written: 1,
  });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await bundles[Symbol.asyncDispose]();
});

/** As SPIRE makes them: sub, aud, exp and iat, no type. */
function svid(claims: Record<string, unknown> = {}, key: Pair = own, header: object = {}): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  return new SignJWT({ sub: ID, aud: [AUDIENCE], exp: now + 300, iat: now, ...claims })
    .setProtectedHeader({ alg: 'ES256', kid: 'own', ...header })
    .sign(key.privateKey);
}
const asks = async (text: string): Promise<number> =>
  (await check(server.data, aliceReads, bearer(text))).status;

test('JWT-SVID 3: is the workload that it names, with a type or without, with iat or without', async () => {
  expect(await asks(await svid())).toBe(200);
  for (const typ of ['JWT', 'JOSE']) expect(await asks(await svid({}, own, { typ }))).toBe(200);
  expect(await asks(await svid({ iat: undefined }))).toBe(200);
});

describe('is not let in by one that', () => {
  test.each<[string, Record<string, unknown>, object?]>([
    ['is of another trust domain', { sub: 'spiffe://evil.example/ns/prod/sa/deploy' }],
    ['is of one that nobody trusts', { sub: 'spiffe://other.example/ns/prod/sa/deploy' }],
    ['is of a name that begins alike', { sub: 'spiffe://acme.example.evil.example/ns/prod/sa/deploy' }],
    ['is of the domain with a port', { sub: 'spiffe://acme.example:443/ns/prod/sa/deploy' }],
    ['is of the domain behind a user', { sub: 'spiffe://x@acme.example/ns/prod/sa/deploy' }],
    ['is written in other letters', { sub: 'SPIFFE://ACME.example/ns/prod/sa/deploy' }],
    ['walks paths', { sub: `${DOMAIN}/ns/prod/sa/../../../admin` }],
    ['has an empty segment', { sub: `${DOMAIN}/ns/prod/sa//deploy` }],
    ['ends with a slash', { sub: `${ID}/` }],
    ['has a query', { sub: `${ID}?x=1` }],
    ['has escapes', { sub: `${DOMAIN}/ns/prod/sa/%64eploy` }],
    ['names no path', { sub: DOMAIN }],
    ['is another workload', { sub: `${DOMAIN}/ns/test/sa/deploy` }],
    ['names nobody', { sub: undefined }],
    ['names a list', { sub: [ID] }],
    ['claims the domain as its iss', { iss: DOMAIN }],
    ['has an iss that is null', { iss: null }],
    ['has an empty iss', { iss: '' }],
    ['is for another audience', { aud: ['https://elsewhere.example'] }],
    ['is for none', { aud: undefined }],
    ['has no end', { exp: undefined }],
    ['is over', { exp: 1 }],
    ['is bound to a key', { cnf: { jkt: 'x' } }],
    ['says who else acts', { act: { sub: 'x' } }],
    ['is of the type of an access token', {}, { typ: 'at+jwt' }],
  ])('%s', async (_, claims, header = {}) => {
    expect(await asks(await svid(claims, own, header))).toBe(401);
  });
});

test('is not let in by one that another domain signed, whatever key it names', async () => {
  for (const kid of ['own', 'x509', undefined]) expect(await asks(await svid({}, other, { kid }))).toBe(401);
  expect(await asks(await svid({ sub: 'spiffe://evil.example/ns/prod/sa/deploy' }, other))).toBe(401);
});

test('by a key of the bundle that is not for JWT-SVIDs is not let in', async () => {
  for (const [key, kid] of [
    [x509, 'x509'],
    [unsaid, 'unsaid'],
  ] as const)
    for (const named of [kid, undefined]) expect(await asks(await svid({}, key, { kid: named }))).toBe(401);
  expect(await asks(await svid({}, own, { kid: undefined }))).toBe(200);
});

test('is a credential, and no token: neither an exchange nor a check takes it', async () => {
  const text = await svid();
  const agent = { id: 'research-agent', secret: secrets.agent };
  for (const type of ['access_token', 'id_token', 'jwt']) {
    const fields = exchangeFields(text, { subject_token_type: `urn:ietf:params:oauth:token-type:${type}` });
    expect(await form(server.data, 'token', fields, agent)).toMatchObject({
      status: 400,
      body: { code: 'token_invalid' },
    });
  }
  expect((await check(server.data, tokenReads(text, ''), bearer(secrets.mcp))).body).toMatchObject({
    decision: 'DECISION_DENY',
    reasons: [{ code: 'token_invalid' }],
  });
});

test.each([
  ['for users', { subjectClass: 'user', jwksUri: 'https://x.example/bundle' }],
  ['without a bundle', { subjectClass: 'service' }],
  ['with a path', { issuer: `${DOMAIN}/x`, subjectClass: 'service', jwksUri: 'https://x.example/bundle' }],
  [
    'in other letters',
    { issuer: 'spiffe://ACME.example', subjectClass: 'service', jwksUri: 'https://x.example/b' },
  ],
])('a trust domain %s is refused', async (_, members) => {
  const issuer = { issuer: 'spiffe://third.example', algorithms: ['ES256'], ...members };
  expect(codeOf(await registrar.call('PutIssuer', { issuer }))).toEqual({
    status: 400,
    code: 'invalid_request',
  });
});
