import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { postJson } from './requests.ts';
import { bearer, type Running, secrets, startServer } from './server.ts';

/** What somebody whom no tenant knows can make the server do: nothing that takes memory or time. */

let server: Running;
beforeAll(async () => {
  server = await startServer({ overrides: { dev: false } });
});
afterAll(() => server[Symbol.asyncDispose]());

const CHECK = '/mandate.v1.DecisionService/Check';
const unknown = ['', bearer('nobody-knows-this-secret-0000000001'), bearer(forgedJwt()), 'Basic eDp5'];

/** A JWT of an issuer that nobody trusts. */
function forgedJwt(): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'none' })}.${part({ iss: 'https://evil.example', sub: 'x' })}.x`;
}

describe('a request of somebody unknown is refused before its body', () => {
  test.each(unknown)('over Connect: %s', async (authorization) => {
    for (const [base, path] of [
      [server.data, CHECK],
      [server.data, '/mandate.v1.DelegationService/Exchange'],
      [server.admin, '/mandate.v1.TenantService/PutPrincipals'],
    ] as const) {
      const request = http.request(`${base}${path}`, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'content-length': 4_000_000,
          ...(authorization && { authorization }),
        },
      });
      request.on('error', () => undefined);
      // Never the rest.
      request.write('{"tenant":"acme"');
      const [response] = (await once(request, 'response')) as [http.IncomingMessage];
      expect(response.statusCode).toBe(401);
      request.destroy();
    }
  });

  test.each(unknown)('over gRPC: %s', async (authorization) => {
    const session = http2.connect(server.data);
    const stream = session.request({
      ':method': 'POST',
      ':path': CHECK,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...(authorization && { authorization }),
    });
    stream.on('error', () => undefined);
    stream.write(Buffer.alloc(1_000));
    const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
    expect(headers).toMatchObject({ 'grpc-status': '16', 'mandate-error-code': 'unauthenticated' });
    session.destroy();
  });
});

test('a request that is sent slower than its deadline is given up, and so is its memory', async () => {
  const session = http2.connect(server.data);
  const stream = session.request({
    ':method': 'POST',
    ':path': CHECK,
    'content-type': 'application/grpc',
    te: 'trailers',
    'grpc-timeout': '100m',
    authorization: bearer(secrets.api),
  });
  const closed = once(stream, 'close');
  const answered = once(stream, 'response');
  // Two frames and no end.
  stream.write(Buffer.alloc(40_000));
  const [headers] = (await answered) as [http2.IncomingHttpHeaders];
  expect(headers).toMatchObject({ 'mandate-error-code': 'deadline_exceeded' });
  stream.resume();
  await closed;
  session.destroy();
});

test('who is known to one tenant is still nobody to another', async () => {
  const body = { tenant: 'acme', subject: { type: 'user', id: 'alice' } };
  expect(await postJson(`${server.data}${CHECK}`, body, bearer(secrets.globexMcp))).toMatchObject({
    status: 401,
    body: { code: 'unauthenticated' },
  });
});
