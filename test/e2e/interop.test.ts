import { type CryptoKey, exportJWK, generateKeyPair } from 'jose';
import * as oauth from 'oauth4webapi';
import * as openid from 'openid-client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { assertionOf, DOCS, JWT_BEARER } from '../delegation/assertions.ts';
import { type Issuer, startIssuer, trustIn } from './issuer.ts';
import { ACCESS_TOKEN, claimsOf, EXCHANGE } from './requests.ts';
import { type Running, secrets, sha256, startServer } from './server.ts';

/**
 * Two client libraries, each from discovery to revocation. Whatever of Mandate's answers is not as the specifications have
 * it, they throw at.
 */

const SERVICE_SECRET = 'acme-reporting-test-secret-00000001';
/** Under --dev the server on this machine speaks http. */
const insecure = { [oauth.allowInsecureRequests]: true } as const;

let issuer: Issuer;
let server: Running;
/** What the agent signs its assertions with. */
let agentKey: CryptoKey;

beforeAll(async () => {
  issuer = await startIssuer();
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
  agentKey = privateKey;
  const jwk = { ...(await exportJWK(publicKey)), kid: 'agent-1', alg: 'ES256' };
  server = await startServer({
    acme: (manifest) => {
      manifest.issuers = [{ ...trustIn(issuer.url), identity_assertions: { max_lifetime_seconds: 300 } }];
      for (const each of manifest.principals)
        if (each.id === 'research-agent') each.credentials?.push({ jwks: { keys: [jwk] } });
      manifest.principals.push({
        class: 'service',
        id: 'reporting',
        scopes: ['docs.read'],
        credentials: [{ secret_sha256: sha256(SERVICE_SECRET) }],
      });
    },
    acmeFiles: {
      'delegation/own.rego': 'package delegation\n\nallow if input.action.name == "token.issue"\n',
    },
  });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await issuer[Symbol.asyncDispose]();
});

const base = (): URL => new URL(`${server.data}/t/acme`);
const assertion = (): Promise<string> => assertionOf(issuer, { aud: base().href, scope: 'docs.read' });
const exchanging = async () => ({
  subject_token: await issuer.sign(),
  subject_token_type: ACCESS_TOKEN,
  resource: DOCS,
  scope: 'docs.read docs.suggest',
});

