import { requestJwtAuthorizationGrant } from '@modelcontextprotocol/client';
import { createLocalJWKSet, exportJWK, generateKeyPair, type JSONWebKeySet, jwtVerify, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { at } from '../cli/run.ts';
import { claimsOf, connect, form, request, type TokenJson } from '../e2e/requests.ts';
import { basic, bearer, secrets, sha256 } from '../e2e/server.ts';
import {
  ACME,
  askFor,
  assertionOf,
  BASE,
  CHAT,
  CHAT_MCP,
  crossing,
  DOCS,
  handIn,
  ID_JAG,
  JWT_BEARER,
} from './assertions.ts';
import { agent, type Client, mcp, refusalOf, Stage } from './stage.ts';

/** Crossing domains: assertions of an identity provider that are taken, and those that are issued for another authority. */

const REGO = `package delegation

default allow := false

allow if input.subject.class in {"user", "service"}

deny contains "not_by_assertion" if {
  input.action.name == "assertion.accept"
  "sales" in input.subject.groups
}

deny contains "not_to_files" if {
  input.action.name == "assertion.issue"
  input.resource.type == "authority"
  input.resource.id == "${CHAT}"
  "https://files.chat.example/" in input.resource.properties.resources
}

limits := {"lifetime_seconds": 60} if input.context.authentication.acr == "weak"
`;

const TASK = 'urn:mandate:params:oauth:token-type:task';
const reporting: Client = { id: 'reporting', secret: 'acme-reporting-test-secret-00000001' };
let stage: Stage;

beforeAll(async () => {
  stage = await Stage.open({
    ...crossing({}, (manifest) => {
      manifest.tasks = { max_hours: 2 };
      manifest.principals.push({
        class: 'service',
        id: reporting.id,
        scopes: ['docs.read'],
        credentials: [{ secret_sha256: sha256(reporting.secret) }],
      });
      const [chat] = manifest.authorities ?? [];
      if (chat) chat.clients = { 'agent:other-agent': 'client-77' };
    }),
    acmeFiles: {
      'delegation/delegation.rego': REGO,
      'delegation/delegation_test.rego': 'package delegation_test\n',
    },
  });
});
afterAll(() => stage[Symbol.asyncDispose]());

const now = (): number => Math.floor(Date.now() / 1_000);
const made = (claims: Record<string, unknown> = {}) => assertionOf(stage.issuer, claims);
const expiryOf = (token: string): number => Number(claimsOf(token)['exp']);

type Granted = TokenJson & { task_id?: string; task_expires_in?: number; use?: string };

describe('RFC 8414: metadata', () => {
  test('draft 7: say that both are done, and not for whom', async () => {
    const { body } = await request(`${stage.server.data}/.well-known/oauth-authorization-server/t/acme`);
    expect(body).toMatchObject({
      grant_types_supported: expect.arrayContaining([JWT_BEARER]) as unknown,
      identity_chaining_requested_token_types_supported: [ID_JAG],
      authorization_grant_profiles_supported: ['urn:ietf:params:oauth:grant-profile:id-jag'],
    });
    expect(JSON.stringify(body)).not.toContain('chat.example');
  });
});

describe('an assertion of the identity provider', () => {
  test('RFC 7523 2.1: is all that a client needs for a token of what it says', async () => {
    const assertion = await made({ auth_time: now() - 60, acr: 'urn:acme:mfa' });
    const { status, headers, body } = await handIn(stage, assertion);
    expect(status).toBe(200);
    expect(headers.get('cache-control')).toBe('no-store');
    expect(body).toMatchObject({ token_type: 'Bearer', scope: 'docs.read docs.suggest' });
    expect(claimsOf(body.access_token)).toMatchObject({
      iss: ACME,
      sub: 'alice',
      aud: DOCS,
      client_id: 'research-agent',
      act: { sub: 'research-agent' },
      acr: 'urn:acme:mfa',
      use: 'suggest',
    });
    expect(expiryOf(body.access_token)).toBeLessThanOrEqual(expiryOf(assertion));
    expect((await stage.check(body.access_token)).decision).toBe('DECISION_ALLOW');
    expect(await stage.records({ kind: 'exchange', pageSize: 1 })).toMatchObject([
      {
        outcome: 'allow',
        action: 'assertion.accept',
        subject: { class: 'user', id: 'alice' },
        actors: [{ class: 'agent', id: 'research-agent' }],
        grantId: body.grant_id,
      },
    ]);
  });

  test('may be asked for less: scope, resource, class of use', async () => {
    const { body } = await handIn(stage, await made(), { scope: 'docs.read', resource: DOCS, use: 'read' });
    expect(body).toMatchObject({ scope: 'docs.read', use: 'read' });
    const least = await handIn(stage, await made({ use: 'read' }));
    expect(least.body).toMatchObject({ use: 'read' });
  });

  test('the package delegation decides as with any exchange: it denies, and limits', async () => {
    const denied = await handIn(stage, await made({ sub: 'bob', scope: 'docs.read' }));
    expect(refusalOf(denied)).toEqual({ status: 400, error: 'invalid_grant', code: 'exchange_denied' });
    expect(denied.body).toMatchObject({ reasons: [{ code: 'not_by_assertion' }] });
    const limited = await handIn(stage, await made({ acr: 'weak' }));
    expect(limited.body.expires_in).toBeLessThanOrEqual(60);
  });

  test('opens a task, which goes on without it', async () => {
    const { body } = await handIn(stage, await made(), { task_purpose: 'tidy up', task_lifetime: '3600' });
    const { task_id: task = '' } = body as Granted;
    const renewed = await stage.exchange(task, { subject_token_type: TASK, audience: DOCS });
    expect(claimsOf(renewed.body.access_token)).toMatchObject({ sub: 'alice', aud: DOCS });
  });

  test('session_expiry: nothing that comes of it outlasts the session, a task neither', async () => {
    const ends = now() + 40;
    const { body } = await handIn(stage, await made({ session_expiry: ends }), { task_purpose: 'tidy up' });
    const granted = body as Granted;
    expect(expiryOf(granted.access_token)).toBeLessThanOrEqual(ends);
    expect(granted.task_expires_in).toBeLessThanOrEqual(40);
    expect(refusalOf(await handIn(stage, await made({ session_expiry: now() - 1 })))).toEqual({
      status: 400,
      error: 'invalid_grant',
      code: 'token_expired',
    });
    expect(refusalOf(await handIn(stage, await made({ session_expiry: 'never' })))).toMatchObject({
      code: 'token_invalid',
    });
  });

  test('RFC 9449, draft 9.6.1: one that is bound to a key takes a proof of it, and gives a bound token', async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
    const jwk = await exportJWK(publicKey);
    const proof = () =>
      new SignJWT({ jti: crypto.randomUUID(), htm: 'POST', htu: `${ACME}/oauth2/token` })
        .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk })
        .setIssuedAt()
        .sign(privateKey);
    const bound = async (cnf?: object, dpop?: string) =>
      await request<TokenJson>(`${stage.server.data}/t/acme/oauth2/token`, {
        method: 'POST',
        headers: { authorization: basic(agent.id, agent.secret), ...(dpop && { dpop }) },
        body: new URLSearchParams({ grant_type: JWT_BEARER, assertion: await made(cnf && { cnf }) }),
      });
    const first = await bound(undefined, await proof());
    const { jkt } = claimsOf(first.body.access_token)['cnf'] as { jkt: string };
    expect(first.body.token_type).toBe('DPoP');
    expect((await bound({ jkt }, await proof())).body.token_type).toBe('DPoP');
    expect(refusalOf(await bound({ jkt }))).toMatchObject({ error: 'invalid_grant' });
    expect(refusalOf(await bound({ jkt: 'another' }, await proof()))).toMatchObject({
      error: 'invalid_grant',
    });
  });

  test('RFC 7521 4.1: comes with no other token, and is not asked to become another assertion', async () => {
    for (const fields of [{ subject_token: 'x' }, { actor_token: 'x' }, { assertion: '' }])
      expect(refusalOf(await handIn(stage, await made(), fields))).toMatchObject({ code: 'invalid_request' });
    expect(refusalOf(await handIn(stage, await made(), { requested_token_type: ID_JAG }))).toMatchObject({
      code: 'unsupported_token_type',
    });
  });
});

