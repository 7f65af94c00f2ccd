import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import https from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { agent, mcp } from '../delegation/stage.ts';
import { Authority } from '../e2e/authority.ts';
import { type Issuer, startIssuer, trustIn } from '../e2e/issuer.ts';
import { aliceReads, check, exchangeFields, form, request, tokenReads } from '../e2e/requests.ts';
import { bearer, eventually, type Running, secrets, startServer } from '../e2e/server.ts';
import { authorityOverrides, isReady, SIDECAR_SECRET, startSidecar } from './fleet.ts';

/** As in production: TLS between them, callers with credentials, a secret from a file. */

let folder: string;
let issuer: Issuer;
let authority: Running;
let sidecar: Running;
let secretFile: string;
let ca: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-fleet-tls-'));
  issuer = await startIssuer();
  const certifier = await Authority.create(folder, 'fleet');
  const pair = await certifier.issue('authority', { 'IP.1': '127.0.0.1', 'DNS.1': 'localhost' });
  ca = certifier.ca.cert;
  secretFile = path.join(folder, 'secret');
  await writeFile(secretFile, `${SIDECAR_SECRET}\n`, { mode: 0o600 });
  authority = await startServer({
    overrides: {
      ...authorityOverrides,
      // Issuers that tests start speak cleartext.
      dev: true,
      base_url: 'https://pdp.acme.test',
      tls: { cert: pair.cert, key: pair.key },
    },
    acme: (manifest) => {
      manifest.issuers = [trustIn(issuer.url)];
    },
  });
  sidecar = await startSidecar(
    secured(authority),
    {
      base_url: 'https://pdp.acme.test',
      dev: false,
      authority: { ...secured(authority), ca, secret_file: secretFile },
    },
    null,
  );
  await isReady(sidecar);
});

afterAll(async () => {
  await sidecar[Symbol.asyncDispose]();
  await authority[Symbol.asyncDispose]();
  await issuer[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

const secured = ({ data, admin }: Running) => ({
  data: data.replace('http:', 'https:'),
  admin: admin.replace('http:', 'https:'),
});

test('a sidecar follows and passes on over TLS, and its callers have credentials', async () => {
  expect((await check(sidecar.data, aliceReads)).status).toBe(401);
  expect((await check(sidecar.data, aliceReads, bearer(secrets.api))).body.decision).toBe('DECISION_ALLOW');
  const exchanged = await form(sidecar.data, 'token', exchangeFields(await issuer.sign()), agent);
  expect(exchanged.status, JSON.stringify(exchanged.body)).toBe(200);
  const asked = tokenReads(exchanged.body.access_token ?? '', '');
  expect((await check(sidecar.data, asked, bearer(mcp.secret))).body.decision).toBe('DECISION_ALLOW');
});

test('records are sent over TLS too, by whoever has the secret', async () => {
  const certifier = await readFile(ca);
  const asked = () =>
    new Promise<string>((resolve, reject) => {
      const url = new URL('/mandate.v1.AuditService/ListLogs', secured(authority).admin);
      const headers = { 'content-type': 'application/json', authorization: bearer(secrets.operator) };
      const call = https.request(url, { method: 'POST', ca: certifier, headers }, (response) => {
        response.setEncoding('utf8');
        let text = '';
        response.on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () => resolve(text));
      });
      call.on('error', reject);
      call.end('{"tenant":"acme"}');
    });
  await eventually(asked, (text) => text.includes('/t/acme/log/one+') && /"kept":"[1-9]/.test(text));
});

test('an authority that nobody trusts is not followed, and no secret is sent to it', async () => {
  const stranger = await startSidecar(
    secured(authority),
    {
      node: 'stranger',
      base_url: 'https://pdp.acme.test',
      authority: { ...secured(authority), secret_file: secretFile },
    },
    null,
  );
  await using _stranger = stranger;
  const told = await eventually(
    () => request<{ text: string }>(`${stranger.admin}/readyz?verbose`),
    ({ body }) => /certificate/.test(body.text),
  );
  expect(told.status).toBe(503);
  expect(told.body.text).not.toContain(SIDECAR_SECRET);
});
