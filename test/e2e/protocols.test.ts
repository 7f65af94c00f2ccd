import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Grpc } from './grpc.ts';
import { aliceReads, check, connect, http2Request, postJson, request } from './requests.ts';
import { bearer, type Running, secrets, startServer } from './server.ts';

/** One port, every protocol. */

let server: Running;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server[Symbol.asyncDispose]());

const CHECK = '/mandate.v1.DecisionService/Check';
const EVALUATION = '/t/acme/access/v1/evaluation';
const { tenant: _, ...evaluation } = aliceReads;

const post = (path: string, type = 'application/json') => ({
  ':method': 'POST',
  ':path': path,
  'content-type': type,
  authorization: bearer(secrets.api),
});

describe('Connect with JSON, as curl speaks it', () => {
  test('decides over HTTP/1.1', async () => {
    const { status, body } = await check(server.data, aliceReads, bearer(secrets.api));
    expect(status).toBe(200);
    expect(body).toMatchObject({ decision: 'DECISION_ALLOW' });
    expect(body.policyRevision).toMatch(/^sha256:/);
  });

  test('decides over HTTP/2 on the same port', async () => {
    const { status, text } = await http2Request(server.data, post(CHECK), JSON.stringify(aliceReads));
    expect(status).toBe(200);
    expect(JSON.parse(text)).toMatchObject({ decision: 'DECISION_ALLOW' });
  });

  test('lets a caller on this machine leave out its credential under --dev', async () => {
    const { body } = await check(server.data, aliceReads);
    expect(body.decision).toBe('DECISION_ALLOW');
  });

  test('answers an error with its code', async () => {
    const { status, body, headers } = await check(server.data, { ...aliceReads, tenant: 'nowhere' });
    expect(status).toBe(404);
    expect(body).toMatchObject({ code: 'not_found', message: expect.stringContaining('tenant_unknown') });
    expect(headers.get('mandate-error-code')).toBe('tenant_unknown');
  });

  test('serves the admin plane on its own port alone', async () => {
    const there = await connect<{ tenants: { id: string }[] }>(server.admin, 'TenantService/ListTenants', {});
    expect(there.body.tenants.map(({ id }) => id)).toContain('acme');
    expect((await connect(server.data, 'TenantService/ListTenants', {})).status).toBe(404);
    expect((await connect(server.data, 'AuditService/Query', { tenant: 'acme' })).status).toBe(404);
  });
});

describe('AuthZEN Authorization API 1.0', () => {
  test('section 6: evaluates, a deny being a 200 with decision false', async () => {
    const url = `${server.data}${EVALUATION}`;
    const allow = await postJson(url, evaluation, bearer(secrets.api));
    expect(allow).toMatchObject({ status: 200, body: { decision: true, context: { outcome: 'allow' } } });
    const deny = await postJson(url, { ...evaluation, subject: { type: 'user', id: 'nobody' } });
    expect(deny).toMatchObject({
      status: 200,
      body: { decision: false, context: { reasons: [{ code: 'principal_unknown' }] } },
    });
  });

  test('evaluates over HTTP/2', async () => {
    const { status, text } = await http2Request(server.data, post(EVALUATION), JSON.stringify(evaluation));
    expect(status).toBe(200);
    expect(JSON.parse(text)).toMatchObject({ decision: true });
  });

  test('ignores members it does not know', async () => {
    const { body } = await postJson(`${server.data}${EVALUATION}`, { ...evaluation, novelty: [1] });
    expect(body).toMatchObject({ decision: true });
  });

  test('returns X-Request-ID with the answer', async () => {
    const { headers } = await request(`${server.data}${EVALUATION}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-request-id': 'r-17' },
      body: JSON.stringify(evaluation),
    });
    expect(headers.get('x-request-id')).toBe('r-17');
  });

  test('section 9: tells in its metadata where to evaluate', async () => {
    const { body } = await request(`${server.data}/.well-known/authzen-configuration/t/acme`);
    expect(body).toMatchObject({
      policy_decision_point: `${server.data}/t/acme`,
      access_evaluation_endpoint: `${server.data}${EVALUATION}`,
    });
  });
});

describe('one port', () => {
  test('answers gRPC, Connect, AuthZEN, OAuth and health side by side', async () => {
    using pep = new Grpc(server.data, secrets.api);
    const { resource, ...rest } = aliceReads;
    const answers = await Promise.all([
      pep.call<{ decision: string }>('DecisionService', 'Check', {
        ...rest,
        resource: { type: resource.type, id: resource.id },
      }),
      check(server.data, aliceReads),
      http2Request(server.data, post(CHECK), JSON.stringify(aliceReads)),
      postJson(`${server.data}${EVALUATION}`, evaluation),
      request(`${server.data}/t/acme/oauth2/jwks`),
      request(`${server.data}/livez`),
      request(`${server.data}/readyz`),
    ]);
    const [grpc, ...others] = answers;
    // No sensitivity is known of it, so nobody but an owner may.
    expect(grpc.decision).toBe('DECISION_DENY');
    expect(others.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 200]);
  });

  test('makes the same decision, at the same cost, in every protocol', async () => {
    const connected = await check(server.data, aliceReads);
    const over2 = await http2Request(server.data, post(CHECK), JSON.stringify(aliceReads));
    const first = JSON.parse(over2.text) as { policyRevision: string };
    const authzen = await postJson<{ context: { policy_revision: string } }>(
      `${server.data}${EVALUATION}`,
      evaluation,
    );
    expect(
      new Set([connected.body.policyRevision, first.policyRevision, authzen.body.context.policy_revision])
        .size,
    ).toBe(1);
    expect(connected.body.cost).toBe((await check(server.data, aliceReads)).body.cost);
  });

  test('gives Prometheus its metrics on the admin plane', async () => {
    await check(server.data, aliceReads);
    const { body } = await request<{ text: string }>(`${server.admin}/metrics`);
    expect(body.text).toMatch(/mandate_decisions_total\{tenant="acme",outcome="allow"\} [1-9]/);
  });
});
