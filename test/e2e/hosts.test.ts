import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { aliceReads } from './requests.ts';
import { bearer, type Running, secrets, startServer } from './server.ts';

/**
 * A page in a browser on this machine asks from its address. Where the address stands for a credential, the page of
 * another origin gets nothing: neither by a name that it lets point here (DNS rebinding), nor across origins.
 */

let dev: Running;
/** Callers need credentials; only metrics and the names of tenants are told to whoever asks from this machine. */
let strict: Running;
beforeAll(async () => {
  [dev, strict] = await Promise.all([
    startServer({ overrides: { base_url: 'https://pdp.example:8443' } }),
    startServer({ overrides: { dev: false } }),
  ]);
});
afterAll(async () => {
  await Promise.all([dev, strict].map((each) => each?.[Symbol.asyncDispose]()));
});

/** The status of one request over HTTP/1.1 with headers of any kind. */
async function ask(
  to: net.NetConnectOpts,
  line: string,
  headers: Record<string, string>,
  body = '',
): Promise<{ status: number; text: string }> {
  const socket = net.connect(to);
  const fields = { connection: 'close', ...(body && { 'content-length': String(body.length) }), ...headers };
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`${line} HTTP/1.1\r\n${lines.join('')}\r\n${body}`);
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  return { status: Number(text.slice(9, 12)), text };
}

const portOf = (url: string): number => Number(new URL(url).port);
const CHECK = 'POST /mandate.v1.DecisionService/Check';
const JSON_TYPE = { 'content-type': 'application/json' };

/** Over gRPC's own path. */
async function askGrpc(headers: Record<string, string>): Promise<string> {
  const session = http2.connect(dev.data);
  const stream = session.request({
    ':method': 'POST',
    ':path': '/mandate.v1.DecisionService/Check',
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  });
  stream.end(Buffer.alloc(5));
  const [answer] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
  session.destroy();
  return String(answer['mandate-error-code']);
}

const names = (port: number) => ({
  ours: [
    `localhost:${port}`,
    `127.0.0.1:${port}`,
    `[::1]:${port}`,
    `LOCALHOST:${port}`,
    'localhost',
    `localhost:${port - 1}`,
  ],
  others: [
    'evil.example',
    `evil.example:${port}`,
    `localhost.evil.example:${port}`,
    `127.0.0.1.evil.example:${port}`,
    `localhost:${port}@evil.example`,
    `127.0.0.1.:${port}`,
    'null',
  ],
});

describe('the admin plane, which tells who asks from this machine without a credential', () => {
  test('answers by a name of its own', async () => {
    const port = portOf(strict.admin);
    for (const host of names(port).ours)
      expect((await ask({ port, host: '127.0.0.1' }, 'GET /metrics', { host })).status, host).toBe(200);
  });

  test('does not by another’s, nor to a page of another origin', async () => {
    const port = portOf(strict.admin);
    const to = { port, host: '127.0.0.1' };
    const own = `localhost:${port}`;
    for (const host of names(port).others) {
      const { status, text } = await ask(to, 'GET /metrics', { host });
      expect([400, 401], host).toContain(status);
      expect(text).not.toContain('mandate_');
    }
    for (const origin of ['http://evil.example', 'null', `http://localhost:${port - 1}`, 'file://', 'x'])
      expect((await ask(to, 'GET /metrics', { host: own, origin })).status, origin).toBe(401);
    expect((await ask(to, 'GET /metrics', { host: own, origin: `http://${own}` })).status).toBe(200);
  });

  test('does by any name for an operator', async () => {
    const port = portOf(strict.admin);
    const headers = { host: 'metrics.example', authorization: bearer(secrets.operator) };
    expect((await ask({ port, host: '127.0.0.1' }, 'GET /metrics', headers)).status).toBe(200);
  });
});

describe('under --dev, where callers need no credential', () => {
  test.each(['data', 'admin'] as const)(
    'no page of another origin is answered: the %s plane',
    async (plane) => {
      const port = portOf(dev[plane]);
      const to = { port, host: '127.0.0.1' };
      const own = `localhost:${port}`;
      const asked = plane === 'data' ? CHECK : 'POST /mandate.v1.TenantService/ListTenants';
      const body = plane === 'data' ? JSON.stringify(aliceReads) : '{}';
      for (const host of names(port).ours)
        expect((await ask(to, asked, { host, ...JSON_TYPE }, body)).status, host).toBe(200);
      expect((await ask(to, asked, { host: 'pdp.example:8443', ...JSON_TYPE }, body)).status).toBe(200);
      for (const host of names(port).others)
        expect([400, 421], host).toContain((await ask(to, asked, { host, ...JSON_TYPE }, body)).status);
      for (const origin of ['https://evil.example', 'null', `http://localhost:${port - 1}`])
        expect((await ask(to, asked, { host: own, origin, ...JSON_TYPE }, body)).status, origin).toBe(421);
    },
  );

  test('nor over gRPC, nor with two names of which one is ours', async () => {
    const own = new URL(dev.data).host;
    expect(await askGrpc({})).toBe('tenant_unknown');
    expect(await askGrpc({ ':authority': 'evil.example' })).toBe('permission_denied');
    // RFC 9113 section 8.3.1: a request with two names is malformed.
    await expect(askGrpc({ ':authority': own, host: 'evil.example' })).rejects.toThrow('PROTOCOL_ERROR');
    expect(await askGrpc({ ':authority': own, origin: 'http://evil.example' })).toBe('permission_denied');
    // A credential is one whatever the name.
    expect(await askGrpc({ ':authority': 'pdp', authorization: bearer(secrets.api) })).toBe('tenant_unknown');
  });
});

test('the Unix socket has no name that a page could borrow', async () => {
  const file = path.join(strict.folder, 'data.sock');
  await using _ = await startServer({ overrides: { socket: { path: file } } });
  const to = { path: file };
  const { status } = await ask(to, CHECK, { host: 'any.name', ...JSON_TYPE }, JSON.stringify(aliceReads));
  expect(status).toBe(200);
});
