import net from 'node:net';
import { status } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { failure, Grpc } from './grpc.ts';
import { type Issuer, startIssuer, trustIn } from './issuer.ts';
import {
  aliceReads,
  check,
  connect,
  exchangeFields,
  form,
  http2Request,
  postJson,
  request,
  tokenReads,
} from './requests.ts';
import { bearer, type Running, secrets, startServer } from './server.ts';

/** Issue 2, "Bad input": a clear coded error in the protocol's own form, and the process goes on. */

let server: Running;
let issuer: Issuer;
let pep: Grpc;
const agent: { id: string; secret: string } = { id: 'research-agent', secret: secrets.agent };

beforeAll(async () => {
  issuer = await startIssuer();
  server = await startServer({
    acme: (manifest) => (manifest.issuers = [trustIn(issuer.url)]),
    globex: (manifest) => (manifest.issuers = [trustIn(issuer.url)]),
  });
  pep = new Grpc(server.data, secrets.api);
});

afterAll(async () => {
  pep[Symbol.dispose]();
  await server[Symbol.asyncDispose]();
  await issuer[Symbol.asyncDispose]();
});

// The process goes on, whatever the test sent.
afterEach(async () => {
  expect((await check(server.data, aliceReads, bearer(secrets.api))).body.decision).toBe('DECISION_ALLOW');
});

const { tenant: _, ...evaluation } = aliceReads;
const evaluate = (body: unknown, path = '/t/acme/access/v1/evaluation') =>
  postJson(`${server.data}${path}`, body);
const exchange = (fields: Record<string, string> | URLSearchParams, client = agent) =>
  form(server.data, 'token', fields, client);

/** The newest records of acme's log. */
const records = async (filter: object = {}) => {
  const { body } = await connect<{ records: Record<string, unknown>[] }>(server.admin, 'AuditService/Query', {
    tenant: 'acme',
    pageSize: 3,
    ...filter,
  });
  return body.records;
};

