import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Authority } from '../e2e/authority.ts';
import { type Running, startServer } from '../e2e/server.ts';
import { at, mandateProcess as mandate, type Ran } from './run.ts';

/** What a command says of a server that refuses, is another one, or is not there. */

let server: Running;
let secure: Running;
let folder: string;
let authority: Authority;
let dev: (...args: string[]) => Promise<Ran>;
beforeAll(async () => {
  server = await startServer();
  dev = at(server);
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-connection-'));
  authority = await Authority.create(folder, 'ours');
  const { cert, key } = await authority.issue('server', { 'IP.1': '127.0.0.1' });
  secure = await startServer({ overrides: { dev: false, tls: { cert, key } } });
});
afterAll(async () => {
  await Promise.all([server[Symbol.asyncDispose](), secure[Symbol.asyncDispose]()]);
  await rm(folder, { recursive: true, force: true });
});

const CHECK = ['check', '-t', 'acme', '-s', 'user:alice', '-a', 'document.read', '-r', 'document:roadmap'];
const TAIL = ['audit', 'tail', '-t', 'acme', '--from', '0'];
const DEV = ['token', 'dev', '-t', 'acme', '--user', 'alice', '--client', 'research-agent'];
const refusal = (stderr: string): Ran => ({ code: 2, stdout: '', stderr: `mandate: ${stderr}\n` });

describe('an error is one line: code and message,', () => {
  test("the server's own for a call and for a stream", async () => {
    const unknown = refusal('tenant_unknown: no such tenant');
    const [check, query, tail] = await Promise.all([
      dev('check', '-t', 'nosuch', ...CHECK.slice(3)),
      dev('audit', 'query', '-t', 'nosuch'),
      dev('audit', 'tail', '-t', 'nosuch'),
    ]);
    expect([check, query, tail]).toEqual([unknown, unknown, unknown]);
  });

  test('unavailable where nothing listens', async () => {
    const nowhere = 'http://127.0.0.1:1';
    const silent = refusal(`unavailable: nothing answers at ${nowhere}; is "mandate serve" running?`);
    const [check, tail] = await Promise.all([
      mandate(['--data', nowhere, ...CHECK]),
      mandate(['--admin', nowhere, ...TAIL]),
    ]);
    expect([check, tail]).toEqual([silent, silent]);
  });
});

describe('a wrong address is named with what to write instead:', () => {
  const both = (data: string, admin = data): Promise<Ran[]> =>
    Promise.all([mandate(['--data', data, ...CHECK]), mandate(['--admin', admin, ...TAIL])]);

  test('the planes are swapped', async () => {
    const [check, tail] = await both(server.admin, server.data);
    const swapped = (address: string): Ran =>
      refusal(`unimplemented: this service is not served at ${address}; are --data and --admin swapped?`);
    expect([check, tail]).toEqual([swapped(server.admin), swapped(server.data)]);
  });

  test('http to a server with TLS, https to one without', async () => {
    const { host } = new URL(secure.data);
    for (const { code, stderr } of await both(`http://${host}`)) {
      expect(stderr).toContain(`if it serves TLS, the address is https://${host}\n`);
      expect({ code, lines: stderr.split('\n').length }).toEqual({ code: 2, lines: 2 });
    }
    const plain = new URL(server.data).host;
    const cleartext = `unavailable: no TLS is spoken at https://${plain}; without it the address is http://${plain}`;
    for (const ran of await both(`https://${plain}`)) expect(ran).toEqual(refusal(cleartext));
  });

  test('a certificate that is not trusted; NODE_EXTRA_CA_CERTS is the way to trust it', async () => {
    const address = `https://${new URL(secure.data).host}`;
    for (const { code, stderr } of await both(address)) {
      expect(stderr).toMatch(/^mandate: unavailable: .*; set NODE_EXTRA_CA_CERTS=<ca file>\n$/);
      expect(code).toBe(2);
    }
    const trusted = await mandate(['--data', address, ...CHECK], { NODE_EXTRA_CA_CERTS: authority.ca.cert });
    expect(trusted.stderr).toMatch(/^mandate: unauthenticated: /);
  });

  test('no URL, from the option or the environment', async () => {
    for (const address of ['127.0.0.1:7400', 'localhost:7400', 'ftp://localhost', '']) {
      const [check, tail] = await both(address);
      const form = `is http://host:port or https://host:port, not "${address}"`;
      expect(check).toEqual(refusal(`invalid_request: --data (MANDATE_DATA_URL) ${form}`));
      expect(tail).toEqual(refusal(`invalid_request: --admin (MANDATE_ADMIN_URL) ${form}`));
    }
    const { code, stderr } = await mandate(CHECK, { MANDATE_DATA_URL: 'localhost:7400' });
    expect({ code, stderr }).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('MANDATE_DATA_URL') as string,
    });
  });

  test('a web server, a host that is not there', async () => {
    const web = http.createServer((_request, response) => response.end('hello')).listen(0, '127.0.0.1');
    await once(web, 'listening');
    const address = `http://127.0.0.1:${(web.address() as AddressInfo).port}`;
    for (const { stderr } of await both(address)) expect(stderr).toContain('it is not Mandate');
    web.close();
    for (const { stderr } of await both('http://nosuch.invalid'))
      expect(stderr).toContain('no host has the name');
  });
});