describe('oauth4webapi', () => {
  const agent: oauth.Client = { client_id: 'research-agent' };
  const secret = oauth.ClientSecretBasic(secrets.agent);
  let as: oauth.AuthorizationServer;

  /** RFC 8414. */
  beforeAll(async () => {
    const answer = await oauth.discoveryRequest(base(), { algorithm: 'oauth2', ...insecure });
    as = await oauth.processDiscoveryResponse(base(), answer);
  });

  const granted = async (
    grantType: string,
    parameters: Record<string, string>,
    {
      by = agent,
      auth = secret,
      dpop,
    }: { by?: oauth.Client; auth?: oauth.ClientAuth; dpop?: oauth.DPoPHandle } = {},
  ): Promise<oauth.TokenEndpointResponse> => {
    const options = { ...insecure, ...(dpop && { DPoP: dpop }) };
    const answer = await oauth.genericTokenEndpointRequest(as, by, auth, grantType, parameters, options);
    return oauth.processGenericTokenEndpointResponse(as, by, answer);
  };

  /** What a server does with a request that has a token. */
  const validated = (token: string, headers: Record<string, string> = {}, audience = DOCS) =>
    oauth.validateJwtAccessToken(
      as,
      new Request(DOCS, { headers: { authorization: `Bearer ${token}`, ...headers } }),
      audience,
      insecure,
    );

  const introspected = async (token: string): Promise<oauth.IntrospectionResponse> =>
    oauth.processIntrospectionResponse(
      as,
      agent,
      await oauth.introspectionRequest(as, agent, secret, token, { requestJwtResponse: false, ...insecure }),
    );

  test('RFC 8693, 9068, 7662, 7009: exchanges, validates, introspects, revokes', async () => {
    const { access_token: token, scope } = await granted(EXCHANGE, await exchanging());
    expect(scope).toBe('docs.read docs.suggest');
    expect(await validated(token)).toMatchObject({
      sub: 'alice',
      client_id: 'research-agent',
      act: { sub: 'research-agent' },
    });
    await expect(validated(token, {}, 'docs-api')).rejects.toThrow();
    expect(await introspected(token)).toMatchObject({ active: true, sub: 'alice', scope });
    await oauth.processRevocationResponse(await oauth.revocationRequest(as, agent, secret, token, insecure));
    expect(await introspected(token)).toEqual({ active: false });
  });

  test('RFC 9701: reads a signed introspection', async () => {
    const { access_token: token } = await granted(EXCHANGE, await exchanging());
    const signed: oauth.Client = { ...agent, introspection_signed_response_alg: 'ES256' };
    const answer = await oauth.introspectionRequest(as, signed, secret, token, {
      requestJwtResponse: true,
      ...insecure,
    });
    expect(answer.headers.get('content-type')).toContain('application/token-introspection+jwt');
    const read = await oauth.processIntrospectionResponse(as, signed, answer);
    expect(read).toMatchObject({ active: true, sub: 'alice' });
    await oauth.validateApplicationLevelSignature(as, answer, insecure);
  });

  test('RFC 7523 2.2: authenticates by private_key_jwt', async () => {
    expect(as.token_endpoint_auth_methods_supported).toContain('private_key_jwt');
    const auth = oauth.PrivateKeyJwt({ key: agentKey, kid: 'agent-1' });
    const { access_token: token } = await granted(EXCHANGE, await exchanging(), { auth });
    expect(await validated(token)).toMatchObject({ client_id: 'research-agent' });
  });

  test('RFC 7523 2.1: hands an identity assertion in', async () => {
    expect(as.grant_types_supported).toContain(JWT_BEARER);
    const { access_token: token, scope } = await granted(JWT_BEARER, { assertion: await assertion() });
    expect(scope).toBe('docs.read');
    expect(await validated(token)).toMatchObject({ sub: 'alice', client_id: 'research-agent' });
    const again = await assertion();
    await granted(JWT_BEARER, { assertion: again });
    await expect(granted(JWT_BEARER, { assertion: again })).rejects.toMatchObject({
      error: 'invalid_grant',
      status: 400,
    });
  });

  test('RFC 6749 4.4: a service asks for itself', async () => {
    const service: oauth.Client = { client_id: 'reporting' };
    const answer = await oauth.clientCredentialsGrantRequest(
      as,
      service,
      oauth.ClientSecretPost(SERVICE_SECRET),
      { resource: DOCS, scope: 'docs.read' },
      insecure,
    );
    const { access_token: token } = await oauth.processClientCredentialsResponse(as, service, answer);
    expect(await validated(token)).toMatchObject({ sub: 'reporting', client_id: 'reporting' });
  });

  test.for([EXCHANGE, JWT_BEARER])('RFC 9449: what it gets by %s is bound to its key', async (grantType) => {
    const keys = await oauth.generateKeyPair('ES256');
    const dpop = oauth.DPoP(agent, keys);
    const parameters = grantType === EXCHANGE ? await exchanging() : { assertion: await assertion() };
    const answer = await granted(grantType, parameters, { dpop });
    expect(answer.token_type).toBe('dpop');
    const sent: Headers[] = [];
    await oauth.protectedResourceRequest(answer.access_token, 'GET', new URL(DOCS), undefined, undefined, {
      DPoP: dpop,
      [oauth.customFetch]: async (_url, { headers }) => {
        sent.push(new Headers(headers));
        return new Response();
      },
    });
    const request = new Request(DOCS, { headers: sent[0] ?? new Headers() });
    const options = { requireDPoP: true, ...insecure };
    expect(await oauth.validateJwtAccessToken(as, request, DOCS, options)).toMatchObject({
      cnf: { jkt: await dpop.calculateThumbprint() },
    });
    await expect(validated(answer.access_token)).rejects.toThrow();
  });

  test('RFC 9728: reads the metadata of a registered server', async () => {
    const resource = new URL(DOCS);
    const query = new URLSearchParams({ resource: resource.href });
    const answer = await fetch(`${base()}/.well-known/oauth-protected-resource?${query}`);
    const read = await oauth.processResourceDiscoveryResponse(resource, answer);
    expect(read.authorization_servers).toEqual([as.issuer]);
  });
});

describe('openid-client', () => {
  const configured = (auth: openid.ClientAuth, id = 'research-agent'): Promise<openid.Configuration> =>
    openid.discovery(base(), id, undefined, auth, {
      algorithm: 'oauth2',
      execute: [openid.allowInsecureRequests],
    });

  test.for<[string, () => openid.ClientAuth]>([
    ['client_secret_basic', () => openid.ClientSecretBasic(secrets.agent)],
    ['client_secret_post', () => openid.ClientSecretPost(secrets.agent)],
    ['private_key_jwt', () => openid.PrivateKeyJwt({ key: agentKey, kid: 'agent-1' })],
  ])('by %s exchanges, hands an assertion in, introspects and revokes', async ([, auth]) => {
    const client = await configured(auth());
    const exchanged = await openid.genericGrantRequest(client, EXCHANGE, await exchanging());
    const { access_token: token } = await openid.genericGrantRequest(client, JWT_BEARER, {
      assertion: await assertion(),
    });
    for (const each of [exchanged.access_token, token]) {
      expect(await openid.tokenIntrospection(client, each)).toMatchObject({ active: true, sub: 'alice' });
      await openid.tokenRevocation(client, each);
      expect(await openid.tokenIntrospection(client, each)).toEqual({ active: false });
    }
  });

  test('with DPoP gets bound tokens, and asks for itself', async () => {
    const client = await configured(openid.ClientSecretBasic(SERVICE_SECRET), 'reporting');
    const handle = openid.getDPoPHandle(client, await openid.randomDPoPKeyPair('ES256'));
    const { access_token: token, token_type: type } = await openid.clientCredentialsGrant(
      client,
      { resource: DOCS, scope: 'docs.read' },
      { DPoP: handle },
    );
    expect(type).toBe('dpop');
    expect(claimsOf(token)).toMatchObject({ cnf: { jkt: await handle.calculateThumbprint() } });
  });
});
