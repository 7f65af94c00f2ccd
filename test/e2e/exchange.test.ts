import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose';
import * as client from 'openid-client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Grpc } from './grpc.ts';
import { type OpenIdProvider, RESOURCE, startProvider } from './provider.ts';
import {
  ACCESS_TOKEN,
  check,
  claimsOf,
  EXCHANGE,
  exchangeFields,
  form,
  ID_TOKEN,
  request,
  tokenReads,
} from './requests.ts';
import { bearer, type Running, secrets, startServer } from './server.ts';

/** openid-client on one side, oidc-provider on the other, Mandate in between. */

let provider: OpenIdProvider;
let server: Running;
let agent: client.Configuration;
let user: { idToken: string; accessToken: string };

const AGENT_AT_PROVIDER = 'research-agent-web';

beforeAll(async () => {
  provider = await startProvider([AGENT_AT_PROVIDER, 'some-other-app']);
  server = await startServer({
    acme: (manifest) => {
      manifest.issuers = [{ issuer: provider.url, audiences: [RESOURCE] }];
      for (const principal of manifest.principals)
        if (principal.class === 'agent') principal.client_ids = [AGENT_AT_PROVIDER];
    },
  });
  agent = await clientOf('research-agent', secrets.agent);
  user = await provider.signIn('alice', AGENT_AT_PROVIDER);
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await provider[Symbol.asyncDispose]();
});

/** RFC 8414: the metadata of an issuer with a path. */
const clientOf = (id: string, secret: string): Promise<client.Configuration> =>
  client.discovery(
    new URL(`${server.data}/t/acme`),
    id,
    undefined,
    client.ClientSecretBasic(secret),
    // Under --dev the server on this machine speaks http.
    { algorithm: 'oauth2', execute: [client.allowInsecureRequests] },
  );

const exchange = (parameters: Record<string, string> = {}) =>
  client.genericGrantRequest(agent, EXCHANGE, {
    subject_token: user.accessToken,
    subject_token_type: ACCESS_TOKEN,
    audience: 'docs-mcp',
    scope: 'docs.read',
    ...parameters,
  });

const asMcp = (token: string) => check(server.data, tokenReads(token), bearer(secrets.mcp));

describe('RFC 8414: openid-client discovers the tenant', () => {
  test('at /.well-known/oauth-authorization-server/t/acme', () => {
    expect(agent.serverMetadata()).toMatchObject({
      issuer: `${server.data}/t/acme`,
      token_endpoint: `${server.data}/t/acme/oauth2/token`,
      grant_types_supported: [EXCHANGE, 'client_credentials', 'urn:ietf:params:oauth:grant-type:jwt-bearer'],
    });
  });
});

describe('RFC 6749 4.1.2.1: the authorization endpoint', () => {
  test('sends nobody anywhere: there is no type of answer to be had', async () => {
    const uri = agent.serverMetadata().authorization_endpoint ?? '';
    const query = new URLSearchParams({
      response_type: 'code',
      client_id: 'research-agent',
      redirect_uri: 'https://evil.example',
    });
    const answer = await fetch(`${uri}?${query}`, { redirect: 'manual' });
    expect([answer.status, answer.headers.get('location')]).toEqual([400, null]);
    expect(await answer.json()).toMatchObject({ error: 'unsupported_response_type' });
  });
});

describe('RFC 8693: a token for an agent from a real OpenID provider', () => {
  test('section 2: exchanges the access token of a user who signed in with code and PKCE', async () => {
    const answer = await exchange({ scope: 'docs.read docs.suggest docs.write' });
    expect(answer).toMatchObject({
      issued_token_type: ACCESS_TOKEN,
      token_type: 'bearer',
      // docs.write is beyond the agent's ceiling.
      scope: 'docs.read docs.suggest',
    });
    expect(answer.expires_in).toBeLessThanOrEqual(300);
  });

  test('section 3: exchanges the ID token whose audience is the agent', async () => {
    const answer = await exchange({ subject_token: user.idToken, subject_token_type: ID_TOKEN });
    expect(claimsOf(answer.access_token)).toMatchObject({ sub: 'alice', scope: 'docs.read' });
  });

  test('section 4.1, RFC 9068 2: names the actor in act, and verifies by the published keys', async () => {
    const { access_token: token } = await exchange();
    const { body } = await request<JSONWebKeySet>(agent.serverMetadata().jwks_uri ?? '');
    const { payload, protectedHeader } = await jwtVerify(token, createLocalJWKSet(body), {
      issuer: `${server.data}/t/acme`,
      audience: 'docs-mcp',
      typ: 'at+jwt',
    });
    expect(protectedHeader.alg).toBe('ES256');
    expect(payload).toMatchObject({
      sub: 'alice',
      client_id: 'research-agent',
      act: { sub: 'research-agent', principal_class: 'agent' },
    });
    expect(payload.jti).toMatch(/^[0-9a-f-]{36}$/);
    expect(JSON.stringify(body)).not.toContain('"d"');
  });

  test('RFC 9396 7, RFC 8693 2.1: openid-client asks for details and for two names of the server', async () => {
    const detail = { type: 'tool_call', server: 'docs-mcp', tools: ['search'], max_calls: 2 };
    const answer = await exchange({
      authorization_details: JSON.stringify([detail]),
      resource: 'https://docs.acme.example/mcp',
    });
    expect(answer.authorization_details).toEqual([detail]);
    expect(claimsOf(answer.access_token)).toMatchObject({
      aud: ['docs-mcp', 'https://docs.acme.example/mcp'],
      authorization_details: [detail],
    });
    const wider = JSON.stringify([{ ...detail, max_calls: 21 }]);
    await expect(exchange({ authorization_details: wider })).rejects.toMatchObject({
      error: 'invalid_authorization_details',
    });
  });

  test('section 2.2.2: answers a refusal with an OAuth error', async () => {
    await expect(exchange({ audience: 'docs-api' })).rejects.toMatchObject({ error: 'invalid_target' });
    await expect(exchange({ scope: 'docs.write' })).rejects.toMatchObject({ error: 'invalid_scope' });
    await expect(exchange({ subject_token: 'nonsense' })).rejects.toMatchObject({ error: 'invalid_request' });
  });

  test('refuses the token that the user gave to another app', async () => {
    const other = await provider.signIn('alice', 'some-other-app');
    await expect(exchange({ subject_token: other.accessToken })).rejects.toMatchObject({
      error: 'invalid_request',
    });
    await expect(
      exchange({ subject_token: other.idToken, subject_token_type: ID_TOKEN }),
    ).rejects.toMatchObject({ error: 'invalid_request' });
  });

  test('RFC 6749 5.2: a wrong client secret is invalid_client', async () => {
    const impostor = await clientOf('research-agent', 'wrong');
    await expect(
      client.genericGrantRequest(impostor, EXCHANGE, { subject_token: user.accessToken }),
    ).rejects.toMatchObject({ status: 401, cause: [{ scheme: 'basic' }] });
    const stranger = { id: 'research-agent', secret: 'wrong' };
    const { body } = await form(server.data, 'token', exchangeFields(user.accessToken), stranger);
    expect(body).toMatchObject({ error: 'invalid_client', code: 'unauthenticated' });
  });
});