describe('a server that never answers', () => {
  let hole: net.Server;
  let address: string;
  const held: net.Socket[] = [];
  beforeAll(async () => {
    hole = net.createServer((socket) => void held.push(socket)).listen(0, '127.0.0.1');
    await once(hole, 'listening');
    address = `http://127.0.0.1:${(hole.address() as AddressInfo).port}`;
  });
  afterAll(() => void hole.close());

  test('is given up after --timeout seconds', async () => {
    const limited = ['--timeout', '1', '--data', address, '--admin', address];
    const late = refusal(
      `deadline_exceeded: ${address} gave no answer in time; --timeout <seconds> is how long to wait`,
    );
    const commands = [CHECK, ['tenant', 'list'], DEV];
    const ended: string[] = [];
    const patient = mandate(['--timeout', '60', '--data', address, ...CHECK]).then(() =>
      ended.push('patient'),
    );
    expect(await Promise.all(commands.map((command) => mandate([...limited, ...command])))).toEqual(
      commands.map(() => late),
    );
    expect(ended).toEqual([]);
    for (const each of held) each.destroy();
    await patient;
  });

  test('is given up after 10 seconds without it', async () => {
    const { code, stderr } = await mandate(['--data', address, ...CHECK]);
    expect({ code, stderr }).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('deadline_exceeded') as string,
    });
  });

  test('is a matter of seconds that are a number', async () => {
    for (const seconds of ['0', '-1', '1.5', 'soon'])
      expect(await mandate(['--timeout', seconds, '--data', address, ...CHECK])).toMatchObject({
        code: 2,
        stderr: expect.stringContaining('a whole number from 1 to 3600') as string,
      });
  });
});

describe('mandate token dev', () => {
  test('says that a server is not in --dev mode, and is explained like any other call', async () => {
    const trusting = { NODE_EXTRA_CA_CERTS: authority.ca.cert };
    const address = `https://${new URL(secure.data).host}`;
    const [production, nobody, untrusted, unknown] = await Promise.all([
      mandate(['--data', address, ...DEV], trusting),
      mandate(['--data', 'http://127.0.0.1:2', ...DEV]),
      mandate(['--data', address, ...DEV]),
      dev('token', 'dev', '-t', 'nosuch', ...DEV.slice(4)),
    ]);
    expect(production).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('not in --dev mode') as string,
    });
    expect(nobody).toEqual(
      refusal('unavailable: nothing answers at http://127.0.0.1:2; is "mandate serve" running?'),
    );
    expect(untrusted.stderr).toContain('NODE_EXTRA_CA_CERTS');
    expect(unknown).toEqual(refusal('tenant_unknown: no such tenant'));
  });
});
