import { subscribe } from 'node:diagnostics_channel';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import http2 from 'node:http2';
import https from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import { credentials } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { Authority, type Pair } from './authority.ts';
import { failure, Grpc } from './grpc.ts';
import { aliceReads } from './requests.ts';
import { bearer, eventually, type Running, secrets, startServer } from './server.ts';

/** TLS and mutual TLS on the one port: node:https, node:http2, node:tls and grpc-js as clients. */

const SPIFFE = 'spiffe://acme.example/ns/docs/sa/docs-api';
const OTHER = 'spiffe://acme.example/ns/docs/sa/other';
const CHECK = '/mandate.v1.DecisionService/Check';

let folder: string;
let authority: Authority;
let stranger: Authority;
let client: Pair;
let server: Running;
/** The files the server reads, replaced in a test. */
let served: { cert: string; key: string };

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-tls-'));
  [authority, stranger] = await Promise.all([
    Authority.create(folder, 'ours'),
    Authority.create(folder, 'theirs'),
  ]);
  const first = await authority.issue('server', { 'IP.1': '127.0.0.1', 'DNS.1': 'localhost' });
  client = await authority.issue('client', { 'URI.1': SPIFFE });
  served = { cert: path.join(folder, 'served.crt'), key: path.join(folder, 'served.key') };
  await copyFile(first.cert, served.cert);
  await copyFile(first.key, served.key);
  server = await startServer({
    overrides: { dev: false, tls: { ...served, client_ca: authority.ca.cert } },
    acme: ({ principals }) => {
      const api = principals.find(({ id }) => id === 'docs-api');
      api?.credentials?.push({ spiffe_id: SPIFFE });
    },
  });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

type Presented = { readonly cert: string; readonly key: string } | undefined;

interface Answer {
  readonly status: number;
  readonly version: string;
  readonly text: string;
}

const headersOf = (secret?: string): Record<string, string> => ({
  'content-type': 'application/json',
  ...(secret === undefined ? {} : { authorization: bearer(secret) }),
});

/** Check on a connection of its own, over HTTP/1.1. */
const over1 = (presented: Presented, secret?: string, body: object = aliceReads): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const options = { ca: authority.ca.pem.cert, ...presented, agent: false, method: 'POST', path: CHECK };
    const address = { host: '127.0.0.1', port: server.mandate.dataPort, headers: headersOf(secret) };
    const request = https.request({ ...options, ...address }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, version: response.httpVersion, text });
      });
    });
    request.on('error', reject);
    request.end(JSON.stringify(body));
  });

/** The same over HTTP/2. */
const over2 = (presented: Presented, secret?: string): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const url = `https://127.0.0.1:${server.mandate.dataPort}`;
    const session = http2.connect(url, { ca: authority.ca.pem.cert, ...presented });
    session.on('error', reject);
    const stream = session.request({ ':method': 'POST', ':path': CHECK, ...headersOf(secret) });
    let [status, text] = [0, ''];
    stream.on('response', (headers) => (status = headers[':status'] ?? 0));
    stream.setEncoding('utf8');
    stream.on('data', (chunk: string) => (text += chunk));
    stream.on('error', reject);
    stream.on('end', () => {
      session.close();
      if (status === 0) reject(new Error('the stream ended without an answer'));
      resolve({ status, version: session.alpnProtocol ?? '', text });
    });
    stream.end(JSON.stringify(aliceReads));
  });

const grpc = (presented: Presented, secret?: string): Grpc => {
  const root = Buffer.from(authority.ca.pem.cert);
  const [key, cert] = [presented?.key, presented?.cert].map((pem) => (pem ? Buffer.from(pem) : null));
  const channel = credentials.createSsl(root, key, cert);
  return new Grpc(`127.0.0.1:${server.mandate.dataPort}`, secret, channel);
};

/** The subject of the certificate that a new connection is shown. */
const shown = (): Promise<string> =>
  new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port: server.mandate.dataPort, ca: authority.ca.pem.cert };
    const socket = tls.connect(options, () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
    socket.on('error', reject);
  });

describe('TLS on the one port', () => {
  test('serves HTTP/1.1 and HTTP/2, as ALPN chooses', async () => {
    const first = await over1(undefined, secrets.api);
    expect(first).toMatchObject({ status: 200, version: '1.1' });
    expect(JSON.parse(first.text)).toMatchObject({ decision: 'DECISION_ALLOW' });
    const second = await over2(undefined, secrets.api);
    expect(second).toMatchObject({ status: 200, version: 'h2' });
    expect(JSON.parse(second.text)).toMatchObject({ decision: 'DECISION_ALLOW' });
  });

  test('serves gRPC', async () => {
    using pep = grpc(undefined, secrets.api);
    expect(await pep.call('DecisionService', 'Check', grpcReads)).toMatchObject({
      decision: 'DECISION_DENY',
    });
  });

  test('serves no cleartext', async () => {
    await expect(fetch(`http://127.0.0.1:${server.mandate.dataPort}/livez`)).rejects.toThrow();
  });

  test('speaks nothing older than TLS 1.2', async () => {
    const options = { host: '127.0.0.1', port: server.mandate.dataPort, ca: authority.ca.pem.cert };
    const old = new Promise((_resolve, reject) => {
      tls.connect({ ...options, minVersion: 'TLSv1', maxVersion: 'TLSv1.1' }).on('error', reject);
    });
    await expect(old).rejects.toThrow();
  });

  test('is in the addresses that the server tells of itself', () => {
    expect(server.mandate.services.issuerOf('acme')).toBe(
      `https://127.0.0.1:${server.mandate.dataPort}/t/acme`,
    );
  });

  test('beyond loopback nothing starts without it', () => {
    const files = { cert: served.cert, key: served.key };
    for (const plane of ['data', 'admin'])
      for (const address of ['0.0.0.0:7400', '[::]:7400', '192.0.2.1:7400']) {
        expect(() => readConfig({}, { [plane]: address })).toThrow(/beyond loopback and takes tls/);
        expect(readConfig({}, { [plane]: address, tls: files }).tls).toEqual(files);
      }
  });

  test('files that are not there stop the start, not the first connection', async () => {
    const missing = { cert: path.join(folder, 'none.crt'), key: served.key };
    await expect(startServer({ overrides: { tls: missing } })).rejects.toMatchObject({
      code: 'config_invalid',
    });
  });
});