describe('what a tenant says of an issuer', () => {
  test('max_session_seconds, tenant: what comes of a sign-in ends in time, and it is of one tenant of its issuer', async () => {
    await using strict = await Stage.open(crossing({ max_session_seconds: 600, tenant: 'acme-corp' }));
    const signed = (claims: object) => assertionOf(strict.issuer, { tenant: 'acme-corp', ...claims });
    const { body } = await handIn(strict, await signed({ auth_time: now() - 570 }));
    expect(body.expires_in).toBeLessThanOrEqual(30);
    for (const claims of [
      {},
      { auth_time: now() - 601 },
      { auth_time: now() + 60 },
      { auth_time: 'today' },
      { auth_time: now(), tenant: 'other' },
      { auth_time: now(), tenant: undefined },
    ])
      expect(refusalOf(await handIn(strict, await signed(claims))), JSON.stringify(claims)).toMatchObject({
        error: 'invalid_grant',
      });
  });

  test('is put and listed by the API, and off until then; a killed issuer is out', async () => {
    const put = (issuer: object) =>
      connect(stage.server.admin, 'TenantService/PutIssuer', { tenant: 'globex', issuer });
    const trusted = { issuer: stage.issuer.url, algorithms: ['ES256'] };
    expect(await put({ ...trusted, identityAssertions: { maxLifetimeSeconds: 3_601 } })).toMatchObject({
      status: 400,
    });
    expect(
      await put({ ...trusted, subjectClass: 'service', identityAssertions: {} }),
      'of users alone',
    ).toMatchObject({ status: 400 });
    expect((await put({ ...trusted, identityAssertions: { tenant: 'x' } })).status).toBe(200);
    const { body } = await connect(stage.server.admin, 'TenantService/ListIssuers', { tenant: 'globex' });
    expect(body).toMatchObject({
      issuers: [{ issuer: stage.issuer.url, identityAssertions: { maxLifetimeSeconds: 300, tenant: 'x' } }],
    });
    const mandate = at(stage.server);
    expect((await mandate('kill', 'issuer', '-t', 'acme', stage.issuer.url)).code).toBe(0);
    expect(refusalOf(await handIn(stage, await made()))).toMatchObject({ code: 'token_revoked' });
    expect((await mandate('restore', 'issuer', '-t', 'acme', stage.issuer.url)).code).toBe(0);
    expect((await handIn(stage, await made())).status).toBe(200);
  });
});

