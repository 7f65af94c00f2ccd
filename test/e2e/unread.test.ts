import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ServiceError } from '../../src/errors.ts';
import { Grpc } from './grpc.ts';
import { aliceReads, check, connect } from './requests.ts';
import { basic, bearer, eventually, type Running, secrets, startServer } from './server.ts';

/** What somebody whom nobody knows may send, keep open and leave behind. */

const TRUSTED = 'https://login.example.invalid';

let server: Running;
beforeAll(async () => {
  server = await startServer({
    overrides: { dev: false },
    acme: (manifest) => {
      manifest.issuers = [
        {
          issuer: TRUSTED,
          jwks_uri: 'http://127.0.0.1:9/jwks',
          audiences: ['x'],
          algorithms: ['ES256'],
          subject_class: 'service',
        },
      ];
    },
  });
});
afterAll(() => server[Symbol.asyncDispose]());

const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
/** It claims an issuer that a tenant trusts. Anybody can write that. */
const forged = `${part({ alg: 'ES256', typ: 'at+jwt', kid: 'k' })}.${part({ iss: TRUSTED, sub: 'x' })}.${'A'.repeat(86)}`;

/** Begins a request with a body that never ends, and gives what is answered all the same. */
async function answered(url: string, headers: Record<string, string>): Promise<number> {
  const request = http.request(url, { method: 'POST', headers });
  request.on('error', () => undefined);
  request.write('x');
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  request.destroy();
  return response.statusCode ?? 0;
}

const FORM = { 'content-type': 'application/x-www-form-urlencoded' };
const oauth = (name: string): string => `${server.data}/t/acme/oauth2/${name}`;

describe('a token that only claims a trusted issuer opens nothing', () => {
  test.each([
    ['Connect', '/mandate.v1.DecisionService/Check', 'application/json'],
    ['Connect', '/mandate.v1.DelegationService/Exchange', 'application/proto'],
    ['AuthZEN', '/t/acme/access/v1/evaluation', 'application/json'],
    ['OPA', '/t/acme/v1/data/authz/allow', 'application/json'],
    ['OAuth', '/t/acme/oauth2/token', FORM['content-type']],
  ])('over %s: %s', async (_protocol, path, type) => {
    const headers = { 'content-type': type, authorization: bearer(forged), 'content-length': '60000' };
    // Its keys cannot be had here, and without them it is nobody's.
    expect(await answered(`${server.data}${path}`, headers)).toBe(503);
  });

  test.each(['Check', 'CheckBatch', 'CheckStream'])('over gRPC: %s', async (method) => {
    const session = http2.connect(server.data);
    const stream = session.request({
      ':method': 'POST',
      ':path': `/mandate.v1.DecisionService/${method}`,
      'content-type': 'application/grpc',
      te: 'trailers',
      authorization: bearer(forged),
    });
    stream.on('error', () => undefined);
    stream.resume();
    stream.write(Buffer.alloc(10_000));
    const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
    expect(headers).toMatchObject({ 'grpc-status': '14', 'mandate-error-code': 'unavailable' });
    // Nobody reads on.
    if (!stream.closed) await once(stream, 'close');
    session.destroy();
  });
});

describe('a form', () => {
  test.each(['token', 'introspect', 'revoke'])('of a wrong client is refused unread: %s', async (name) => {
    const headers = { ...FORM, 'content-length': '60000' };
    for (const authorization of [basic('research-agent', 'wrong'), bearer('wrong')])
      expect(await answered(oauth(name), { ...headers, authorization })).toBe(401);
  });

  test('of somebody unknown is a small one', async () => {
    expect(await answered(oauth('token'), { ...FORM, 'content-length': '70000' })).toBe(413);
    const chunked = http.request(oauth('token'), { method: 'POST', headers: FORM });
    chunked.on('error', () => undefined);
    const response = once(chunked, 'response');
    for (let each = 0; each < 70; each += 1) chunked.write('x'.repeat(1_000));
    expect(((await response) as [http.IncomingMessage])[0].statusCode).toBe(413);
    chunked.destroy();
  });

  test('whose sender keeps it open has a bounded number beside it, and they are free again', async () => {
    const sessions = Array.from({ length: 3 }, () => http2.connect(server.data));
    const opened = sessions.flatMap((session) =>
      Array.from({ length: 100 }, () => {
        const headers = { ':method': 'POST', ':path': '/t/acme/oauth2/token', ...FORM };
        const stream = session.request(headers, { endStream: false });
        stream.on('error', () => undefined);
        stream.write('client_id=x&');
        return stream;
      }),
    );
    const refused = opened.map(async (stream) => {
      const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
      return headers[':status'];
    });
    expect(await Promise.race(refused)).toBe(429);
    // Who is known by its headers needs no such place.
    expect((await check(server.data, aliceReads, bearer(secrets.api))).body.decision).toBe('DECISION_ALLOW');
    for (const session of sessions) session.destroy();
    await eventually(
      () => answered(oauth('token'), { ...FORM, 'content-length': '1' }),
      (status) => status === 401,
    );
  });

  test('that is not UTF-8 is refused, not read as something else', async () => {
    const body = 'token=%ff&client_id=docs-api&client_secret=x';
    const response = await fetch(oauth('introspect'), { method: 'POST', headers: FORM, body });
    expect(await response.json()).toMatchObject({ code: 'invalid_request' });
  });
});

