import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ISSUER_AUDIENCE, type Issuer, listen, startIssuer, trustIn } from '../e2e/issuer.ts';
import { check, connect, exchangeFields, form, tokenReads } from '../e2e/requests.ts';
import { bearer, type Running, secrets, startServer } from '../e2e/server.ts';
import { agent, refusalOf } from './stage.ts';

/** Metadata and keys are an issuer's word: it does not get to point this server anywhere else. RFC 8414 section 6.2. */

type Answer = NonNullable<Parameters<typeof startIssuer>[0]>;

let internal: { url: string } & AsyncDisposable;
const seen: string[] = [];
let server: Running;
const issuers = new Map<string, Issuer>();

const json = (body: unknown): string => JSON.stringify(body);
const METADATA = '/.well-known/openid-configuration';

/** Each issuer's trick, by the path that it plays it on. */
const tricks: Record<
  string,
  { path: string; answer: (self: string, response: Parameters<Answer>[1]) => void }
> = {
  'metadata whose jwks_uri is on another host': {
    path: METADATA,
    answer: (self, response) => response.end(json({ issuer: self, jwks_uri: `${internal.url}/jwks` })),
  },
  'metadata whose jwks_uri is a file': {
    path: METADATA,
    answer: (self, response) => response.end(json({ issuer: self, jwks_uri: 'file:///etc/passwd' })),
  },
  'metadata whose jwks_uri is no URL': {
    path: METADATA,
    answer: (self, response) => response.end(json({ issuer: self, jwks_uri: 'nonsense' })),
  },
  'metadata that redirects': {
    path: METADATA,
    answer: (_self, response) => response.writeHead(302, { location: `${internal.url}/metadata` }).end(),
  },
  'metadata of another issuer': {
    path: METADATA,
    answer: (self, response) => response.end(json({ issuer: `${self}/other`, jwks_uri: `${self}/jwks` })),
  },
  'metadata that is no JSON': { path: METADATA, answer: (_self, response) => response.end('<html>') },
  'keys that redirect': {
    path: '/jwks',
    answer: (_self, response) => response.writeHead(307, { location: `${internal.url}/jwks` }).end(),
  },
  'keys of ten megabytes': {
    path: '/jwks',
    answer: (_self, response) => response.end(json({ keys: [], padding: 'x'.repeat(10_000_000) })),
  },
  'keys that are no JSON': { path: '/jwks', answer: (_self, response) => response.end('nonsense') },
  'keys that are not there': { path: '/jwks', answer: (_self, response) => response.writeHead(500).end() },
};

beforeAll(async () => {
  internal = await listen((request, response) => {
    seen.push(request.url ?? '');
    response.end(json({ keys: [] }));
  });
  for (const [name, { path, answer }] of Object.entries(tricks)) {
    const issuer = await startIssuer((request, response) => {
      if (request.url !== path) return false;
      response.setHeader('content-type', 'application/json');
      answer(issuer.url, response);
      return true;
    });
    issuers.set(name, issuer);
  }
  server = await startServer({
    acme: (manifest) => (manifest.issuers = [...issuers.values()].map((issuer) => trustIn(issuer.url))),
  });
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  for (const issuer of issuers.values()) await issuer[Symbol.asyncDispose]();
  await internal[Symbol.asyncDispose]();
});

const exchange = async (token: string) =>
  refusalOf(await form(server.data, 'token', exchangeFields(token), agent));

describe('the keys of an issuer', () => {
  test.each(Object.keys(tricks))('%s: no token, and no request anywhere else', async (name) => {
    const issuer = issuers.get(name);
    if (!issuer) throw new Error('no such issuer');
    expect(await exchange(await issuer.sign())).toEqual({
      status: 503,
      error: 'temporarily_unavailable',
      code: 'unavailable',
    });
    expect(issuer.requests.length).toBeGreaterThan(0);
    expect(seen).toEqual([]);
  });

  test('an issuer that speaks http is refused without --dev, on this machine too', async () => {
    const issuer = await startIssuer();
    await using _ = issuer;
    await using strict = await startServer({
      overrides: { dev: false },
      acme: (manifest) => (manifest.issuers = [trustIn(issuer.url)]),
    });
    const answer = await form(strict.data, 'token', exchangeFields(await issuer.sign()), agent);
    expect(refusalOf(answer).code).toBe('unavailable');
    expect(issuer.requests).toEqual([]);
  });

  test('an issuer that one tenant trusts is a stranger to another', async () => {
    const issuer = await startIssuer();
    await using _ = issuer;
    await using both = await startServer({
      acme: (manifest) => (manifest.issuers = []),
      globex: (manifest) => (manifest.issuers = [trustIn(issuer.url)]),
    });
    const token = await issuer.sign({ aud: ISSUER_AUDIENCE });
    const answer = await form(both.data, 'token', exchangeFields(token), agent);
    expect(refusalOf(answer).code).toBe('token_invalid');
    expect(issuer.requests).toEqual([]);
  });

  test('an issuer that comes back is asked again: a failure is not kept', async () => {
    let broken = true;
    const issuer = await startIssuer((request, response) => {
      if (!broken || request.url !== METADATA) return false;
      response.writeHead(500).end();
      return true;
    });
    await using _ = issuer;
    await using fresh = await startServer({
      acme: (manifest) => (manifest.issuers = [trustIn(issuer.url)]),
    });
    const ask = async () => form(fresh.data, 'token', exchangeFields(await issuer.sign()), agent);
    expect((await ask()).status).toBe(503);
    broken = false;
    expect((await ask()).status).toBe(200);
  });

  test('a key that stands twice, one that is none and a token without a kid keep nobody out', async () => {
    const stranger = { kty: 'EC', crv: 'P-256', x: 'AAAA', y: 'AAAA', kid: 'issuer-1' };
    const issuer = await startIssuer((request, response) => {
      if (request.url !== '/jwks') return false;
      const { publicJwk } = issuer;
      response.setHeader('content-type', 'application/json');
      response.end(json({ keys: [stranger, null, publicJwk, publicJwk, { ...publicJwk, kid: 'other' }] }));
      return true;
    });
    await using _ = issuer;
    await using fresh = await startServer({
      acme: (manifest) => (manifest.issuers = [trustIn(issuer.url)]),
    });
    const ask = async (header: object) =>
      form(fresh.data, 'token', exchangeFields(await issuer.sign({}, header)), agent);
    for (const header of [{}, { kid: undefined as unknown as string }, { kid: 'other' }])
      expect((await ask(header)).status).toBe(200);
    expect(refusalOf(await ask({ kid: 'nobody' })).code).toBe('token_invalid');
  });

  test('keys that cannot be had are named, and what was asked for is in the log', async () => {
    const issuer = await startIssuer((_request, response) => {
      response.writeHead(503).end();
      return true;
    });
    await using _ = issuer;
    await using fresh = await startServer({
      acme: (manifest) => (manifest.issuers = [trustIn(issuer.url)]),
    });
    const answer = await check(fresh.data, tokenReads(await issuer.sign(), ''), bearer(secrets.mcp));
    expect(answer.status).toBe(503);
    expect(JSON.stringify(answer.body)).toContain(issuer.url);
    const { body } = await connect<{ records: object[] }>(fresh.admin, 'AuditService/Query', {
      tenant: 'acme',
      kind: 'decision',
    });
    expect(body.records).toMatchObject([
      { outcome: 'error', caller: 'mcp_server:docs-mcp', reasons: [{ code: 'unavailable' }] },
    ]);
  });
});
