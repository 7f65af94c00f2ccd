import { credentials } from '@grpc/grpc-js';
import * as oauth from 'oauth4webapi';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Pair } from '../../e2e/authority.ts';
import { Grpc } from '../../e2e/grpc.ts';
import { type CheckJson, claimsOf, exchangeFields, tokenReads } from '../../e2e/requests.ts';
import { bearer, secrets } from '../../e2e/server.ts';
import { CertifiedStage, thumbprint } from '../certified.ts';
import { agent, api, deniedFor, mcp, Stage } from '../stage.ts';

/** Tokens that are bound to a certificate, through every endpoint; a library as the client. */

const TOKEN = '/t/acme/oauth2/token';
const OWN = `package delegation

allow if input.action.name == "token.issue"
`;
const SPIFFE = 'spiffe://acme.example/agents/research';

let stage: CertifiedStage;
let holder: Pair;

beforeAll(async () => {
  stage = await CertifiedStage.open({
    acme: (manifest) => {
      manifest.mtls = { bound: ['agent', 'service'] };
      for (const principal of manifest.principals) {
        if (principal.id === agent.id) principal.credentials?.push({ spiffe_id: SPIFFE });
        if (principal.id === api.id) Object.assign(principal, { may: ['exchange'], scopes: ['docs.read'] });
      }
    },
    acmeFiles: { 'delegation/own.rego': OWN },
  });
  holder = await stage.ours.issue('holder', { 'URI.1': SPIFFE });
});
afterAll(() => stage[Symbol.asyncDispose]());

const overGrpc = (secret: string | undefined, over?: Pair): Grpc => {
  const [root, key, cert] = [stage.ours.ca.pem.cert, over?.pem.key, over?.pem.cert].map((pem) =>
    pem === undefined ? null : Buffer.from(pem),
  );
  const security = credentials.createSsl(root, key, cert);
  return new Grpc(`${stage.address.host}:${stage.address.port}`, secret, security);
};

const held = (pair = holder) => ({ x5t_s256: thumbprint(pair) });
const allowed = { decision: 'DECISION_ALLOW' };
const unheld = deniedFor('certificate_invalid');

/** A check as grpc-js sends it: protobuf's own Struct, which it does not make from JSON. */
const asked = (token: string) => {
  const { subjectToken, resource, ...rest } = tokenReads(token);
  const texts = Object.entries(resource.properties).map(([name, stringValue]) => [name, { stringValue }]);
  const struct = { ...resource, properties: { fields: Object.fromEntries(texts) } };
  return { ...rest, resource: struct, subject_token: subjectToken };
};

