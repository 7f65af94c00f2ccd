import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startIssuer, trustIn } from '../e2e/issuer.ts';
import { check, ID_TOKEN, postJson, tokenReads } from '../e2e/requests.ts';
import { bearer, secrets } from '../e2e/server.ts';
import { agent, deniedFor, mcp, otherAgent, refusalOf, refused, Stage } from './stage.ts';

/** What a token is, whom it is for and to whom it was given: one issuer as the RFCs have it, and others as they are. */

let stage: Stage;
/** Issuers by what is special about them. */
const names = ['okta', 'untyped', 'auth0', 'strict', 'email', 'services'] as const;
const issuers = {} as Record<(typeof names)[number], Awaited<ReturnType<typeof startIssuer>>>;

beforeAll(async () => {
  for (const name of names) issuers[name] = await startIssuer();
  const trust = (name: (typeof names)[number]) => trustIn(issuers[name].url);
  stage = await Stage.open({
    acme: (manifest) => {
      manifest.issuers?.push(
        { ...trust('okta'), client_claim: 'cid' },
        { ...trust('untyped'), client_claim: 'appid', access_token_types: ['jwt'] },
        { ...trust('auth0'), client_claim: 'azp', access_token_types: ['at+jwt', 'jwt'] },
        { ...trust('strict'), id_token_claims: ['nonce', 'at_hash'] },
        { ...trust('email'), subject_claim: 'email' },
        { ...trust('services'), subject_class: 'service' },
      );
      const alice = manifest.principals.find(({ id }) => id === 'alice');
      manifest.principals.push({ ...structuredClone(alice), class: 'user', id: 'alice@acme.example' });
      for (const principal of manifest.principals)
        if (principal.class === 'agent' || principal.class === 'job')
          principal.may = ['check', 'exchange', 'introspect', 'revoke'];
    },
  });
});
afterAll(async () => {
  await stage[Symbol.asyncDispose]();
  for (const issuer of Object.values(issuers)) await issuer[Symbol.asyncDispose]();
});

type Claims = Record<string, unknown>;
const JWT = { typ: 'JWT' };

const exchange = async (token: string, client = agent) => refusalOf(await stage.exchange(token, {}, client));
const asIdToken = async (token: string) =>
  refusalOf(await stage.exchange(token, { subject_token_type: ID_TOKEN }));
const granted = { status: 200 };

/** The code that Envoy is told for a request with the token. */
async function throughEnvoy(token: string): Promise<number> {
  const http = { method: 'GET', path: '/', host: 'docs', headers: { authorization: bearer(token) } };
  const { body } = await postJson<{ status: { code?: number } }>(
    `${stage.server.data}/envoy.service.auth.v3.Authorization/Check`,
    { attributes: { request: { http }, contextExtensions: { tenant: 'acme' } } },
    bearer(secrets.api),
  );
  return body.status.code ?? 0;
}

/** google.rpc.Code */
const UNAUTHENTICATED = 16;

/** The exchange, Check, Envoy, and in the place of a caller's own credential. */
const everywhere = async (claims: Claims, header = {}): Promise<void> => {
  const token = await stage.issuer.sign(claims, header);
  expect(await exchange(token)).toEqual(refused('token_invalid'));
  expect(await stage.check(token)).toMatchObject(deniedFor('token_invalid'));
  expect(await throughEnvoy(token)).toBe(UNAUTHENTICATED);
  const credential = await issuers.services.sign({ sub: 'docs-api', ...claims }, header);
  const answer = await check(
    stage.server.data,
    tokenReads(await stage.issuer.sign(), ''),
    bearer(credential),
  );
  expect(answer).toMatchObject({ status: 401 });
};

