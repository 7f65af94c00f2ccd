import { link, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Grpc } from './grpc.ts';
import { aliceReads } from './requests.ts';
import { bearer, secrets, startServer } from './server.ts';

/** The data plane on a Unix domain socket: node:http and grpc-js as clients. */

let folder: string;
let socket: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-socket-'));
  socket = path.join(folder, 'mandate.sock');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const start = (mode?: string, dev = false) =>
  startServer({ overrides: { dev, socket: { path: socket, ...(mode === undefined ? {} : { mode }) } } });

/** Check over the socket; the status and the decision. */
const check = (secret?: string): Promise<{ status: number; decision: unknown }> =>
  new Promise((resolve, reject) => {
    const headers = {
      'content-type': 'application/json',
      ...(secret === undefined ? {} : { authorization: bearer(secret) }),
    };
    const target = { socketPath: socket, path: '/mandate.v1.DecisionService/Check', method: 'POST' };
    const request = http.request({ ...target, headers, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('end', () => {
        const { decision } = JSON.parse(text) as { decision?: unknown };
        resolve({ status: response.statusCode ?? 0, decision });
      });
    });
    request.on('error', reject);
    request.end(JSON.stringify(aliceReads));
  });

const permissions = async (file: string): Promise<string> => ((await stat(file)).mode & 0o777).toString(8);

/** A socket file that nobody listens on, as a process leaves it that was killed. */
async function leaveStale(file: string): Promise<void> {
  const bound = path.join(folder, 'bound.sock');
  const server = net.createServer();
  await new Promise<void>((resolve) => {
    server.listen(bound, resolve);
  });
  // Closing removes the name it was bound to, not the second one.
  await link(bound, file);
  await new Promise((resolve) => {
    server.close(resolve);
  });
  expect((await stat(file)).isSocket()).toBe(true);
}

describe('the Unix domain socket', () => {
  test('serves HTTP/1.1 and gRPC beside the port, to callers with a credential', async () => {
    await using server = await start();
    expect(await check(secrets.api)).toEqual({ status: 200, decision: 'DECISION_ALLOW' });
    expect(await check('wrong')).toMatchObject({ status: 401 });
    expect(await check()).toMatchObject({ status: 401 });
    using pep = new Grpc(`unix:${socket}`, secrets.api);
    const { tenant, subject, action, resource } = aliceReads;
    const answer = await pep.call('DecisionService', 'Check', {
      tenant,
      subject,
      action,
      resource: { type: resource.type, id: resource.id },
    });
    expect(answer).toMatchObject({ decision: 'DECISION_DENY' });
    expect((await fetch(`${server.data}/livez`)).status).toBe(200);
  });

  test('is this machine: under --dev no credential is asked for', async () => {
    await using _server = await start(undefined, true);
    expect(await check()).toEqual({ status: 200, decision: 'DECISION_ALLOW' });
  });

  test('has the mode of the configuration, 660 if it names none', async () => {
    for (const [mode, expected] of [
      [undefined, '660'],
      ['600', '600'],
      ['0666', '666'],
    ] as const) {
      await using _server = await start(mode);
      expect(await permissions(socket)).toBe(expected);
    }
  });

  test('is gone when the server is', async () => {
    const server = await start();
    await server[Symbol.asyncDispose]();
    await expect(stat(socket)).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(check(secrets.api)).rejects.toThrow();
  });

  test('a socket file that a dead process left is replaced', async () => {
    await leaveStale(socket);
    await using _server = await start();
    expect(await check(secrets.api)).toMatchObject({ status: 200 });
  });

  test('any other file in its place is left alone, and stops the start', async () => {
    await writeFile(socket, 'somebody needs this');
    await expect(start()).rejects.toMatchObject({ code: 'config_invalid' });
    expect(await readFile(socket, 'utf8')).toBe('somebody needs this');
  });

  test('the socket of a server that runs is not taken from it', async () => {
    await using _server = await start();
    await expect(start()).rejects.toMatchObject({ code: 'config_invalid' });
    expect(await check(secrets.api)).toMatchObject({ status: 200 });
  });
});