describe('an assertion for another authority', () => {
  test('RFC 8693 2.2.1, draft 4.3: is of the user, for the authority, for its own client, and no token', async () => {
    const token = await stage.issuer.sign({ acr: 'urn:acme:mfa', auth_time: now() - 5 });
    const { status, body } = await askFor(stage, token, { scope: 'docs.read docs.write' });
    expect(status).toBe(200);
    expect(body).toMatchObject({ issued_token_type: ID_JAG, token_type: 'N_A', scope: 'docs.read' });
    expect(body.expires_in).toBeLessThanOrEqual(300);
    const { body: keys } = await request<JSONWebKeySet>(`${stage.server.data}/t/acme/oauth2/jwks`);
    const { payload } = await jwtVerify(body.access_token, createLocalJWKSet(keys), {
      typ: 'oauth-id-jag+jwt',
      issuer: ACME,
      audience: CHAT,
    });
    expect(payload).toEqual({
      iss: ACME,
      sub: 'alice',
      aud: CHAT,
      client_id: 'research-agent',
      resource: CHAT_MCP,
      scope: 'docs.read',
      // The agent may suggest: what it may not is not for others to give.
      use: 'suggest',
      acr: 'urn:acme:mfa',
      auth_time: expect.any(Number) as number,
      iat: expect.any(Number) as number,
      exp: expect.any(Number) as number,
      jti: body.grant_id,
    });
    expect(await stage.records({ kind: 'exchange', pageSize: 1 })).toMatchObject([
      {
        outcome: 'allow',
        action: 'assertion.issue',
        resourceType: 'authority',
        resourceId: CHAT,
        grantId: body.grant_id,
      },
    ]);
    const listed = await at(stage.server)('grant', 'list', '-t', 'acme', '--actor', 'agent:research-agent');
    expect(listed.stdout).toContain(body.grant_id);
  });

  test("MCP's enterprise-managed authorization 4: the SDK asks for one with an ID token", async () => {
    const idToken = await stage.issuer.sign(
      { aud: 'research-agent', client_id: undefined, nonce: 'n' },
      { typ: 'JWT' },
    );
    const { jwtAuthGrant, expiresIn, scope } = await requestJwtAuthorizationGrant({
      tokenEndpoint: `${stage.server.data}/t/acme/oauth2/token`,
      audience: CHAT,
      resource: CHAT_MCP,
      idToken,
      clientId: agent.id,
      clientSecret: agent.secret,
      scope: 'docs.read',
    });
    expect(scope).toBe('docs.read');
    expect(expiresIn).toBeLessThanOrEqual(300);
    expect(claimsOf(jwtAuthGrant)).toMatchObject({ sub: 'alice', aud: CHAT, resource: CHAT_MCP });
  });

  test('names the client as the authority knows it, and what else bounds it', async () => {
    const details = [{ type: 'tool_call', server: 'docs-mcp', tools: ['search'], max_calls: 2 }];
    const other = { id: 'other-agent', secret: secrets.otherAgent };
    const token = await stage.issuer.sign({ client_id: 'other-agent' });
    const { body } = await askFor(stage, token, {}, other);
    expect(claimsOf(body.access_token)).toMatchObject({ client_id: 'client-77' });
    expect(claimsOf(body.access_token)).not.toHaveProperty('use');
    const detailed = await askFor(stage, await stage.issuer.sign(), {
      authorization_details: JSON.stringify(details),
    });
    expect(claimsOf(detailed.body.access_token)['authorization_details']).toEqual(details);
  });

  test('the package delegation decides: by the authority, and by its resources', async () => {
    const files = { resource: 'https://files.chat.example/' };
    const answer = await askFor(stage, await stage.issuer.sign(), files);
    expect(refusalOf(answer)).toEqual({ status: 400, error: 'invalid_request', code: 'exchange_denied' });
    expect(answer.body).toMatchObject({ reasons: [{ code: 'not_to_files' }] });
  });

  test('is to be had within a task, without the user being there', async () => {
    const opened = await stage.exchange(await stage.issuer.sign(), { task_purpose: 'tidy up' });
    const { task_id: task = '' } = opened.body as Granted;
    const { body } = await askFor(stage, task, { subject_token_type: TASK });
    expect(claimsOf(body.access_token)).toMatchObject({ sub: 'alice', client_id: 'research-agent' });
    expect(claimsOf(body.access_token)).not.toHaveProperty('act');
    const task2 = await askFor(stage, await stage.issuer.sign(), { task_purpose: 'tidy up' });
    expect(refusalOf(task2)).toMatchObject({ code: 'invalid_request' });
  });

  test('takes one authority, a resource, and a user', async () => {
    const ask = async (fields: [string, string][]) =>
      refusalOf(
        await form(
          stage.server.data,
          'token',
          new URLSearchParams([
            ['grant_type', 'urn:ietf:params:oauth:grant-type:token-exchange'],
            ['requested_token_type', ID_JAG],
            ['subject_token', await stage.issuer.sign()],
            ['subject_token_type', 'urn:ietf:params:oauth:token-type:access_token'],
            ['scope', 'docs.read'],
            ...fields,
          ]),
          agent,
        ),
      );
    const missing = { status: 400, error: 'invalid_request', code: 'invalid_request' };
    expect(await ask([['audience', CHAT]])).toEqual(missing);
    expect(await ask([['resource', CHAT_MCP]])).toEqual(missing);
    const twice: [string, string][] = [
      ['audience', CHAT],
      ['audience', 'https://auth.other.example'],
      ['resource', CHAT_MCP],
    ];
    expect(await ask(twice)).toEqual(missing);
    const own = { grant_type: 'client_credentials', scope: 'docs.read' };
    const asked = { ...own, audience: CHAT, resource: CHAT_MCP, requested_token_type: ID_JAG };
    expect(refusalOf(await form(stage.server.data, 'token', asked, reporting))).toMatchObject({
      code: 'unsupported_token_type',
    });
    // What a service has of its own is passed on here, and goes no further.
    const { body } = await form(stage.server.data, 'token', { ...own, audience: 'docs-mcp' }, reporting);
    expect((await stage.exchange(body.access_token, { audience: 'docs-api' }, mcp)).status).toBe(200);
    expect(refusalOf(await askFor(stage, body.access_token, {}, mcp))).toMatchObject({
      code: 'exchange_denied',
    });
  });

  test('is not issued where the ceiling names neither the authority nor the resource', async () => {
    await using narrow = await Stage.open(
      crossing({}, (manifest) => {
        for (const { ceiling } of manifest.principals) if (ceiling) ceiling.audiences = ['docs-mcp'];
      }),
    );
    expect(refusalOf(await askFor(narrow, await narrow.issuer.sign()))).toMatchObject({
      error: 'invalid_target',
    });
  });

  test('ends with whom it is of: a disabled user gets none', async () => {
    await stage.setStatus('user', 'alice', 'DISABLED');
    expect((await askFor(stage, await stage.issuer.sign())).status).toBe(400);
    await stage.setStatus('user', 'alice', 'ACTIVE');
  });
});