describe('a delegated token, from exchange to revocation', () => {
  test('decides until it is revoked, and the very next Check is a deny', async () => {
    const { access_token: token } = await exchange();
    expect((await asMcp(token)).body.decision).toBe('DECISION_ALLOW');
    expect(await client.tokenIntrospection(agent, token)).toMatchObject({
      active: true,
      sub: 'alice',
      client_id: 'research-agent',
      scope: 'docs.read',
      aud: 'docs-mcp',
    });
    await client.tokenRevocation(agent, token);
    const { body } = await asMcp(token);
    expect(body.decision).toBe('DECISION_DENY');
    expect(body.reasons).toMatchObject([{ code: 'token_revoked' }]);
    expect(await client.tokenIntrospection(agent, token)).toEqual({ active: false });
  });

  test('RFC 7009 2.2: revoking twice, or nonsense, succeeds', async () => {
    const { access_token: token } = await exchange();
    await client.tokenRevocation(agent, token);
    await client.tokenRevocation(agent, token);
    await client.tokenRevocation(agent, 'nonsense');
  });

  test('names for the policy and the record who acted for whom', async () => {
    const { access_token: token } = await exchange();
    const grantId = claimsOf(token)['jti'];
    const { body } = await asMcp(token);
    await client.tokenRevocation(agent, token);
    await exchange({ scope: 'docs.write' }).catch(() => undefined);
    using operator = new Grpc(server.admin, secrets.operator);
    const { records } = await operator.call<{ records: Record<string, unknown>[] }>('AuditService', 'Query', {
      tenant: 'acme',
      principal: { class: 'agent', id: 'research-agent' },
      page_size: 4,
    });
    const subject = { class: 'user', id: 'alice' };
    const actors = [{ class: 'agent', id: 'research-agent' }];
    const caller = 'agent:research-agent';
    expect(records).toMatchObject([
      {
        kind: 'exchange',
        outcome: 'deny',
        subject,
        actors,
        reasons: [{ code: 'invalid_scope' }],
        grant_id: '',
      },
      { kind: 'revocation', outcome: 'done', subject, actors, grant_id: grantId, caller },
      {
        kind: 'decision',
        outcome: 'allow',
        subject,
        actors,
        grant_id: grantId,
        decision_id: body.decisionId,
        action: 'document.read',
        caller: 'mcp_server:docs-mcp',
        policy_revision: body.policyRevision,
      },
      {
        kind: 'exchange',
        outcome: 'allow',
        subject,
        actors,
        grant_id: grantId,
        resource_id: 'docs-mcp',
        caller,
      },
    ]);
  });

  test('may be exchanged on by the server it is for, which becomes the actor', async () => {
    const { access_token: first } = await exchange();
    const mcp = await clientOf('docs-mcp', secrets.mcp);
    const { access_token: second } = await client.genericGrantRequest(mcp, EXCHANGE, {
      subject_token: first,
      subject_token_type: ACCESS_TOKEN,
      audience: 'docs-api',
      scope: 'docs.read',
    });
    expect(claimsOf(second)).toMatchObject({
      sub: 'alice',
      aud: 'docs-api',
      act: { sub: 'docs-mcp', act: { sub: 'research-agent' } },
    });
    expect(Number(claimsOf(second)['exp'])).toBeLessThanOrEqual(Number(claimsOf(first)['exp']));
    // Revoking the parent ends the child.
    await client.tokenRevocation(agent, first);
    const { body } = await check(server.data, tokenReads(second, 'docs-api'), bearer(secrets.api));
    expect(body.reasons).toMatchObject([{ code: 'token_revoked' }]);
  });

  test('is taken from the user too, who then acts without an actor', async () => {
    const { body } = await check(server.data, tokenReads(user.accessToken, ''), bearer(secrets.mcp));
    expect(body.decision).toBe('DECISION_ALLOW');
    const idToken = await check(server.data, tokenReads(user.idToken, ''), bearer(secrets.mcp));
    expect(idToken.body.reasons).toMatchObject([{ code: 'token_invalid' }]);
  });
});
