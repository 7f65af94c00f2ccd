import http2 from 'node:http2';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { file_mandate_v1_audit as audit } from '../../src/gen/mandate/v1/audit_pb.ts';
import { file_mandate_v1_decision as decision } from '../../src/gen/mandate/v1/decision_pb.ts';
import { file_mandate_v1_delegation as delegation } from '../../src/gen/mandate/v1/delegation_pb.ts';
import { file_mandate_v1_model as model } from '../../src/gen/mandate/v1/model_pb.ts';
import { file_mandate_v1_policy as policy } from '../../src/gen/mandate/v1/policy_pb.ts';
import { file_mandate_v1_tenant as tenant } from '../../src/gen/mandate/v1/tenant_pb.ts';
import { Grpc } from './grpc.ts';
import { trustIn } from './issuer.ts';
import { aliceReads, check, http2Request, request } from './requests.ts';
import { bearer, type Running, secrets, startServer } from './server.ts';

/** How a refusal looks in the protocol that it goes by, and what of a protocol's own is taken. */

/** Nothing answers there. */
const SILENT = 'http://127.0.0.1:9/issuer';

let server: Running;
beforeAll(async () => {
  server = await startServer({
    acme: (manifest) => {
      manifest.issuers = [{ ...trustIn(SILENT), subject_class: 'service' }];
    },
  });
});
afterAll(() => server[Symbol.asyncDispose]());

const { tenant: _, ...evaluation } = aliceReads;

/** The status message of a gRPC call as it is on the wire. */
async function messageOf(base: string, path: string, type: string, message: Uint8Array): Promise<string> {
  const session = http2.connect(base);
  const headers = { ':method': 'POST', ':path': path, 'content-type': type, te: 'trailers' };
  const stream = session.request({ ...headers, authorization: bearer(secrets.operator) });
  let told = '';
  const hear = (fields: http2.IncomingHttpHeaders): void => {
    const value = fields['grpc-message'];
    if (typeof value === 'string') told = value;
  };
  stream.on('response', hear);
  stream.on('trailers', hear);
  stream.on('data', (chunk: Buffer) => {
    told = /grpc-message: (.*)\r\n/.exec(chunk.toString('latin1'))?.[1] ?? told;
  });
  const prefix = Buffer.from([0, 0, 0, 0, message.length]);
  stream.end(Buffer.concat([prefix, message]));
  await new Promise((resolve) => stream.once('close', resolve));
  session.destroy();
  return told;
}

describe('grpc-message is encoded once, and no more of it than gRPC says', () => {
  // tenant: acme, class: a text with what must be encoded and what must not.
  const cls = Buffer.from('a: "b", 50%, ü');
  const message = Buffer.concat([
    Buffer.from([0x0a, 4]),
    Buffer.from('acme'),
    Buffer.from([0x12, cls.length]),
    cls,
  ]);
  const wanted =
    /^principal_class_unknown: unknown principal class "a: \\"b\\", 50%25, %C3%BC"; use one of user, agent,/;

  test.each([
    'application/grpc',
    'application/grpc+proto',
    'application/grpc-web',
    'application/grpc-web+proto',
  ])('in a method that the Connect library serves, as %s', async (type) => {
    expect(await messageOf(server.admin, '/mandate.v1.TenantService/GetPrincipal', type, message)).toMatch(
      wanted,
    );
  });

  test('as in one that is served straight, and a client reads both', async () => {
    const straight = '/mandate.v1.DecisionService/Check';
    const nowhere = Buffer.concat([Buffer.from([0x0a, 3]), Buffer.from('x y')]);
    expect(await messageOf(server.data, straight, 'application/grpc', nowhere)).toBe(
      'tenant_unknown: no such tenant',
    );
    using client = new Grpc(server.admin, secrets.operator);
    await expect(
      client.call('TenantService', 'GetPrincipal', { tenant: 'acme', class: 'a: b', id: 'x' }),
    ).rejects.toThrow('principal_class_unknown: unknown principal class "a: b"; use one of user, agent,');
  });
});

