import { mkdtemp, readFile, rm } from 'node:fs/promises';
import http2 from 'node:http2';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import type { Overrides } from '../../src/config.ts';
import { Authority, type Pair } from '../e2e/authority.ts';
import { type Running, startServer, type TenantDocument } from '../e2e/server.ts';

/** deploy/istio.yaml: what a sidecar would ask by it, over mutual TLS with certificates like a mesh's. */

const file = path.resolve(import.meta.dirname, '../../deploy/istio.yaml');
const CHECK = '/envoy.service.auth.v3.Authorization/Check';
/** What Istio's clusters of HTTP/2 offer under ISTIO_MUTUAL. */
const ALPN = ['istio-peer-exchange', 'istio', 'h2'];

let folder: string;
let authority: Authority;
let server: Running;
let sidecar: Pair;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-istio-'));
  authority = await Authority.create(folder, 'mesh');
  const text = await readFile(file, 'utf8');
  const own = await authority.issue('mandate', {
    'URI.1': 'spiffe://cluster.local/ns/mandate-system/sa/mandate',
  });
  sidecar = await authority.issue('documents', {
    'URI.1': 'spiffe://cluster.local/ns/documents/sa/documents',
  });
  const { tls, ext_authz } = configIn(text);
  expect(Object.keys(tls ?? {})).toEqual(['cert', 'key', 'client_ca']);
  server = await startServer({
    overrides: { dev: false, ext_authz, tls: { cert: own.cert, key: own.key, client_ca: authority.ca.cert } },
    acme: ({ principals }) => void principals.push(...principalsIn(text)),
  });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** The mandate.yaml of the ConfigMap. */
function configIn(text: string): Overrides {
  const objects = parseAllDocuments(text).map((each) => each.toJS() as { kind: string; data?: object });
  const { data } = objects.find(({ kind }) => kind === 'ConfigMap') ?? {};
  return parse((data as Record<string, string>)['mandate.yaml'] ?? '') as Overrides;
}

/** What the comment at the head of the file puts into tenant.yaml. */
function principalsIn(text: string): TenantDocument['principals'] {
  const [, block = ''] = /^# {3}principals:\n((?:# {5}.*\n)+)/m.exec(text) ?? [];
  return parse(block.replaceAll(/^# {5}/gm, '')) as TenantDocument['principals'];
}

interface Answer {
  readonly okResponse?: object;
  readonly deniedResponse?: { readonly status: { readonly code: number } };
  readonly message?: string;
}

function asked(tenant: string, source: string, { pem }: Pair = sidecar): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const session = http2.connect(`https://127.0.0.1:${server.mandate.dataPort}`, {
    ...pem,
    ca: authority.ca.pem.cert,
    ALPNProtocols: ALPN,
    // As Envoy under ISTIO_MUTUAL: the names in the certificate are SPIFFE ids, and matched as such.
    checkServerIdentity: () => undefined,
  });
  session.on('error', reject);
  const stream = session.request({ ':path': CHECK, ':method': 'POST', 'content-type': 'application/json' });
  stream.on('error', reject);
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.on('end', () => {
    session.close();
    resolve(JSON.parse(Buffer.concat(chunks).toString()) as Answer);
  });
  const http = { method: 'GET', path: '/d/1', host: 'documents', headers: { 'x-mandate-tenant': tenant } };
  stream.end(JSON.stringify({ attributes: { request: { http }, source: { principal: source } } }));
  return promise;
}

const FRONTEND = 'spiffe://cluster.local/ns/frontend/sa/frontend';

describe('deploy/istio.yaml', () => {
  test('the sidecar is known by its certificate, and the workload that called by its SPIFFE id', async () => {
    // No rule of the example's allows http.get: the policy was asked, and denied.
    expect((await asked('acme', FRONTEND)).deniedResponse?.status.code).toBe(403);
    expect((await asked('acme', 'spiffe://cluster.local/ns/other/sa/x')).deniedResponse?.status.code).toBe(
      401,
    );
  });

  test('a tenant that does not name the sidecar refuses it', async () => {
    expect((await asked('globex', FRONTEND)).message).toContain('unauthenticated');
  });

  test('a workload that is only a subject may not ask', async () => {
    const frontend = await authority.issue('frontend', { 'URI.1': FRONTEND });
    expect((await asked('acme', FRONTEND, frontend)).message).toContain('permission_denied');
  });
});