test('a connection has little room until somebody on it is known', async () => {
  const session = http2.connect(server.data);
  await once(session, 'remoteSettings');
  expect(session.remoteSettings).toMatchObject({ maxConcurrentStreams: 100, initialWindowSize: 65_535 });
  const ask = (authorization: string): void => {
    const headers = { ':method': 'POST', ':path': '/mandate.v1.DecisionService/Check', authorization };
    session
      .request({ ...headers, 'content-type': 'application/grpc', te: 'trailers' })
      .on('error', () => undefined)
      .resume()
      .end(Buffer.alloc(5));
  };
  const wider = once(session, 'remoteSettings');
  ask(bearer('wrong'));
  ask(bearer(secrets.api));
  await wider;
  expect(session.remoteSettings).toMatchObject({ maxConcurrentStreams: 1_000, initialWindowSize: 1 << 20 });
  session.destroy();
});

test('what is dropped on the way is nobody’s error and leaves nothing in the log', async () => {
  const seen: string[] = [];
  const hear = (message: unknown): void => void seen.push((message as { error: ServiceError }).error.code);
  const someTurns = async (): Promise<void> => {
    for (let turn = 0; turn < 5; turn += 1) await check(server.data, aliceReads, bearer(secrets.api));
  };
  // For what others were told before, and another thread may tell yet.
  await someTurns();
  subscribe('mandate:error', hear);
  const [json, frame] = ['{"ten', Buffer.from([0, 0, 0, 0, 9, 1])];
  const begun = [
    ['/t/acme/oauth2/introspect', FORM['content-type'], 'token=x&'],
    ['/t/acme/access/v1/evaluation', 'application/json', json],
    ['/t/acme/v1/data/authz/allow', 'application/json', json],
    ['/mandate.v1.DecisionService/Check', 'application/json', json],
    ['/mandate.v1.DecisionService/Check', 'application/grpc', frame],
    ['/mandate.v1.DecisionService/CheckStream', 'application/grpc', frame],
    ['/mandate.v1.DecisionService/CheckStream', 'application/grpc+json', frame],
    ['/grpc.health.v1.Health/Watch', 'application/grpc', frame],
  ] as const;
  for (const [path, type, bytes] of begun) {
    const headers = { 'content-type': type, authorization: bearer(secrets.api) };
    // Streams both ways are not for HTTP/1.1, which is said before they are read.
    const isStream = path.endsWith('Stream');
    const dropped = http.request(`${server.data}${path}`, { method: 'POST', headers });
    dropped.on('error', () => undefined);
    if (!isStream) await new Promise((resolve) => dropped.write(bytes, resolve));
    dropped.destroy();
    const session = http2.connect(server.data);
    session.on('error', () => undefined);
    const stream = session.request({ ':method': 'POST', ':path': path, te: 'trailers', ...headers });
    stream.on('error', () => undefined);
    await new Promise((resolve) => stream.write(bytes, resolve));
    session.destroy();
  }
  // And for what is dropped last.
  await someTurns();
  unsubscribe('mandate:error', hear);
  expect(seen).toEqual([]);
});

describe('streams that last as long as their callers like are bounded', () => {
  const HEALTH = 'grpc.health.v1.Health';

  const OWN_CONNECTION = { 'grpc.use_local_subchannel_pool': 1 };

  test('Health/Watch', async () => {
    // A connection of a stranger takes fewer.
    using watcher = new Grpc(server.data, undefined, undefined, OWN_CONNECTION);
    using second = new Grpc(server.data, undefined, undefined, OWN_CONNECTION);
    const streams = Array.from({ length: 128 }, (_, at) =>
      (at < 64 ? watcher : second).stream(HEALTH, 'Watch', { service: '' }),
    );
    for (const stream of streams) stream.on('error', () => undefined);
    await Promise.all(streams.map((stream) => once(stream, 'data')));
    const refused = watcher.stream(HEALTH, 'Watch', { service: '' });
    const [error] = (await once(refused, 'error')) as [{ code: number; details: string }];
    expect(error).toMatchObject({ code: 8, details: expect.stringMatching(/^resource_exhausted/) as string });
    // The places come back.
    for (const stream of streams) stream.cancel();
    await eventually(
      () => watcher.call(HEALTH, 'Check', {}).catch(() => undefined),
      (answer) => answer !== undefined,
    );
  });

  test('a message to Health or Reflection is a small one', async () => {
    using stranger = new Grpc(server.data);
    const long = stranger.call(HEALTH, 'Check', { service: 'x'.repeat(5_000) });
    await expect(long).rejects.toMatchObject({ code: 8 });
  });

  test('AuditService.Tail, each caller’s own', async () => {
    const follow = (secret: string) =>
      new Grpc(server.admin, secret).stream('AuditService', 'Tail', { tenant: 'acme', from_index: 0 });
    await check(server.data, aliceReads, bearer(secrets.api));
    const tails = Array.from({ length: 16 }, () => follow(secrets.operator));
    for (const tail of tails) tail.on('error', () => undefined);
    await Promise.all(tails.map((tail) => once(tail, 'data')));
    const [error] = (await once(follow(secrets.operator), 'error')) as [{ code: number; details: string }];
    expect(error).toMatchObject({ code: 8, details: expect.stringMatching(/^resource_exhausted/) as string });
    const other = follow(secrets.api);
    other.on('error', () => undefined);
    await once(other, 'data');
    for (const tail of [...tails, other]) tail.cancel();
    expect(
      (await connect(server.admin, 'TenantService/ListTenants', {}, bearer(secrets.operator))).status,
    ).toBe(200);
  });
});