const deep = (depth: number): string => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`;
const big = 'x'.repeat(5 * 1024 * 1024);

describe('a body that cannot be read', () => {
  test('malformed JSON: 400 from AuthZEN, invalid_argument from Connect', async () => {
    for (const text of ['', '{', '[]', '"text"', 'null', '{"subject":"alice"}', '\u0000', '{"a":1}}']) {
      const answer = await evaluate(text);
      expect(answer, text).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
    }
    expect(await connect(server.data, 'DecisionService/Check', '{"tenant":')).toMatchObject({
      status: 400,
      body: { code: 'invalid_argument' },
    });
  });

  test('bytes that are not UTF-8: 400', async () => {
    const answer = await request(`${server.data}/t/acme/access/v1/evaluation`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: Uint8Array.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d]),
    });
    expect(answer).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
  });

  test('malformed protobuf: INVALID_ARGUMENT from gRPC', async () => {
    const nonsense = Uint8Array.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 1]);
    expect(await failure(pep.raw('DecisionService', 'Check', nonsense))).toEqual({
      status: status.INVALID_ARGUMENT,
      code: 'invalid_request',
    });
  });

  test('a gRPC frame that is cut short or lies about its length: INVALID_ARGUMENT', async () => {
    for (const body of [[], [0, 0, 0], [0, 0, 0, 0, 9, 1], [0, 0, 0, 0, 0, 1, 2], [0, 255, 255, 255, 255]]) {
      const { headers } = await http2Request(
        server.data,
        {
          ':method': 'POST',
          ':path': '/mandate.v1.DecisionService/Check',
          'content-type': 'application/grpc',
          te: 'trailers',
        },
        Uint8Array.from(body),
      );
      expect(headers, String(body)).toMatchObject({
        'grpc-status': String(status.INVALID_ARGUMENT),
        'mandate-error-code': 'invalid_request',
      });
    }
  });

  test('malformed form: invalid_request from OAuth, with what is wrong', async () => {
    const token = await issuer.sign();
    const twice = new URLSearchParams(exchangeFields(token));
    twice.append('subject_token', token);
    const { subject_token: _token, ...missing } = exchangeFields(token);
    const table: [Record<string, string> | URLSearchParams, string][] = [
      [{}, 'grant_type is missing'],
      [missing, 'subject_token is missing'],
      [twice, 'subject_token stands twice'],
      [exchangeFields(token, { actor_token: 'x' }), 'actor_token and actor_token_type stand together'],
    ];
    for (const [fields, message] of table) {
      const { status: code, body } = await exchange(fields);
      expect({ code, error: body.error }).toEqual({ code: 400, error: 'invalid_request' });
      expect(body.error_description).toContain(message);
    }
    const other = await exchange({ grant_type: 'password' });
    expect(other.body.error).toBe('unsupported_grant_type');
  });

  test('5 MB: payload_too_large in every protocol', async () => {
    expect(await evaluate({ ...evaluation, context: { big } })).toMatchObject({
      status: 413,
      body: { error: 'payload_too_large' },
    });
    expect((await exchange(exchangeFields(big))).status).toBe(413);
    expect(await check(server.data, { ...aliceReads, context: { big } })).toMatchObject({
      status: 429,
      body: { code: 'resource_exhausted' },
    });
    const call = pep.call('DecisionService', 'Check', { ...aliceReads, subject: { type: 'user', id: big } });
    expect(await failure(call)).toEqual({ status: status.RESOURCE_EXHAUSTED, code: 'payload_too_large' });
  });

  test('too many bytes in chunks of unsaid length: payload_too_large, and the connection ends', async () => {
    const socket = net.connect(server.mandate.dataPort, '127.0.0.1');
    socket.write(
      'POST /t/acme/access/v1/evaluation HTTP/1.1\r\nHost: localhost\r\n' +
        'Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n',
    );
    // One more than may be, and never a last one.
    for (let sent = 0; sent <= 16; sent += 1) socket.write(`10000\r\n${'x'.repeat(0x10000)}\r\n`);
    let answer = '';
    for await (const chunk of socket) answer += String(chunk);
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
    expect(answer).toContain('payload_too_large');
  });

  test('200-deep JSON: 400 from AuthZEN and Connect alike', async () => {
    expect(await evaluate(`{"context":${deep(200)}}`)).toMatchObject({
      status: 400,
      body: { error: 'invalid_request' },
    });
    const text = `${JSON.stringify(aliceReads).slice(0, -1)},"context":${deep(200)}}`;
    expect(await connect(server.data, 'DecisionService/Check', text)).toMatchObject({
      status: 400,
      body: { code: 'invalid_argument' },
    });
  });

  test('wrong content type: 415, and 400 where AuthZEN 1.0 says so', async () => {
    const send = (path: string, type: string, body: string) =>
      request(`${server.data}${path}`, { method: 'POST', headers: { 'content-type': type }, body });
    expect(await send('/t/acme/access/v1/evaluation', 'text/plain', '{}')).toMatchObject({
      status: 400,
      body: { error: 'unsupported_media_type' },
    });
    expect(await send('/t/acme/oauth2/token', 'application/json', '{}')).toMatchObject({
      status: 415,
      body: { error: 'invalid_request', code: 'unsupported_media_type' },
    });
    expect((await send('/mandate.v1.DecisionService/Check', 'text/plain', '{}')).status).toBe(415);
  });

  test('wrong method: 405; a path that is not served: 404', async () => {
    expect(await request(`${server.data}/t/acme/access/v1/evaluation`)).toMatchObject({
      status: 405,
      body: { error: 'method_not_allowed' },
    });
    expect((await request(`${server.data}/t/acme/oauth2/token`, { method: 'PUT' })).status).toBe(405);
    expect(
      (await request(`${server.data}/mandate.v1.DecisionService/Check`, { method: 'DELETE' })).status,
    ).toBe(405);
    expect(await evaluate({}, '/t/acme/nothing')).toMatchObject({
      status: 404,
      body: { error: 'not_found' },
    });
  });

  test('a request line that is none: 400, and a URL that is none does not stop the process', async () => {
    for (const line of [
      'nonsense',
      'GET http://[ HTTP/1.1',
      'GET //[ HTTP/1.1',
      'GET /t/%ff/oauth2/jwks HTTP/1.1',
    ]) {
      const socket = net.connect(server.mandate.dataPort, '127.0.0.1');
      socket.write(`${line}\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
      let answer = '';
      for await (const chunk of socket) answer += String(chunk);
      expect(answer, line).toMatch(/^HTTP\/1\.1 4\d\d /);
    }
  });
});

