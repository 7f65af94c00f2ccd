import { readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import { connectNodeAdapter, createGrpcTransport } from '@connectrpc/connect-node';
import { expect, test } from 'vitest';
import {
  FollowRequestSchema,
  type FollowResponse,
  FollowResponseSchema,
  SyncService,
} from '../../src/gen/mandate/v1/sync_pb.ts';
import { aliceReads, check, connect } from '../e2e/requests.ts';
import { startServer } from '../e2e/server.ts';
import { authorityOverrides, isReady, SIDECAR_SECRET, startSidecar } from './fleet.ts';

/**
 * What authorities of earlier versions told their sidecars, byte for byte: a sidecar of this one serves from it. So sidecars
 * are upgraded first. `RECORD=name` adds a recording of this version's own authority.
 */
const folder = path.join(import.meta.dirname, 'recorded');
const BASE = 'http://pdp.acme.test';

interface Recording {
  /** FollowResponse messages, base64: a copy of two tenants, then changes. */
  readonly messages: readonly string[];
}

const inBase64 = (message: FollowResponse): string =>
  Buffer.from(toBinary(FollowResponseSchema, message)).toString('base64');

async function record(name: string): Promise<void> {
  await using authority = await startServer({ overrides: { ...authorityOverrides, base_url: BASE } });
  const set = (id: string, status: string) =>
    connect(authority.admin, 'TenantService/SetPrincipalStatus', {
      tenant: 'acme',
      class: 'user',
      id,
      status: `PRINCIPAL_STATUS_${status}`,
    });
  await set('bob', 'DISABLED');
  const client = createClient(
    SyncService,
    createGrpcTransport({
      baseUrl: authority.admin,
      interceptors: [
        (next) => (request) => {
          request.header.set('authorization', `Bearer ${SIDECAR_SECRET}`);
          return next(request);
        },
      ],
    }),
  );
  const ended = new AbortController();
  const messages: FollowResponse[] = [];
  async function* requests() {
    yield create(FollowRequestSchema, { message: { case: 'following', value: {} } });
    await new Promise((resolve) => ended.signal.addEventListener('abort', resolve));
  }
  try {
    for await (const message of client.follow(requests(), { signal: ended.signal })) {
      if (message.event.case === 'heartbeat') continue;
      messages.push(message);
      const copies = messages.filter(({ event }) => event.case === 'copyEnded').length;
      const changes = messages.filter(({ event }) => event.case === 'change').length;
      if (copies === 2 && changes === 0 && message.event.case === 'copyEnded') {
        await set('alice', 'DISABLED');
        await set('alice', 'ACTIVE');
        await set('carol', 'DISABLED');
      }
      if (changes >= 3) ended.abort();
    }
  } catch (error) {
    if (!ended.signal.aborted) throw error;
  }
  const recording: Recording = { messages: messages.map(inBase64) };
  await writeFile(path.join(folder, `${name}.json`), `${JSON.stringify(recording, null, 1)}\n`);
}

/** An authority that says what was recorded, and answers pings. */
async function replaying({ messages }: Recording): Promise<AsyncDisposable & { url: string }> {
  const ended = new AbortController();
  const handler = connectNodeAdapter({
    routes: (router) =>
      router.service(SyncService, {
        async *follow(requests) {
          for (const message of messages)
            yield fromBinary(FollowResponseSchema, Buffer.from(message, 'base64'));
          for await (const { message } of requests)
            if (message.case === 'ping')
              yield create(FollowResponseSchema, {
                event: { case: 'heartbeat', value: { ping: message.value } },
              });
        },
      }),
    shutdownSignal: ended.signal,
  });
  const server = createServer(handler);
  const sessions = new Set<{ destroy(): void }>();
  server.on('session', (session) => sessions.add(session));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      ended.abort();
      for (const each of sessions) each.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

if (process.env['RECORD']) await record(process.env['RECORD']);

test.each(await readdir(folder))('a sidecar serves what was recorded as %s', async (name) => {
  const recording = JSON.parse(await readFile(path.join(folder, name), 'utf8')) as Recording;
  await using authority = await replaying(recording);
  await using sidecar = await startSidecar({ data: authority.url, admin: authority.url }, { base_url: BASE });
  await isReady(sidecar);
  const read = async (id: string) =>
    (await check(sidecar.data, { ...aliceReads, subject: { type: 'user', id } })).body;
  expect(await read('alice')).toMatchObject({ decision: 'DECISION_ALLOW' });
  // Disabled before the copy, and by a change after it.
  for (const id of ['bob', 'carol'])
    expect(await read(id)).toMatchObject({
      decision: 'DECISION_DENY',
      reasons: [{ code: 'principal_disabled' }],
    });
  const list = await fetch(`${sidecar.admin}/readyz?verbose`);
  expect(await list.text()).not.toContain('cannot be taken');
});

test.each([
  [null, true],
  ['high', false],
])('of a newer authority, a column with %s is taken: %s', async (cell, isTaken) => {
  const name = (await readdir(folder)).sort().at(-1) ?? '';
  const { messages } = JSON.parse(await readFile(path.join(folder, name), 'utf8')) as Recording;
  await using authority = await replaying({
    messages: messages.map((each) => inBase64(withColumn(each, cell))),
  });
  await using sidecar = await startSidecar({ data: authority.url, admin: authority.url }, { base_url: BASE });
  const said = async () => (await fetch(`${sidecar.admin}/readyz?verbose`)).text();
  if (isTaken) {
    await isReady(sidecar);
    expect(await said()).not.toContain('cannot be taken');
    return;
  }
  await expect.poll(said, { timeout: 30_000 }).toContain('the authority keeps principals.risk');
  expect((await check(sidecar.data, aliceReads)).body).not.toMatchObject({ decision: 'DECISION_ALLOW' });
});

test('of a newer authority, a change that is not known here stops its tenant alone, and is named', async () => {
  const name = (await readdir(folder)).sort().at(-1) ?? '';
  const { messages } = JSON.parse(await readFile(path.join(folder, name), 'utf8')) as Recording;
  await using authority = await replaying({ messages: messages.map((each) => inBase64(renamed(each))) });
  await using sidecar = await startSidecar({ data: authority.url, admin: authority.url }, { base_url: BASE });
  const said = async () => (await fetch(`${sidecar.admin}/readyz?verbose`)).text();
  await expect
    .poll(said, { timeout: 30_000 })
    .toContain('freezePrincipal is no change that this version knows');
  // It hears the authority, and serves the others.
  await isReady(sidecar);
  expect(await said()).not.toContain('nothing was heard of it');
  expect((await check(sidecar.data, aliceReads)).body).not.toMatchObject({ decision: 'DECISION_ALLOW' });
});

function renamed(message: string): FollowResponse {
  const response = fromBinary(FollowResponseSchema, Buffer.from(message, 'base64'));
  if (response.event.case === 'change') {
    response.event.value.name = 'freezePrincipal';
    response.event.value.chain = new Uint8Array();
  }
  return response;
}

function withColumn(message: string, cell: string | null): FollowResponse {
  const response = fromBinary(FollowResponseSchema, Buffer.from(message, 'base64'));
  const { event } = response;
  if (event.case !== 'copyPart' || event.value.table !== 'principals') return response;
  event.value.columns.push('risk');
  const rows = JSON.parse(Buffer.from(event.value.rows).toString()) as unknown[][];
  event.value.rows = Buffer.from(JSON.stringify(rows.map((row) => [...row, cell])));
  return response;
}