describe('over gRPC, Connect and the command line', () => {
  const exchange = (body: object) =>
    connect<{
      accessToken: string;
      issuedTokenType: string;
      tokenType: string;
      scopes: string[];
      code?: string;
    }>(
      stage.server.data,
      'DelegationService/Exchange',
      { tenant: 'acme', ...body },
      basic(agent.id, agent.secret),
    );
  const codeOf = ({ headers }: { headers: Headers }) => headers.get('mandate-error-code');
  const cli = (...args: string[]) =>
    at(stage.server, agent.secret)('token', 'exchange', '-t', 'acme', ...args);

  test('an assertion is all that is needed for a token of what it says, once', async () => {
    const assertion = await made();
    const presented = { subjectToken: assertion, subjectTokenType: ID_JAG };
    const { status, body } = await exchange(presented);
    expect({ status, body }).toMatchObject({
      status: 200,
      body: { tokenType: 'Bearer', scopes: ['docs.read', 'docs.suggest'] },
    });
    expect(claimsOf(body.accessToken)).toMatchObject({ sub: 'alice', aud: DOCS, client_id: agent.id });
    expect(codeOf(await exchange(presented))).toBe('token_invalid');
    const [record] = await stage.records({ kind: 'exchange', pageSize: 2 });
    expect(record).toMatchObject({ action: 'assertion.accept', outcome: 'deny' });
    // Less of it may be asked for, and nothing else.
    const narrowed = { ...presented, subjectToken: await made(), audience: DOCS, scopes: ['docs.read'] };
    expect((await exchange(narrowed)).body.scopes).toEqual(['docs.read']);
    const elsewhere = { ...presented, subjectToken: await made(), audience: 'docs-api' };
    expect(codeOf(await exchange(elsewhere))).toBe('invalid_target');
  });

  test('one for another authority is the same as at the token endpoint', async () => {
    const subjectToken = await stage.issuer.sign();
    const asked = {
      subjectToken,
      requestedTokenType: ID_JAG,
      audience: CHAT,
      resources: [CHAT_MCP],
      scopes: ['docs.read'],
    };
    const { status, body } = await exchange(asked);
    expect({ status, body }).toMatchObject({
      status: 200,
      body: { issuedTokenType: ID_JAG, tokenType: 'N_A', scopes: ['docs.read'] },
    });
    const { body: same } = await askFor(stage, subjectToken);
    const shared = ({ access_token }: { access_token: string }) => {
      const { iss, sub, aud, client_id, resource } = claimsOf(access_token);
      return { iss, sub, aud, client_id, resource };
    };
    expect(shared({ access_token: body.accessToken })).toEqual(shared(same));
    // It is no token here, by either way.
    expect(await stage.introspect(body.accessToken, mcp)).toEqual({ active: false });
    expect(codeOf(await exchange({ subjectToken: body.accessToken, subjectTokenType: ID_JAG }))).toBe(
      'token_invalid',
    );
  });

  test.each<[string, object, string]>([
    ['no resource', { resources: [] }, 'invalid_request'],
    ['two authorities', { moreAudiences: ['https://other.example'] }, 'invalid_request'],
    ['no authority', { audience: '' }, 'invalid_request'],
    [
      "a resource that is not the authority's",
      { resources: ['https://elsewhere.example/'] },
      'invalid_target',
    ],
    ['an authority that nobody registered', { audience: 'https://elsewhere.example' }, 'invalid_target'],
    ['an assertion to become another', { subjectTokenType: ID_JAG }, 'unsupported_token_type'],
    ['for itself', { forItself: true }, 'unsupported_token_type'],
    ['resources without an assertion', { requestedTokenType: '' }, 'invalid_request'],
    ['a task', { task: { purpose: 'x' } }, 'invalid_request'],
    [
      'a transaction token, which is asked for at the token endpoint',
      { requestedTokenType: 'urn:ietf:params:oauth:token-type:txn_token' },
      'unsupported_token_type',
    ],
  ])('refused: %s', async (_, changes, code) => {
    const subjectToken = await stage.issuer.sign();
    const asked = { subjectToken, requestedTokenType: ID_JAG, audience: CHAT, resources: [CHAT_MCP] };
    expect(codeOf(await exchange({ ...asked, scopes: ['docs.read'], ...changes }))).toBe(code);
  });

  test('refused: an assertion with another token, to join a task, and by another client', async () => {
    const presented = async () => ({ subjectToken: await made(), subjectTokenType: ID_JAG });
    const actor = {
      actorToken: await stage.issuer.sign(),
      actorTokenType: 'urn:ietf:params:oauth:token-type:jwt',
    };
    expect(codeOf(await exchange({ ...(await presented()), ...actor }))).toBe('invalid_request');
    expect(codeOf(await exchange({ ...(await presented()), requestedTokenType: TASK }))).toBe(
      'unsupported_token_type',
    );
    const other = await assertionOf(stage.issuer, { client_id: 'other-agent' });
    expect(codeOf(await exchange({ subjectToken: other, subjectTokenType: ID_JAG }))).toBe('token_invalid');
  });

  test('mandate token exchange takes one, and asks for one', async () => {
    const taken = await cli('--subject-token', await made(), '--subject-token-type', 'id-jag');
    expect(taken, taken.stderr).toMatchObject({ code: 0 });
    expect(claimsOf(taken.stdout.trim())).toMatchObject({ aud: DOCS });
    const to = ['--requested-token-type', 'id-jag', '--audience', CHAT, '--resource', CHAT_MCP];
    const user = await stage.issuer.sign();
    const asked = await cli('--subject-token', user, '--scope', 'docs.read', ...to);
    expect(asked, asked.stderr).toMatchObject({ code: 0 });
    expect(claimsOf(asked.stdout.trim())).toMatchObject({ aud: CHAT, resource: CHAT_MCP });
    expect((await cli('--subject-token', user, '--scope', 'docs.read')).stderr).toBe(
      'mandate: invalid_request: --audience is missing: say what the token is for\n',
    );
  });
});