describe('mutual TLS', () => {
  test('knows a caller by its SPIFFE id, over HTTP/1.1, HTTP/2 and gRPC', async () => {
    expect(await over1(client.pem)).toMatchObject({ status: 200, version: '1.1' });
    expect(await over2(client.pem)).toMatchObject({ status: 200, version: 'h2' });
    using pep = grpc(client.pem);
    const answer = await pep.call<{ decision_id: string }>('DecisionService', 'Check', grpcReads);
    expect(answer.decision_id).not.toBe('');
  });

  test('binds the SPIFFE id to the tenants that name it', async () => {
    expect(await over1(client.pem, undefined, { ...aliceReads, tenant: 'globex' })).toMatchObject({
      status: 401,
    });
  });

  test('a certificate of nobody is no caller', async () => {
    const unknown = await authority.issue('unknown', { 'URI.1': OTHER });
    const names = await authority.issue('named', { 'DNS.1': 'docs-api.acme.example' });
    for (const presented of [unknown, names])
      expect(await over1(presented.pem)).toMatchObject({ status: 401 });
  });

  test('X509-SVID 5.2: a certificate with two URIs is no caller', async () => {
    const two = await authority.issue('two', { 'URI.1': SPIFFE, 'URI.2': OTHER });
    const other = await authority.issue('other-scheme', {
      'URI.1': SPIFFE,
      'URI.2': 'https://acme.example/x',
    });
    for (const presented of [two, other]) {
      expect(await over1(presented.pem)).toMatchObject({ status: 401 });
      using pep = grpc(presented.pem);
      expect(await failure(pep.call('DecisionService', 'Check', grpcReads))).toMatchObject({
        code: 'unauthenticated',
      });
    }
  });

  test('a name of another kind that holds the SPIFFE id is no SPIFFE id', async () => {
    const disguises = [`x, URI:${SPIFFE}`, `x, URI:${SPIFFE}, y`, `URI:${SPIFFE}`];
    for (const [at, name] of disguises.entries()) {
      const disguised = await authority.issue(`disguised-${at}`, { 'DNS.1': name });
      expect(await over1(disguised.pem), name).toMatchObject({ status: 401 });
    }
  });

  test('a certificate of another authority is turned away, whatever else is presented', async () => {
    const forged = await stranger.issue('forged', { 'URI.1': SPIFFE });
    await expect(over1(forged.pem)).rejects.toThrow();
    await expect(over1(forged.pem, secrets.api)).rejects.toThrow();
    await expect(over2(forged.pem)).rejects.toThrow();
    using pep = grpc(forged.pem, secrets.api);
    expect(await failure(pep.call('DecisionService', 'Check', grpcReads))).toMatchObject({ status: 14 });
  });

  test('without a certificate a bearer is enough, and nothing is not', async () => {
    expect(await over1(undefined, secrets.api)).toMatchObject({ status: 200 });
    expect(await over1(undefined)).toMatchObject({ status: 401 });
  });

  test('a wrong bearer is not mended by a good certificate', async () => {
    expect(await over1(client.pem, 'wrong')).toMatchObject({ status: 401 });
  });
});

describe('renewed certificates', () => {
  test('are shown to new connections without a restart; a pair that does not fit leaves the old one', async () => {
    expect(await shown()).toBe('server');
    const renewed = await authority.issue('renewed', { 'IP.1': '127.0.0.1' });
    const refused = new Promise<void>((resolve) => {
      subscribe('mandate:error', (message) => {
        if ((message as { where: string }).where === 'tls') resolve();
      });
    });
    await copyFile(renewed.cert, served.cert);
    await refused;
    expect(await shown()).toBe('server');
    await copyFile(renewed.key, served.key);
    await eventually(shown, (name) => name === 'renewed');
    expect(await over1(client.pem)).toMatchObject({ status: 200 });
    expect(await over2(undefined, secrets.api)).toMatchObject({ status: 200 });
  });
});

const grpcReads = {
  tenant: 'acme',
  subject: { type: 'user', id: 'alice' },
  action: { name: 'document.read' },
  resource: { type: 'document', id: 'roadmap' },
};
