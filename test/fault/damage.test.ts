import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { failure, Grpc } from '../e2e/grpc.ts';
import { aliceReads, check, connect, request } from '../e2e/requests.ts';
import { bearer, type Running, secrets, startIn, writeTenants } from '../e2e/server.ts';
import { ruinPagesWith } from './damage.ts';
import { serveProcess } from './process.ts';

/** A store with pages that cannot be read: what needs them is an error, the server says so, and lives. */

let folder: string;
const store = (): string => path.join(folder, 'data');

/** A principal whose page holds nobody that the server needs to start. */
const lonely = (serial: number) => ({
  class: 'user',
  id: `zz-lonely-${serial}`,
  properties: { padding: `mark-${serial}-${'x'.repeat(1_500)}` },
});
const lonelyReads = { ...aliceReads, subject: { type: 'user', id: 'zz-lonely-30' } };

async function put(server: Running): Promise<void> {
  const principals = Array.from({ length: 40 }, (_, serial) => lonely(serial));
  const { status } = await connect(server.admin, 'TenantService/PutPrincipals', {
    tenant: 'acme',
    principals,
  });
  expect(status).toBe(200);
}

const readyz = async (base: string): Promise<{ status: number; text: string }> => {
  const { status, body } = await request<{ text: string }>(`${base}/readyz?verbose`);
  return { status, text: body.text };
};

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-damage-'));
  await writeTenants(folder);
  const server = await startIn(folder);
  await put(server);
  expect((await check(server.data, aliceReads)).status).toBe(200);
  await server.stop();
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('a page of principals', () => {
  test('main answers unavailable for whom it holds, and others as before; it is not ready, by name', async () => {
    expect(ruinPagesWith(store(), 'mark-30-')).toBeGreaterThan(0);
    await using server = await startIn(folder);
    expect((await readyz(server.data)).status).toBe(200);
    const refused = await check(server.data, lonelyReads);
    expect(refused).toMatchObject({ status: 503, body: { code: 'unavailable' } });
    expect(JSON.stringify(refused.body)).not.toContain('SQLITE');
    expect((await check(server.data, aliceReads)).status).toBe(200);
    expect(await readyz(server.data)).toEqual({
      status: 503,
      text: expect.stringMatching(/^not ready\nstore: it is damaged: .*malformed \(SQLITE_CORRUPT/) as string,
    });
    expect((await request(`${server.data}/livez`)).status).toBe(200);
  });

  test('so does a decision thread, and main hears of it', async () => {
    expect(ruinPagesWith(store(), 'mark-30-')).toBeGreaterThan(0);
    await using server = await startIn(folder);
    using pep = new Grpc(server.data, secrets.api);
    const { context: _, ...asked } = lonelyReads as typeof lonelyReads & { context?: unknown };
    for (let turn = 0; turn < 400 && server.mandate.services.offload?.ready !== 1; turn += 1) {
      await pep.checkByStream({ ...asked, subject: aliceReads.subject });
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(server.mandate.services.offload?.ready).toBe(1);
    expect((await failure(pep.checkByStream(asked))).code).toBe('unavailable');
    expect((await readyz(server.data)).text).toContain('store: it is damaged');
    expect(server.mandate.services.offload?.ready).toBe(1);
  });
});

test('a page of tenants: the server starts, serves none it cannot tell, and says why', async () => {
  expect(ruinPagesWith(store(), 'globex')).toBeGreaterThan(0);
  await using server = await startIn(folder);
  const { status, text } = await readyz(server.admin);
  expect(status).toBe(503);
  expect(text).toContain('store: it is damaged');
  expect(text).toMatch(/the tenant in .*globex is not served/);
  expect((await check(server.data, aliceReads, bearer(secrets.api))).status).not.toBe(200);
});

test('the last page of a log: nothing is appended after what cannot be read, and nothing answered', async () => {
  expect(ruinPagesWith(store(), '"kind":"decision"')).toBeGreaterThan(0);
  await using server = await startIn(folder);
  expect(await check(server.data, aliceReads)).toMatchObject({ status: 503, body: { code: 'unavailable' } });
  expect((await readyz(server.data)).text).toContain('store: it is damaged');
});

test('a process with damage neither ends nor comes back by starting again', async () => {
  ruinPagesWith(store(), 'mark-30-');
  for (let start = 0; start < 2; start += 1) {
    await using server = await serveProcess({ folder });
    for (let turn = 0; turn < 10; turn += 1) await check(server.data, lonelyReads);
    expect((await readyz(server.data)).text).toContain('store: it is damaged');
    expect(await server.end('SIGTERM')).toEqual({ code: 0, signal: null });
  }
});