describe('a request that says too little or the wrong thing', () => {
  test('unknown tenant: not found, whether its id is well formed or not', async () => {
    for (const tenant of ['nowhere', '../acme', 'ACME', '__proto__', 'constructor', '']) {
      expect(await check(server.data, { ...aliceReads, tenant }), tenant).toMatchObject({ status: 404 });
      expect((await failure(pep.call('DecisionService', 'Check', { ...aliceReads, tenant }))).code).toBe(
        'tenant_unknown',
      );
    }
    expect(await evaluate(evaluation, '/t/nowhere/access/v1/evaluation')).toMatchObject({
      status: 404,
      body: { error: 'tenant_unknown' },
    });
    expect(await form(server.data, 'token', {}, agent, 'nowhere')).toMatchObject({
      status: 404,
      body: { code: 'tenant_unknown' },
    });
  });

  test('unknown principal class: a deny over AuthZEN, a coded error over Connect, and recorded', async () => {
    const subject = { type: 'robot', id: 'r2' };
    const answer = await evaluate({ ...evaluation, subject });
    const reasons = [{ code: 'principal_class_unknown' }];
    expect(answer).toMatchObject({ status: 200, body: { decision: false, context: { reasons } } });
    expect(await records({ outcome: 'deny' })).toMatchObject([{ kind: 'decision', reasons }]);
    expect(await check(server.data, { ...aliceReads, subject })).toMatchObject({ status: 400 });
    expect((await records({ outcome: 'error' }))[0]).toMatchObject({ kind: 'decision', reasons });
  });

  test('missing or empty members: invalid_request that names the member, and a record', async () => {
    for (const member of ['subject', 'action', 'resource']) {
      const { [member as 'action']: _left, ...rest } = evaluation;
      for (const body of [rest, { ...rest, [member]: {} }])
        expect(await evaluate(body)).toMatchObject({
          status: 400,
          body: { error: 'invalid_request', error_description: expect.stringContaining(member) },
        });
      const [record] = await records({ outcome: 'error' });
      expect(JSON.stringify(record)).toContain(member);
    }
    const { action: _action, ...rest } = aliceReads;
    expect(await check(server.data, rest)).toMatchObject({ status: 400, body: { code: 'invalid_argument' } });
  });

  test('members of the wrong type or too long: invalid_request', async () => {
    const wrong = [
      { ...evaluation, action: 'document.read' },
      { ...evaluation, subject: { type: 'user', id: 7 } },
      { ...evaluation, resource: { type: 'document', id: 'x'.repeat(2_000) } },
      { ...evaluation, context: [] },
      { ...evaluation, subject: { type: 'user', id: 'alice', properties: 'none' } },
    ];
    for (const body of wrong)
      expect(await evaluate(body)).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
  });
});

describe('a token that is not good', () => {
  const denied = async (token: string, code: string): Promise<void> => {
    const { body } = await check(server.data, tokenReads(token, ''), bearer(secrets.mcp));
    expect(body).toMatchObject({ decision: 'DECISION_DENY', reasons: [{ code }] });
    const [decision] = await records({ kind: 'decision' });
    expect(decision).toMatchObject({ outcome: 'deny', reasons: [{ code }], decisionId: body.decisionId });
    const refused = await exchange(exchangeFields(token));
    expect(refused).toMatchObject({ status: 400, body: { error: 'invalid_request', code } });
    const [exchanged] = await records({ kind: 'exchange' });
    expect(exchanged).toMatchObject({ outcome: 'deny', reasons: [{ code }], caller: 'agent:research-agent' });
  };

  test('expired: token_expired, decision and exchange recorded', async () => {
    const past = Math.floor(Date.now() / 1000) - 3_600;
    await denied(await issuer.sign({ iat: past - 60, exp: past }), 'token_expired');
  });

  test('unsigned (alg none): token_invalid, recorded', async () => {
    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const claims = Buffer.from((await issuer.sign()).split('.')[1] ?? '', 'base64url').toString();
    for (const alg of ['none', 'None', 'NONE'])
      await denied(`${part({ alg, typ: 'at+jwt' })}.${part(JSON.parse(claims) as object)}.`, 'token_invalid');
  });

  test('of another tenant: token_invalid, recorded', async () => {
    const fields = exchangeFields(await issuer.sign(), { audience: 'tools-mcp' });
    const client = { id: 'research-agent', secret: secrets.globexAgent };
    const { body } = await form(server.data, 'token', fields, client, 'globex');
    expect(body.access_token).toMatch(/^ey/);
    await denied(body.access_token, 'token_invalid');
  });

  test('nonsense: token_invalid, recorded', async () => {
    for (const token of ['x', '..', 'a.b.c', `${'a'.repeat(9_000)}.b.c`])
      await denied(token, 'token_invalid');
  });
});