describe('RFC 9068 2.2: an access token names the client it was given to', () => {
  test('one that names none could have been given to anybody, and is refused', async () => {
    const nobody = { client_id: undefined };
    for (const client of [agent, otherAgent])
      expect(await exchange(await stage.issuer.sign(nobody), client)).toEqual(refused('token_invalid'));
    await everywhere(nobody);
    const [record] = await stage.records({ kind: 'exchange', principal: { class: 'agent', id: agent.id } });
    expect(record).toMatchObject({ outcome: 'deny', reasons: [{ code: 'token_invalid' }] });
  });

  test("a provider's own claim is the one that counts where the tenant says so", async () => {
    const { okta } = issuers;
    const given = (claims: Claims) => okta.sign({ client_id: undefined, ...claims });
    expect(await exchange(await given({ cid: agent.id }))).toMatchObject(granted);
    expect(await exchange(await given({ cid: otherAgent.id }))).toEqual(refused('exchange_denied'));
    expect(await exchange(await given({ cid: [agent.id] }))).toEqual(refused('exchange_denied'));
    expect(await exchange(await given({}))).toEqual(refused('token_invalid'));
    // client_id alone is not what this tenant goes by, and another one beside it is no good sign.
    expect(await exchange(await given({ client_id: agent.id }))).toEqual(refused('token_invalid'));
    const both = await given({ cid: agent.id, client_id: otherAgent.id });
    expect(await exchange(both)).toEqual(refused('exchange_denied'));
  });
});

describe('RFC 8725 3.11: an access token is no ID token', () => {
  const idToken: Claims = { aud: agent.id, client_id: undefined, nonce: 'n-1' };

  test('RFC 9068 2.1: the type at+jwt is one in either form and in any case, and no ID token has it', async () => {
    for (const typ of ['at+jwt', 'application/at+jwt', 'AT+JWT', 'Application/AT+JWT']) {
      expect(await exchange(await stage.issuer.sign({}, { typ }))).toMatchObject(granted);
      expect(await asIdToken(await stage.issuer.sign(idToken, { typ }))).toEqual(refused('token_invalid'));
    }
  });

  test('an ID token of the agent is taken as one, and as nothing else', async () => {
    const token = await stage.issuer.sign(idToken, JWT);
    expect(await asIdToken(token)).toMatchObject(granted);
    expect(await exchange(token)).toEqual(refused('token_invalid'));
  });

  test.each<Claims>([
    { client_id: agent.id },
    { scope: 'docs.read' },
    { scp: ['docs.read'] },
    { cid: agent.id },
    { appid: agent.id },
    { gty: 'password' },
    { permissions: [] },
    { token_use: 'access' },
    { typ: 'Bearer' },
    { typ: 'Refresh' },
    { tty: 'at' },
  ])('one of type JWT that says %j is an access token, however its audience is called', async (claims) => {
    for (const typ of ['JWT', 'application/JWT', undefined as unknown as string])
      expect(await asIdToken(await stage.issuer.sign({ ...idToken, ...claims }, { typ }))).toEqual(
        refused('token_invalid'),
      );
  });

  test.each<Claims>([{ token_use: 'id' }, { typ: 'ID' }, { at_hash: 'x', azp: agent.id }, {}])(
    'one that says %j may be an ID token',
    async (claims) => {
      expect(await asIdToken(await stage.issuer.sign({ ...idToken, ...claims }, JWT))).toMatchObject(granted);
    },
  );

  test("where the tenant names an ID token's claims, one of them must be there", async () => {
    const { strict } = issuers;
    const bare = { ...idToken, nonce: undefined };
    expect(await asIdToken(await strict.sign(bare, JWT))).toEqual(refused('token_invalid'));
    expect(await asIdToken(await strict.sign(idToken, JWT))).toMatchObject(granted);
  });

  test('OpenID Connect Core 3.1.3.7: of several audiences azp says which is the client', async () => {
    const aud = [agent.id, 'some-other-app'];
    expect(await asIdToken(await stage.issuer.sign({ ...idToken, aud }, JWT))).toEqual(
      refused('exchange_denied'),
    );
    const azp = await stage.issuer.sign({ ...idToken, aud, azp: agent.id }, JWT);
    expect(await asIdToken(azp)).toMatchObject(granted);
    const theirs = await stage.issuer.sign({ ...idToken, aud, azp: 'some-other-app' }, JWT);
    expect(await asIdToken(theirs)).toEqual(refused('exchange_denied'));
  });

  test('access tokens of type JWT are taken only of an issuer from which the tenant takes them', async () => {
    const { untyped, auth0 } = issuers;
    const entra = await untyped.sign({ client_id: undefined, appid: agent.id, scp: 'docs' }, JWT);
    expect(await exchange(entra)).toMatchObject(granted);
    expect(await asIdToken(entra)).toEqual(refused('token_invalid'));
    expect(await exchange(await untyped.sign({ appid: agent.id }))).toEqual(refused('token_invalid'));
    const other = await auth0.sign({ client_id: undefined, azp: agent.id, scope: 'docs' }, JWT);
    expect(await exchange(other)).toMatchObject(granted);
    const plain = await stage.issuer.sign({ scope: 'docs' }, JWT);
    expect(await exchange(plain)).toEqual(refused('token_invalid'));
    expect(await stage.check(plain)).toMatchObject(deniedFor('token_invalid'));
  });
});

