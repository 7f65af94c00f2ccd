import { Code, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import { createConnectTransport, createGrpcWebTransport } from '@connectrpc/connect-web';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BatchSemantic, DecisionService } from '../../src/gen/mandate/v1/decision_pb.ts';
import { Decision } from '../../src/gen/mandate/v1/model_pb.ts';
import { aliceReads, postJson, request } from './requests.ts';
import { bearer, type Running, secrets, startServer } from './server.ts';

/** What a browser speaks: connect-web's transports, and what fetch can send that is wrong. */

let server: Running;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server[Symbol.asyncDispose]());

const transports: Readonly<Record<string, (baseUrl: string) => Transport>> = {
  'Connect with JSON': (baseUrl) => createConnectTransport({ baseUrl }),
  'Connect with protobuf': (baseUrl) => createConnectTransport({ baseUrl, useBinaryFormat: true }),
  'Connect by GET': (baseUrl) => createConnectTransport({ baseUrl, useHttpGet: true }),
  'gRPC-Web with JSON': (baseUrl) => createGrpcWebTransport({ baseUrl, useBinaryFormat: false }),
  'gRPC-Web with protobuf': (baseUrl) => createGrpcWebTransport({ baseUrl }),
};

const client = (protocol: string) => {
  const transport = transports[protocol];
  if (!transport) throw new Error(`no transport ${protocol}`);
  return createClient(DecisionService, transport(server.data));
};

const user = (id: string) => ({ case: 'subject' as const, value: { type: 'user', id } });
const { subject: _, ...question } = aliceReads;
const aliceAsks = { ...question, principal: user('alice') };

const as = (secret: string) => ({ headers: { authorization: bearer(secret) } });

async function refusal(
  call: Promise<unknown>,
): Promise<{ code: Code; name: string | null; message: string }> {
  const error: unknown = await call.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  if (!(error instanceof ConnectError))
    throw new Error('the call did not fail as calls do', { cause: error });
  return { code: error.code, name: error.metadata.get('mandate-error-code'), message: error.rawMessage };
}

describe.each(Object.keys(transports))('connect-web: %s', (protocol) => {
  test('Check', async () => {
    const allow = await client(protocol).check(aliceAsks, as(secrets.api));
    expect(allow.decision).toBe(Decision.ALLOW);
    expect(allow.policyRevision).toMatch(/^sha256:/);
    const confidential = { project: 'apollo', sensitivity: 'confidential' };
    const answer = await client(protocol).check(
      { ...aliceAsks, resource: { ...aliceReads.resource, properties: confidential } },
      as(secrets.api),
    );
    expect(answer.obligations).toEqual([{ type: 'watermark', text: 'alice' }]);
    const deny = await client(protocol).check({ ...aliceAsks, principal: user('nobody') }, as(secrets.api));
    expect(deny.decision).toBe(Decision.DENY);
    expect(deny.reasons.map(({ code }) => code)).toEqual(['principal_unknown']);
  });

  test('CheckBatch', async () => {
    const items = ['alice', 'nobody', 'bob'].map((id) => ({ subject: { type: 'user', id } }));
    const all = await client(protocol).checkBatch({ ...question, items }, as(secrets.api));
    expect(all.results.map(({ decision }) => decision)).toEqual([
      Decision.ALLOW,
      Decision.DENY,
      Decision.ALLOW,
    ]);
    const semantic = BatchSemantic.DENY_ON_FIRST_DENY;
    const until = await client(protocol).checkBatch({ ...question, items, semantic }, as(secrets.api));
    expect(until.results.map(({ decision }) => decision)).toEqual([Decision.ALLOW, Decision.DENY]);
  });

  test('an error with its mandate-error-code', async () => {
    const { check } = client(protocol);
    const { action: _action, ...incomplete } = aliceAsks;
    expect(await refusal(check({ ...aliceAsks, tenant: 'nowhere' }, as(secrets.api)))).toEqual({
      code: Code.NotFound,
      name: 'tenant_unknown',
      message: expect.stringMatching(/^tenant_unknown: /),
    });
    expect(await refusal(check(incomplete, as(secrets.api)))).toMatchObject({
      code: Code.InvalidArgument,
      name: 'invalid_request',
    });
    expect(await refusal(check(aliceAsks, as('wrong')))).toMatchObject({
      code: Code.Unauthenticated,
      name: 'unauthenticated',
    });
    expect(await refusal(check(aliceAsks, as(secrets.agent)))).toMatchObject({
      code: Code.PermissionDenied,
      name: 'permission_denied',
    });
  });

  test('a deadline that is far away changes nothing', async () => {
    const answer = await client(protocol).check(aliceAsks, { ...as(secrets.api), timeoutMs: 30_000 });
    expect(answer.decision).toBe(Decision.ALLOW);
  });
});

