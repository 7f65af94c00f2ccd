import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { failure, Grpc } from './grpc.ts';
import { ISSUER_AUDIENCE, type Issuer, startIssuer, trustIn } from './issuer.ts';
import { aliceReads, check, connect, exchangeFields, form, postJson } from './requests.ts';
import { basic, bearer, type Running, secrets, startServer } from './server.ts';

/** Callers that authenticate with an access token of an issuer the tenant trusts for services: fetch and grpc-js. */

let server: Running;
/** Trusted by acme for its services and for its users, and by globex for its services. */
let services: Issuer;
let users: Issuer;
let foreign: Issuer;

beforeAll(async () => {
  [services, users, foreign] = await Promise.all([startIssuer(), startIssuer(), startIssuer()]);
  // Issuers that speak cleartext on this machine are for --dev.
  server = await startServer({
    acme: (manifest) => {
      manifest.issuers = [{ ...trustIn(services.url), subject_class: 'service' }, trustIn(users.url)];
    },
    globex: (manifest) => {
      manifest.issuers = [{ ...trustIn(foreign.url), subject_class: 'service' }];
      manifest.principals.push({ class: 'service', id: 'docs-api' });
    },
  });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await Promise.all([services, users, foreign].map((each) => each[Symbol.asyncDispose]()));
});

const api = (claims: Record<string, unknown> = {}, header: Record<string, string> = {}): Promise<string> =>
  services.sign({ sub: 'docs-api', client_id: 'docs-api', ...claims }, header);

const seconds = (): number => Math.floor(Date.now() / 1000);

/** Asks with the token as credential. */
const ask = async (token: string, tenant = 'acme') => {
  const answer = await check(server.data, { ...aliceReads, tenant }, bearer(token));
  return { status: answer.status, code: answer.headers.get('mandate-error-code'), body: answer.body };
};

const refused = { status: 401, code: 'unauthenticated' };

describe('a caller by JWT', () => {
  test('is the service that the token names, and is recorded as it', async () => {
    const { body } = await ask(await api());
    expect(body.decision).toBe('DECISION_ALLOW');
    const { body: log } = await connect<{ records: { caller: string }[] }>(
      server.admin,
      'AuditService/Query',
      { tenant: 'acme', decisionId: body.decisionId },
    );
    expect(log.records.map(({ caller }) => caller)).toEqual(['service:docs-api']);
  });

  test('may what its principal may, in every protocol', async () => {
    const token = await api();
    const { tenant: _, ...evaluation } = aliceReads;
    const url = `${server.data}/t/acme/access/v1/evaluation`;
    expect(await postJson(url, evaluation, bearer(token))).toMatchObject({
      status: 200,
      body: { decision: true },
    });
    using pep = new Grpc(server.data, token);
    const { resource, ...rest } = aliceReads;
    const request = { ...rest, resource: { type: resource.type, id: resource.id } };
    expect(await pep.call('DecisionService', 'Check', request)).toMatchObject({ decision: 'DECISION_DENY' });
    // docs-api may check, introspect and read the log; not change the tenant, nor exchange.
    const query = await connect(server.admin, 'AuditService/Query', { tenant: 'acme' }, bearer(token));
    expect(query.status).toBe(200);
    using admin = new Grpc(server.admin, token);
    const change = { tenant: 'acme', class: 'user', id: 'alice', status: 'PRINCIPAL_STATUS_DISABLED' };
    expect(await failure(admin.call('TenantService', 'SetPrincipalStatus', change))).toEqual({
      status: status.PERMISSION_DENIED,
      code: 'permission_denied',
    });
  });

  test('one of several audiences is enough', async () => {
    expect(await ask(await api({ aud: ['https://other.example', ISSUER_AUDIENCE] }))).toMatchObject({
      status: 200,
    });
  });

  test('is tolerated half a minute of clock skew, no more', async () => {
    expect(await ask(await api({ exp: seconds() - 10 }))).toMatchObject({ status: 200 });
    expect(await ask(await api({ exp: seconds() - 60 }))).toMatchObject(refused);
    expect(await ask(await api({ nbf: seconds() + 10 }))).toMatchObject({ status: 200 });
    expect(await ask(await api({ nbf: seconds() + 60 }))).toMatchObject(refused);
  });

  test('is disabled like any other', async () => {
    const set = (value: string) =>
      connect(server.admin, 'TenantService/SetPrincipalStatus', {
        tenant: 'acme',
        class: 'service',
        id: 'docs-api',
        status: `PRINCIPAL_STATUS_${value}`,
      });
    const token = await api();
    await set('DISABLED');
    expect(await ask(token)).toMatchObject({ status: 403, code: 'principal_disabled' });
    await set('ACTIVE');
    expect(await ask(token)).toMatchObject({ status: 200 });
  });
});

