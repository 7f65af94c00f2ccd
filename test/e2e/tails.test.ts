import { rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Grpc } from './grpc.ts';
import { type Issuer, startIssuer, trustIn } from './issuer.ts';
import { aliceReads, check, connect } from './requests.ts';
import { bearer, editTenant, type Running, secrets, sha256, startServer } from './server.ts';

/** Whoever follows a log is one who may read it, for as long as it is followed. */

const SECRET = 'acme-auditor-test-secret-000000001';

let server: Running;
let issuer: Issuer;
let ahead = 0;
beforeEach(async () => {
  ahead = 0;
  issuer = await startIssuer();
  server = await startServer({
    clock: () => Date.now() + ahead,
    acme: (manifest) => {
      manifest.issuers = [{ ...trustIn(issuer.url), subject_class: 'service' }];
      const credentials = [{ secret_sha256: sha256(SECRET) }];
      manifest.principals.push({ class: 'service', id: 'auditor', may: ['audit.read'], credentials });
    },
  });
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await issuer[Symbol.asyncDispose]();
});

const reload = () => connect(server.admin, 'PolicyService/ReloadPolicy', { tenant: 'acme' });
const auditor = (change: object) =>
  editTenant(server.tenantFolder('acme'), ({ principals }) => {
    Object.assign(principals.find(({ id }) => id === 'auditor') ?? {}, change);
  }).then(reload);

const ends: Readonly<Record<string, () => Promise<unknown>>> = {
  'whose principal is disabled': () =>
    connect(server.admin, 'TenantService/SetPrincipalStatus', {
      tenant: 'acme',
      class: 'service',
      id: 'auditor',
      status: 'PRINCIPAL_STATUS_DISABLED',
    }),
  'whose credential is taken away': () => auditor({ credentials: [] }),
  'whose right is taken away': () => auditor({ may: ['check'] }),
  'whose token has expired': async () => {
    ahead = 7_200_000;
  },
  'whose issuer is killed': () =>
    connect(server.admin, 'KillService/Kill', { tenant: 'acme', issuer: issuer.url }),
};

/** Follows the log from its first record; answers what was seen after that happened. */
async function followed(credential: string, happens: () => Promise<unknown>): Promise<string[]> {
  await check(server.data, aliceReads, bearer(secrets.api));
  using reader = new Grpc(server.admin, credential);
  const stream = reader.stream('AuditService', 'Tail', { tenant: 'acme', from_index: 0 });
  const seen: string[] = [];
  let hasHappened = false;
  try {
    for await (const message of stream as AsyncIterable<{ record: { kind: string } }>) {
      const isDecision = message.record.kind === 'decision';
      if (hasHappened) seen.push(message.record.kind);
      if (hasHappened && isDecision) break;
      if (hasHappened || !isDecision) continue;
      await happens();
      hasHappened = true;
      await check(server.data, aliceReads, bearer(secrets.api));
    }
  } catch {
    return seen;
  }
  return seen;
}

test.each(Object.keys(ends))('a reader %s sees nothing more of the log', async (name) => {
  const isToken = name.includes('token') || name.includes('issuer');
  const token = await issuer.sign({ sub: 'auditor', client_id: 'auditor' });
  const seen = await followed(isToken ? token : SECRET, ends[name] as () => Promise<unknown>);
  expect(seen).not.toContain('decision');
});

test('a tenant that goes is followed no more', async () => {
  using reader = new Grpc(server.admin, secrets.operator);
  const gone = path.join(server.folder, 'gone');
  const stream = reader.stream('AuditService', 'Tail', { tenant: 'acme', from_index: 0 });
  const end = Promise.withResolvers<string>();
  stream.on('error', (error) => end.resolve(error.message)).on('end', () => end.resolve('ended'));
  stream.on('data', () => undefined);
  await rename(server.tenantFolder('acme'), gone);
  expect(await end.promise).toContain('no such tenant');
  await rm(gone, { recursive: true });
});