describe('a token that is no bearer token', () => {
  test.each<Claims>([
    { jkt: '0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I' },
    { 'x5t#S256': 'bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2' },
    { jwk: {} },
    {},
  ])('RFC 9449 7, RFC 8705 3: one that is bound to a key, by cnf %j', async (cnf) => {
    await everywhere({ cnf });
  });

  test('RFC 8693 4.1: one that another authority delegated, by act', async () => {
    for (const act of [{ sub: 'docs-api' }, {}, null]) await everywhere({ act });
  });

  test('one that is of tomorrow, or whose times are none', async () => {
    const now = Math.floor(Date.now() / 1000);
    const token = await stage.issuer.sign({ iat: now + 20 });
    expect(await exchange(token)).toMatchObject(granted);
    await everywhere({ iat: now + 60 });
    await everywhere({ iat: now + 86_400, exp: now + 90_000 });
    for (const times of [{ exp: 1e300 }, { iat: -1e300 }, { nbf: -1e300 }, { iat: 'now' }, { iat: null }])
      await everywhere(times);
  });
});

describe('OpenID Connect Core 5.1: an address is whose it is only once it was verified', () => {
  const address = { sub: 'x-1', email: 'alice@acme.example' };

  test('email_verified must be there, and true', async () => {
    for (const verified of [undefined, false, null, 'true', 1, 'false', []]) {
      const token = await issuers.email.sign({ ...address, email_verified: verified });
      expect(await exchange(token), String(verified)).toEqual(refused('token_invalid'));
      expect(await stage.check(token), String(verified)).toMatchObject(deniedFor('token_invalid'));
    }
    const good = await issuers.email.sign({ ...address, email_verified: true });
    expect(await exchange(good)).toMatchObject(granted);
    expect(await stage.check(good)).toMatchObject({ decision: 'DECISION_ALLOW' });
  });
});

describe('RFC 8707 2.2: a token for another audience than yours is denied', () => {
  const ask = async (token: string, credential: string, audience = '') =>
    (await check(stage.server.data, tokenReads(token, audience), bearer(credential))).body;
  const mismatch = deniedFor('audience_mismatch');

  test('to jobs and agents, which no token is for', async () => {
    const token = await stage.granted();
    for (const credential of [secrets.job, agent.secret, otherAgent.secret])
      for (const audience of ['', 'docs-mcp', 'docs-api'])
        expect(await ask(token, credential, audience)).toMatchObject(mismatch);
    const [record] = await stage.records({ kind: 'decision' });
    expect(record).toMatchObject({ outcome: 'deny', reasons: [{ code: 'audience_mismatch' }] });
  });

  test('to an operator, unless it says for which audience it asks', async () => {
    const token = await stage.granted();
    expect(await ask(token, secrets.operator)).toMatchObject(mismatch);
    expect(await ask(token, secrets.operator, 'docs-api')).toMatchObject(mismatch);
    expect(await ask(token, secrets.operator, 'docs-mcp')).toMatchObject({ decision: 'DECISION_ALLOW' });
    expect(await ask(token, mcp.secret)).toMatchObject({ decision: 'DECISION_ALLOW' });
  });
});