describe('a token that is no credential', () => {
  test("a user's access token, of an issuer for users", async () => {
    for (const sub of ['alice', 'docs-api', 'service:docs-api'])
      expect(await ask(await users.sign({ sub, client_id: 'docs-api' })), sub).toMatchObject(refused);
  });

  test('a token for another audience, or for none', async () => {
    for (const aud of ['https://other.example', `${ISSUER_AUDIENCE}/`, 'docs-api', [], undefined])
      expect(await ask(await api({ aud })), String(aud)).toMatchObject(refused);
  });

  test('an ID token, and any other type of JWT', async () => {
    for (const typ of ['JWT', 'dpop+jwt', 'logout+jwt', 'token-introspection+jwt'])
      expect(await ask(await api({}, { typ })), typ).toMatchObject(refused);
    const [, payload, signature] = (await api()).split('.');
    const none = Buffer.from('{"alg":"none","typ":"at+jwt"}').toString('base64url');
    for (const forged of [`${none}.${payload}.`, `${none}.${payload}.${signature}`, 'a.b.c'])
      expect(await ask(forged), forged).toMatchObject(refused);
  });

  test('a token of a principal that is not declared, or of another class', async () => {
    for (const sub of ['stranger', 'alice', 'research-agent', 'docs-mcp', 'nightly-index', '', undefined])
      expect(await ask(await api({ sub })), String(sub)).toMatchObject(refused);
  });

  test('a token without exp or iat, or signed by somebody else', async () => {
    expect(await ask(await api({ exp: undefined }))).toMatchObject(refused);
    expect(await ask(await api({ iat: undefined }))).toMatchObject(refused);
    const claims = { iss: services.url, sub: 'docs-api', client_id: 'docs-api' };
    expect(await ask(await users.sign(claims))).toMatchObject(refused);
    expect(await ask(await api({}, { kid: 'issuer-2' }))).toMatchObject(refused);
    expect(await ask(await api({ iss: 'https://nobody.example' }))).toMatchObject(refused);
  });

  test('a token of another tenant, though the service has the same name there', async () => {
    const theirs = await foreign.sign({ sub: 'docs-api', client_id: 'docs-api' });
    expect(await ask(theirs, 'globex')).toMatchObject({ status: 200 });
    expect(await ask(theirs, 'acme')).toMatchObject(refused);
    expect(await ask(await api(), 'globex')).toMatchObject(refused);
  });

  test('a token that Mandate itself issued', async () => {
    const agent = { id: 'research-agent', secret: secrets.agent };
    const { body } = await form(server.data, 'token', exchangeFields(await users.sign()), agent);
    expect(body.access_token).toMatch(/^ey/);
    expect(await ask(body.access_token)).toMatchObject(refused);
  });

  test('a token under the client id of somebody else', async () => {
    const token = await api();
    expect((await check(server.data, aliceReads, basic('docs-mcp', token))).status).toBe(401);
    expect((await check(server.data, aliceReads, basic('docs-api', token))).status).toBe(200);
  });

  test('says the same whatever is wrong with it', async () => {
    const wrong = await Promise.all(
      [api({ aud: 'x' }), api({ exp: seconds() - 60 }), api({ sub: 'stranger' }), users.sign()].map(
        async (token) => (await ask(await token)).body,
      ),
    );
    expect(new Set(wrong.map((body) => JSON.stringify(body))).size).toBe(1);
  });
});

test('keys that cannot be had are unavailable, not a wrong credential', async () => {
  await using silent = await startIssuer((_request, response) => {
    response.writeHead(503).end();
    return true;
  });
  await using other = await startServer({
    acme: (manifest) => (manifest.issuers = [{ ...trustIn(silent.url), subject_class: 'service' }]),
  });
  const answer = await check(other.data, aliceReads, bearer(await silent.sign({ sub: 'docs-api' })));
  expect(answer).toMatchObject({ status: 503, body: { code: 'unavailable' } });
});
