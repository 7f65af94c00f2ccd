import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { matches, workload } from '../../../src/tenancy/registry/workload.ts';
import { type Issuer, startIssuer } from '../issuer.ts';
import { aliceReads, check } from '../requests.ts';
import { bearer, type Running, startServer } from '../server.ts';
import { codeOf, Registrar } from './stage.ts';

/** Workloads that show the token their platform gave them. */

let platform: Issuer;
let server: Running;
let registrar: Registrar;
const AUDIENCE = 'https://mandate.acme.example/t/acme';
const deploy = (changes: object = {}, claims: object = {}) => ({
  class: 'service',
  id: 'deploy',
  credentials: [
    {
      workload: {
        issuer: platform.url,
        audience: AUDIENCE,
        claims: { sub: 'repo:acme/app:ref:refs/heads/*', '/kubernetes.io/namespace': 'prod', ...claims },
      },
    },
  ],
  ...changes,
});

beforeAll(async () => {
  platform = await startIssuer();
  server = await startServer();
  registrar = new Registrar(server);
  const issuer = { issuer: platform.url, algorithms: ['ES256'], subjectClass: 'service' };
  for (const tenant of ['acme', 'globex']) await registrar.call('PutIssuer', { issuer }, tenant);
  expect((await registrar.put(deploy())).body).toEqual({ written: 1 });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await platform[Symbol.asyncDispose]();
});

/** As GitHub Actions and Kubernetes make them: of the type JWT, for an audience, without a client. */
const token = (claims: Record<string, unknown> = {}): Promise<string> =>
  platform.sign(
    {
      sub: 'repo:acme/app:ref:refs/heads/main',
      aud: AUDIENCE,
      client_id: undefined,
      'kubernetes.io': { namespace: 'prod' },
      ...claims,
    },
    { typ: 'JWT' },
  );
const asks = async (text: string, tenant = 'acme'): Promise<number> =>
  (await check(server.data, { ...aliceReads, tenant }, bearer(text))).status;

test('is let in by it, as who it is, and is shown by it', async () => {
  expect(await asks(await token())).toBe(200);
  expect(await registrar.show('service', 'deploy')).toMatchObject({
    credentials: [{ workload: { issuer: platform.url, claims: { '/kubernetes.io/namespace': 'prod' } } }],
  });
});

test('a SPIFFE JWT-SVID is the workload of its trust domain that it names, and no other', async () => {
  const id = 'spiffe://acme.example/ns/prod/sa/deploy';
  const claims = { sub: id };
  const credential = { workload: { issuer: platform.url, audience: AUDIENCE, claims } };
  await registrar.put(deploy({ id: 'svid', credentials: [credential] }));
  // JWT-SVID section 3: sub, aud and exp, and whatever else.
  const svid = (sub: string, iss?: string) =>
    token({ sub, 'kubernetes.io': undefined, ...(iss !== undefined && { iss }) });
  expect(await asks(await svid(id))).toBe(200);
  for (const other of [`${id}/x`, 'spiffe://evil.example/ns/prod/sa/deploy', id.toUpperCase(), ` ${id}`])
    expect(await asks(await svid(other)), other).toBe(401);
  expect(await asks(await svid(id, 'https://spire.evil.example'))).toBe(401);
});

test.each<[string, Record<string, unknown>]>([
  ['another repository', { sub: 'repo:acme/app-fork:ref:refs/heads/main' }],
  ['another owner whose name begins alike', { sub: 'repo:acme/app:pull_request' }],
  ['a claim that is not there', { 'kubernetes.io': undefined }],
  ['a claim that is no text', { 'kubernetes.io': { namespace: ['prod'] } }],
  ['another audience', { aud: 'https://elsewhere.example' }],
  ['no audience', { aud: undefined }],
  ['a time that is over', { exp: 1 }],
  ['a time to come', { nbf: Math.floor(Date.now() / 1000) + 600 }],
  ['a key it is bound to', { cnf: { jkt: 'x' } }],
  ['somebody else who acts', { act: { sub: 'x' } }],
])('is not let in by a token with %s', async (_name, claims) => {
  expect(await asks(await token(claims))).toBe(401);
});

test('is nobody in another tenant that trusts the platform too', async () => {
  expect(await asks(await token(), 'globex')).toBe(401);
});

test('two that one token names are neither', async () => {
  await registrar.put(deploy({ id: 'twin' }, { sub: 'repo:*' }));
  expect(await asks(await token())).toBe(401);
  await registrar.call('RetirePrincipal', { class: 'service', id: 'twin' });
  expect(await asks(await token())).toBe(200);
});

test("an issuer of users names no workload: a user's token is no credential", async () => {
  const users = await startIssuer();
  await registrar.call('PutIssuer', { issuer: { issuer: users.url, algorithms: ['ES256'] } });
  const credential = { workload: { issuer: users.url, audience: AUDIENCE, claims: { sub: 'alice' } } };
  await registrar.put(deploy({ id: 'by-user', credentials: [credential] }));
  expect(await asks(await users.sign({ aud: AUDIENCE }))).toBe(401);
  await users[Symbol.asyncDispose]();
});

test.each([
  ['no claim', {}],
  ['a claim that may be anything', { sub: '*' }],
  ['seventeen claims', Object.fromEntries(Array.from({ length: 17 }, (_, no) => [`c${no}`, 'x']))],
])('a workload of %s is refused', async (_name, claims) => {
  const credentials = [{ workload: { issuer: platform.url, audience: AUDIENCE, claims } }];
  expect(codeOf(await registrar.put(deploy({ credentials })))).toEqual({
    status: 400,
    code: 'invalid_request',
  });
});

describe('a pattern', () => {
  const made = (sub: string) =>
    workload.parse({ issuer: 'https://x.example', audience: 'x', claims: { sub } });
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '*', '/'), minLength: 1, maxLength: 8 });

  test('matches what a regular expression does', () => {
    fc.assert(
      fc.property(
        text.filter((each) => /[^*]/.test(each)),
        text,
        (pattern, value) => {
          const parts = pattern.split('*').map((part) => RegExp.escape(part));
          expect(matches(made(pattern), { sub: value })).toBe(
            new RegExp(`^${parts.join('[^]*')}$`).test(value),
          );
        },
      ),
      { numRuns: 5_000 },
    );
  });

  test('is looked for in time that grows with the value alone', () => {
    const pattern = `${'a*'.repeat(200)}b`;
    expect(matches(made(pattern), { sub: 'a'.repeat(16_000) })).toBe(false);
  });

  test('of a name or a pointer finds what is there by itself, and nothing that is inherited', () => {
    const by = (name: string) =>
      workload.parse({ issuer: 'https://x.example', audience: 'x', claims: { [name]: 'v' } });
    expect(matches(by('/a/b'), { a: { b: 'v' } })).toBe(true);
    expect(matches(by('/a~1b'), { 'a/b': 'v' })).toBe(true);
    expect(matches(by('a/b'), { 'a/b': 'v' })).toBe(true);
    expect(matches(by('/a/0'), { a: ['v'] })).toBe(false);
    expect(matches(by('/constructor/name'), {})).toBe(false);
  });
});
