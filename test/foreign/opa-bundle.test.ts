import { type ChildProcess, spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../../tools/fleet/ports.ts';
import { aliceReads, check } from '../e2e/requests.ts';
import { bearer, eventually, type Running, secrets, sha256, startServer } from '../e2e/server.ts';
import { bobReads, filesIn, policyOf, STRICTER } from '../policy/revisions/lab.ts';

/** OPA itself polls a tenant's policy, so that it decides beside Mandate during a migration. */

const SECRET = 'acme-opa-beside-test-secret-0000001';
let server: Running;
let opa: ChildProcess;
let address: string;

beforeAll(async () => {
  server = await startServer({
    overrides: { dev: false },
    acme: (manifest) =>
      manifest.principals.push({
        class: 'service',
        id: 'opa',
        may: ['policy.read'],
        credentials: [{ secret_sha256: sha256(SECRET) }],
      }),
  });
  address = `127.0.0.1:${await freePort()}`;
  const config = path.join(server.folder, 'opa.json');
  await writeFile(
    config,
    JSON.stringify({
      services: { mandate: { url: server.data, credentials: { bearer: { token: SECRET } } } },
      bundles: {
        acme: {
          service: 'mandate',
          resource: 't/acme/bundle.tar.gz',
          polling: { min_delay_seconds: 1, max_delay_seconds: 1 },
        },
      },
    }),
  );
  opa = spawn('bin/opa', ['run', '--server', '--addr', address, '-c', config], { stdio: 'ignore' });
});
afterAll(async () => {
  opa.kill('SIGKILL');
  await server[Symbol.asyncDispose]();
});

const inputOf = ({ subject, action, resource }: typeof aliceReads): object => ({
  now: '2026-01-02T00:00:00Z',
  tenant: { id: 'acme' },
  subject: { class: 'user', ...subject, properties: {}, groups: [], roles: ['reader'], status: 'active' },
  actors: [],
  action: { ...action, properties: {} },
  resource,
  context: {},
  grant: null,
});

const asked = (question: typeof aliceReads): Promise<unknown> =>
  fetch(`http://${address}/v1/data/mandate/decision`, {
    method: 'POST',
    body: JSON.stringify({ input: inputOf(question) }),
  }).then(
    async (answer) => ((await answer.json()) as { result?: unknown }).result,
    () => undefined,
  );

const get = (headers: Record<string, string>): Promise<Response> =>
  fetch(`${server.data}/t/acme/bundle.tar.gz`, { headers });

describe('a bundle for OPA', () => {
  test('is polled, and decides there as here; a revision that becomes active follows', async () => {
    const isDenied = (result: unknown): boolean => JSON.stringify(result ?? '').includes('office_closed');
    const before = await eventually(
      () => asked(bobReads),
      (result) => result !== undefined,
    );
    expect(isDenied(before)).toBe(false);
    const files = await filesIn(server.tenantFolder('acme'));
    await policyOf(server).push({ ...files, 'closed.rego': STRICTER }, { activate: true });
    expect((await check(server.data, bobReads, bearer(secrets.operator))).body.reasons).toContainEqual(
      expect.objectContaining({ code: 'office_closed' }),
    );
    await eventually(() => asked(bobReads), isDenied);
  });

  test('has the revision as its tag, and is not sent to who has it', async () => {
    const authorization = bearer(SECRET);
    const whole = await get({ authorization });
    const etag = whole.headers.get('etag') ?? '';
    expect(etag).toBe(`"${await policyOf(server).active()}"`);
    const bytes = Buffer.from(await whole.arrayBuffer());
    expect(bytes.subarray(0, 2)).toEqual(Buffer.from([0x1f, 0x8b]));
    for (const tag of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
      const same = await get({ authorization, 'if-none-match': tag });
      expect([same.status, (await same.arrayBuffer()).byteLength]).toEqual([304, 0]);
    }
    const again = await get({ authorization, 'if-none-match': '"other"' });
    expect(Buffer.from(await again.arrayBuffer())).toEqual(bytes);
  });

  test('is for who may read the policy alone', async () => {
    expect((await get({})).status).toBe(401);
    expect((await get({ authorization: bearer(secrets.api) })).status).toBe(403);
    const other = await fetch(`${server.data}/t/globex/bundle.tar.gz`, {
      headers: { authorization: bearer(SECRET) },
    });
    expect(other.status).toBe(401);
  });
});