describe('from one authority of Mandate’s to another', () => {
  test('acme issues, globex takes: its own user, agent and policy', async () => {
    const tools = 'https://tools.globex.example/mcp';
    await using both = await Stage.open({
      ...crossing({}, (manifest) => {
        manifest.authorities = [{ issuer: `${BASE}/t/globex`, resources: [tools] }];
        for (const { ceiling } of manifest.principals) ceiling?.audiences?.push(tools);
      }),
      globex: (manifest) => {
        for (const each of manifest.principals) if (each.id === 'tools-mcp') each.resources = [tools];
      },
    });
    const trusted = {
      issuer: ACME,
      jwksUri: `${both.server.data}/t/acme/oauth2/jwks`,
      algorithms: ['ES256'],
      identityAssertions: {},
    };
    const put = { tenant: 'globex', issuer: trusted };
    expect((await connect(both.server.admin, 'TenantService/PutIssuer', put)).status).toBe(200);
    const { body } = await askFor(both, await both.issuer.sign(), {
      audience: `${BASE}/t/globex`,
      resource: tools,
    });
    const client = { id: 'research-agent', secret: secrets.globexAgent };
    const fields = { grant_type: JWT_BEARER, assertion: body.access_token };
    const answer = await form(both.server.data, 'token', fields, client, 'globex');
    expect(answer.status).toBe(200);
    expect(claimsOf(answer.body.access_token)).toMatchObject({
      iss: `${BASE}/t/globex`,
      aud: tools,
      sub: 'alice',
      act: { sub: 'research-agent' },
      use: 'suggest',
    });
    const asked = {
      tenant: 'globex',
      subjectToken: answer.body.access_token,
      action: { name: 'document.read' },
      resource: { type: 'document', id: 'x' },
    };
    const by = (secret: string) => connect(both.server.data, 'DecisionService/Check', asked, bearer(secret));
    // Its agents suggest at most, and globex does not say that reading is less than acting.
    expect((await by(secrets.globexMcp)).body).toMatchObject({ reasons: [{ code: 'use_insufficient' }] });
    expect((await by(mcp.secret)).status).toBe(401);
  });
});