const CHECK = '/mandate.v1.DecisionService/Check';
const NONSENSE = Uint8Array.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 1]);
const framed = (message: Uint8Array): Uint8Array<ArrayBuffer> =>
  Uint8Array.from([0, 0, 0, 0, message.length, ...message]);

const send = (type: string, body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) =>
  request<{ code?: string; message?: string; text?: string }>(`${server.data}${CHECK}`, {
    method: 'POST',
    headers: { 'content-type': type, authorization: bearer(secrets.api), ...headers },
    body,
  });

describe('what is no message', () => {
  test('over Connect: invalid_argument with its mandate-error-code, of JSON and protobuf alike', async () => {
    const wrong: [string, string | Uint8Array<ArrayBuffer>][] = [
      ['application/proto', NONSENSE],
      ['application/json', '{"tenant":'],
      ['application/json', '{"tenant":5}'],
      ['application/json', '[]'],
      ['application/json', ''],
    ];
    for (const [type, body] of wrong) {
      const { status, headers, body: answer } = await send(type, body);
      expect({ status, ...answer }, String(body)).toEqual({
        status: 400,
        code: 'invalid_argument',
        message: expect.stringMatching(/^invalid_request: /),
      });
      expect(headers.get('mandate-error-code')).toBe('invalid_request');
    }
  });

  test('over gRPC-Web: INVALID_ARGUMENT with its mandate-error-code', async () => {
    const wrong: [string, Uint8Array<ArrayBuffer>][] = [
      ['application/grpc-web+proto', framed(NONSENSE)],
      ['application/grpc-web+json', framed(Buffer.from('{"tenant":'))],
      ['application/grpc-web+proto', Uint8Array.from([0, 0, 0, 0, 9, 1])],
      ['application/grpc-web+proto', Uint8Array.from([0, 0])],
    ];
    for (const [type, body] of wrong) {
      const { headers, body: answer } = await send(type, body);
      // The trailers are in the headers, or in the last frame of the body.
      const trailers = [...headers, ['', answer.text]].map((each) => each.join(': ')).join('\r\n');
      expect(trailers, `${type} ${String(body)}`).toMatch(/grpc-status: 3\b/);
      expect(trailers).toMatch(/mandate-error-code: invalid_request\b/);
    }
  });

  test('an encoding that is not known is unimplemented, one that is broken invalid', async () => {
    const unknown = await send('application/json', '{}', { 'content-encoding': 'zstd-9' });
    expect(unknown.body.code).toBe('unimplemented');
    expect(unknown.headers.get('mandate-error-code')).toBe('unimplemented');
    const broken = await send('application/json', '{}', { 'content-encoding': 'gzip' });
    expect(broken.body.code).toBe('invalid_argument');
    expect(broken.headers.get('mandate-error-code')).toBe('invalid_request');
  });

  test('a message beyond the bound is payload_too_large', async () => {
    const { status, headers } = await send(
      'application/json',
      JSON.stringify({ tenant: 'x'.repeat(5 << 20) }),
    );
    expect(status).toBe(429);
    expect(headers.get('mandate-error-code')).toBe('payload_too_large');
  });
});

describe('Connect-Timeout-Ms', () => {
  test('that has passed is deadline_exceeded, and nothing is decided or recorded', async () => {
    const newest = async () => {
      const query = { tenant: 'acme', pageSize: 1 };
      return (await postJson(`${server.admin}/mandate.v1.AuditService/Query`, query)).body;
    };
    const before = await newest();
    const late = await send('application/json', JSON.stringify(aliceReads), { 'connect-timeout-ms': '0' });
    expect(late).toMatchObject({ status: 504, body: { code: 'deadline_exceeded' } });
    expect(late.headers.get('mandate-error-code')).toBe('deadline_exceeded');
    expect(await newest()).toEqual(before);
  });

  test('that is none is invalid', async () => {
    for (const timeout of ['soon', '-1', '12345678901']) {
      const headers = { 'connect-timeout-ms': timeout };
      const { status, headers: answered } = await send(
        'application/json',
        JSON.stringify(aliceReads),
        headers,
      );
      expect([status, answered.get('mandate-error-code')], timeout).toEqual([400, 'invalid_request']);
    }
  });
});