describe('a token that is asked for over a connection by a certificate', () => {
  test('is bound to it, over gRPC and by the credential that the certificate is, too', async () => {
    using client = overGrpc(undefined, holder);
    const { access_token: token } = await client.call<{ access_token: string }>(
      'DelegationService',
      'Exchange',
      {
        tenant: 'acme',
        subject_token: await stage.stage.issuer.sign(),
        audience: 'docs-mcp',
        scopes: ['docs.read'],
      },
    );
    expect(claimsOf(token)).toMatchObject({ cnf: { 'x5t#S256': thumbprint(holder) } });
    expect(await client.call('DelegationService', 'Introspect', { tenant: 'acme', token })).toMatchObject({
      active: true,
      jkt: '',
      x5t_s256: thumbprint(holder),
    });
    using server = overGrpc(secrets.mcp);
    const ask = (proof?: object) => server.checkByStream({ ...asked(token), proof });
    expect(await ask(held())).toMatchObject(allowed);
    expect(await ask()).toMatchObject(unheld);
    const other = await stage.ours.issue('other', { 'URI.1': SPIFFE });
    expect(await ask(held(other))).toMatchObject(unheld);
    // Each message of a connection stands for itself.
    expect(await ask()).toMatchObject(unheld);
  });

  test('is bound to it where a service asks for itself', async () => {
    const fields = { grant_type: 'client_credentials', audience: 'docs-mcp', scope: 'docs.read' };
    const own = async (over?: Pair): Promise<string> => {
      const sent = { by: api, over };
      const { body } = await stage.send<{ access_token: string }>(TOKEN, new URLSearchParams(fields), sent);
      return body.access_token;
    };
    const token = await own(holder);
    expect(claimsOf(token)).toMatchObject({ sub: api.id, cnf: { 'x5t#S256': thumbprint(holder) } });
    expect(claimsOf(await own())).not.toHaveProperty('cnf');
    expect(await stage.check(token)).toMatchObject(unheld);
  });

  test('is good for all items of a batch with one certificate, and for none without', async () => {
    const token = await stage.granted(holder);
    const { action, resource, ...rest } = tokenReads(token);
    const decisions = async (proof?: object) => {
      const { body } = await stage.send<{ results: CheckJson[] }>(
        '/mandate.v1.DecisionService/CheckBatch',
        { ...rest, proof, items: [1, 2, 3].map(() => ({ action, resource })) },
        { headers: { authorization: bearer(mcp.secret) } },
      );
      return body.results.map(({ decision }) => decision);
    };
    expect(await decisions({ x5tS256: thumbprint(holder) })).toEqual(Array(3).fill('DECISION_ALLOW'));
    expect(await decisions()).toEqual(Array(3).fill('DECISION_DENY'));
  });

  test('is denied by AuthZEN, which has no member for it', async () => {
    const token = await stage.granted(holder);
    const { status, body } = await stage.send<{ decision: boolean }>(
      '/t/acme/access/v1/evaluation',
      { action: { name: 'document.read' }, resource: { type: 'document', id: 'roadmap' } },
      { headers: { authorization: bearer(mcp.secret), 'mandate-subject-token': token } },
    );
    expect({ status, decision: body.decision }).toEqual({ status: 200, decision: false });
    const [record] = await stage.records({ kind: 'decision' });
    expect(record).toMatchObject({ reasons: [{ code: 'certificate_invalid' }] });
  });
});

test('RFC 8705 3.3: the metadata say so where clients may come with certificates', async () => {
  const at = '/.well-known/oauth-authorization-server/t/acme';
  expect((await stage.send<object>(at, undefined)).body).toMatchObject({
    tls_client_certificate_bound_access_tokens: true,
  });
  await using plain = await Stage.open();
  const metadata = await (await fetch(`${plain.server.data}${at}`)).json();
  expect(metadata).toMatchObject({ tls_client_certificate_bound_access_tokens: false });
});

test('oauth4webapi gets one, and sees what it is bound to', async () => {
  const as = {
    issuer: 'https://mandate.acme.example/t/acme',
    token_endpoint: 'https://mandate.acme.example/t/acme/oauth2/token',
  };
  const fields = exchangeFields(await stage.stage.issuer.sign());
  const response = await oauth.genericTokenEndpointRequest(
    as,
    { client_id: agent.id },
    oauth.ClientSecretBasic(agent.secret),
    fields['grant_type'] ?? '',
    new URLSearchParams(fields),
    { [oauth.customFetch]: over(holder) },
  );
  const answer = await oauth.processGenericTokenEndpointResponse(as, { client_id: agent.id }, response);
  expect(answer.token_type).toBe('bearer');
  expect(claimsOf(answer.access_token)).toMatchObject({ cnf: { 'x5t#S256': thumbprint(holder) } });
});

/** What a library sends, over a connection by the certificate. */
const over =
  (pair: Pair) =>
  async (url: string, { headers, body }: { headers: Record<string, string>; body: unknown }) => {
    const got = await stage.send<object>(new URL(url).pathname, new URLSearchParams(String(body)), {
      over: pair,
      headers,
    });
    return new Response(JSON.stringify(got.body), {
      status: got.status,
      headers: { 'content-type': 'application/json' },
    });
  };