describe('a method that a path does not take', () => {
  test.each([
    ['/t/acme/access/v1/evaluation', 'GET', 'POST'],
    ['/t/acme/v1/data/authz/allow', 'DELETE', 'POST, GET, HEAD'],
    ['/readyz', 'POST', 'GET, HEAD'],
    ['/mandate.v1.DecisionService/Check', 'PUT', 'POST'],
    ['/grpc.health.v1.Health/Check', 'GET', 'POST'],
  ])('%s by %s: Allow says which it takes', async (path, method, allowed) => {
    const { status, headers, body } = await request<{ error?: string; message?: string }>(
      `${server.data}${path}`,
      {
        method,
      },
    );
    expect([status, headers.get('allow')]).toEqual([405, allowed]);
    expect(headers.get('mandate-error-code') ?? body.error).toBe('method_not_allowed');
  });
});

test('headers that are too long are 431 over HTTP/1.1 and over HTTP/2', async () => {
  const headers = { 'x-long': 'x'.repeat(33_000) };
  const { status, body } = await request(`${server.data}/livez`, { headers });
  expect([status, body['error']]).toEqual([431, 'payload_too_large']);
  const over2 = await http2Request(server.data, { ':path': '/livez', ...headers });
  expect([over2.status, JSON.parse(over2.text)]).toMatchObject([431, { error: 'payload_too_large' }]);
});

test.each([undefined, 'text/plain', 'application/xml', ''])(
  'a call of a service with the content type %s gets a body with its code',
  async (type) => {
    const { status, headers, body } = await request(`${server.data}/mandate.v1.DecisionService/Check`, {
      method: 'POST',
      body: Buffer.from('{}'),
      headers: type === undefined ? {} : { 'content-type': type },
    });
    expect([status, headers.get('mandate-error-code')]).toEqual([415, 'unsupported_media_type']);
    expect(body).toEqual({
      code: 'invalid_argument',
      message: expect.stringMatching(/^unsupported_media_type: the content type is application\/json/),
    });
  },
);

describe('AuthZEN takes a body that is packed', () => {
  const ask = (encoding: string, body: Uint8Array) =>
    request<{ decision?: boolean; error?: string }>(`${server.data}/t/acme/access/v1/evaluation`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'content-encoding': encoding },
      body: Uint8Array.from(body),
    });
  const packed = gzipSync(JSON.stringify(evaluation));

  test('by gzip', async () => {
    for (const encoding of ['gzip', 'x-gzip', 'GZIP'])
      expect((await ask(encoding, packed)).body, encoding).toMatchObject({ decision: true });
  });

  test('and no other way, nor more than the bound when it is unpacked', async () => {
    expect(await ask('compress', packed)).toMatchObject({
      status: 400,
      body: { error: 'unsupported_media_type' },
    });
    expect(await ask('gzip', Buffer.from('{}'))).toMatchObject({
      status: 400,
      body: { error: 'invalid_request' },
    });
    const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024));
    expect(await ask('gzip', bomb)).toMatchObject({ status: 413, body: { error: 'payload_too_large' } });
  });
});

test('a caller is told whose keys cannot be had', async () => {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    iss: SILENT,
    sub: 'docs-api',
    aud: 'https://mandate.acme.example',
    iat: now,
    exp: now + 60,
  };
  const token = `${part({ alg: 'ES256', typ: 'at+jwt', kid: 'k' })}.${part(claims)}.${'A'.repeat(86)}`;
  const { status, body } = await check(server.data, aliceReads, bearer(token));
  expect(status).toBe(503);
  expect(body).toMatchObject({ message: `unavailable: the keys of ${SILENT} cannot be had now` });
});

test('the protos say what Go package they are', () => {
  const packages = [audit, decision, delegation, model, policy, tenant].map(
    ({ proto }) => proto.options?.goPackage,
  );
  expect(new Set(packages)).toEqual(new Set(['mandate/gen/go/mandate/v1;mandatev1']));
});
