import net from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { aliceReads, check, connect, exchangeFields, form, http2Request, postJson } from './requests.ts';
import { basic, bearer, type Running, secrets, startServer } from './server.ts';

/** Who may ask: callers authenticate too. */

let server: Running;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server[Symbol.asyncDispose]());

const exchange = (fields: Record<string, string>, client: { id: string; secret: string }) =>
  form(server.data, 'token', fields, client);

describe('a caller that is not who it should be', () => {
  test('a wrong credential is worse than none, even under --dev', async () => {
    for (const authorization of [
      bearer('wrong'),
      basic('research-agent', 'wrong'),
      'Digest x',
      'Bearer',
      'Basic !',
    ])
      expect(await check(server.data, aliceReads, authorization), authorization).toMatchObject({
        status: 401,
        body: { code: 'unauthenticated' },
      });
    const refused = await exchange(exchangeFields('x'), { id: 'research-agent', secret: 'wrong' });
    expect(refused).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
    expect(refused.headers.get('www-authenticate')).toContain('Basic');
  });

  test('the right secret under another client id is refused', async () => {
    const refused = await exchange(exchangeFields('x'), { id: 'docs-mcp', secret: secrets.agent });
    expect(refused).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
  });

  test('a caller of another tenant is a stranger', async () => {
    expect(await check(server.data, aliceReads, bearer(secrets.globexMcp))).toMatchObject({ status: 401 });
    const here = { id: 'research-agent', secret: secrets.globexAgent };
    expect((await form(server.data, 'introspect', { token: 'x' }, here)).status).toBe(401);
    expect(
      await connect(server.admin, 'AuditService/Query', { tenant: 'globex' }, bearer(secrets.api)),
    ).toMatchObject({
      status: 401,
    });
  });

  test('a caller may do what its class may, and nothing else', async () => {
    expect(await check(server.data, aliceReads, bearer(secrets.agent))).toMatchObject({
      status: 403,
      body: { code: 'permission_denied' },
    });
    const refused = await exchange(exchangeFields('x'), { id: 'docs-api', secret: secrets.api });
    expect(refused).toMatchObject({ status: 403, body: { error: 'unauthorized_client' } });
    expect(
      await connect(server.admin, 'AuditService/Query', { tenant: 'acme' }, bearer(secrets.mcp)),
    ).toMatchObject({
      status: 403,
    });
  });

  test('without --dev no credential is unauthenticated', async () => {
    await using strict = await startServer({ overrides: { dev: false } });
    expect(await check(strict.data, aliceReads)).toMatchObject({ status: 401 });
    expect(await check(strict.data, aliceReads, bearer(secrets.api))).toMatchObject({ status: 200 });
    expect(
      (await postJson(`${strict.data}/t/acme/dev/token?user=alice&client=research-agent`, {})).status,
    ).toBe(404);
  });

  test('--dev serves loopback only', () => {
    for (const address of ['0.0.0.0:7400', '[::]:7400', '192.0.2.1:7400'])
      for (const plane of ['data', 'admin'])
        expect(() => readConfig({}, { dev: true, [plane]: address })).toThrow(/--dev serves loopback only/);
    expect(() => readConfig({}, { data: '0.0.0.0:7400' })).toThrow(/takes tls/);
  });

  test('under --dev the Host of a stranger is refused: a page that rebinds its name gets nothing', async () => {
    for (const host of [
      'evil.example',
      'evil.example:7400',
      'localhost.evil.example',
      '127.0.0.1.evil.example',
    ]) {
      for (const port of [server.mandate.dataPort, server.mandate.adminPort]) {
        const socket = net.connect(port, '127.0.0.1');
        socket.write(`GET /readyz HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
        let answer = '';
        for await (const chunk of socket) answer += String(chunk);
        expect(answer, host).toMatch(/^HTTP\/1\.1 421 /);
      }
      const over2 = await http2Request(server.data, { ':path': '/readyz', ':authority': host });
      expect(over2.status).toBe(421);
    }
  });
});
