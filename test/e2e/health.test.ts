import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { status } from '@grpc/grpc-js';
import { loadFileDescriptorSetFromBuffer } from '@grpc/proto-loader';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Places } from '../../src/server/intake/places.ts';
import { Uploads } from '../../src/server/intake/uploads.ts';
import { adminPlane } from '../../src/server/planes.ts';
import { Http1Exchange } from '../../src/server/transport/http1.ts';
import { failure, Grpc } from './grpc.ts';
import { request } from './requests.ts';
import { type Running, secrets, startServer } from './server.ts';

/** gRPC health checking and server reflection with grpc-js and the public proto files; liveness and readiness. */

let server: Running;
beforeAll(async () => {
  server = await startServer({ overrides: { dev: false } });
});
afterAll(() => server[Symbol.asyncDispose]());

const HEALTH = 'grpc.health.v1.Health';
const REFLECTION = 'grpc.reflection.v1.ServerReflection';
const onData = [
  'mandate.v1.DecisionService',
  'mandate.v1.DelegationService',
  'mandate.v1.GrantService',
  'envoy.service.auth.v3.Authorization',
];
const onAdmin = [
  'mandate.v1.PolicyService',
  'mandate.v1.SyncService',
  'mandate.v1.LeaseService',
  'mandate.v1.TenantService',
  'mandate.v1.KillService',
  'mandate.v1.ApprovalService',
  'mandate.v1.KeyService',
  'mandate.v1.AuditService',
];

interface Status {
  status: string;
}

/** `begun` with the first message, `ended` with all of them. */
function watch(client: Grpc): { begun: Promise<void>; ended: Promise<string[]> } {
  const { promise, resolve } = Promise.withResolvers<void>();
  const all = async (): Promise<string[]> => {
    const seen: string[] = [];
    for await (const message of client.stream(HEALTH, 'Watch', {}) as AsyncIterable<Status>) {
      seen.push(message.status);
      resolve();
    }
    return seen;
  };
  return { begun: promise, ended: all() };
}

describe('gRPC health', () => {
  test('Check: the server and each service of the plane serve, without a credential', async () => {
    for (const [url, own, other] of [
      [server.data, onData, onAdmin],
      [server.admin, onAdmin, onData],
    ] as const) {
      using client = new Grpc(url);
      for (const service of ['', ...own])
        expect(await client.call<Status>(HEALTH, 'Check', { service }), service).toEqual({
          status: 'SERVING',
        });
      for (const service of [...other, 'mandate.v1.Nothing'])
        expect(await failure(client.call(HEALTH, 'Check', { service })), service).toEqual({
          status: status.NOT_FOUND,
          code: 'not_found',
        });
    }
  });

  test('Watch: tells at once, of a service that is not known too, and goes on', async () => {
    using client = new Grpc(server.data);
    for (const [service, expected] of [
      ['', 'SERVING'],
      ['mandate.v1.DecisionService', 'SERVING'],
      ['mandate.v1.Nothing', 'SERVICE_UNKNOWN'],
    ]) {
      const stream = client.stream(HEALTH, 'Watch', { service });
      for await (const message of stream as AsyncIterable<Status>) {
        expect(message, service).toEqual({ status: expected });
        break;
      }
    }
  });

  test('Watch: says NOT_SERVING when the server stops, and ends; the stop does not wait for it', async () => {
    // So long a drain would be noticed.
    await using stopping = await startServer({ overrides: { dev: false, drain_seconds: 300 } });
    const clients = [new Grpc(stopping.data), new Grpc(stopping.admin)];
    const watches = clients.map(watch);
    await Promise.all(watches.map(({ begun }) => begun));
    await stopping.stop();
    for (const { ended } of watches) expect(await ended).toEqual(['SERVING', 'NOT_SERVING']);
    const [client] = clients;
    expect(await failure(client?.call(HEALTH, 'Check', {}) ?? Promise.resolve())).toMatchObject({
      status: status.UNAVAILABLE,
    });
    for (const each of clients) each[Symbol.dispose]();
  });
});

interface Reflected {
  message_response: string;
  list_services_response?: { service: { name: string }[] };
  file_descriptor_response?: { file_descriptor_proto: Buffer[] };
  error_response?: { error_code: number; error_message: string };
}

/** Asks all on one stream, in order. */
async function reflect(url: string, ...questions: object[]): Promise<Reflected[]> {
  using client = new Grpc(url);
  const stream = client.duplex(REFLECTION, 'ServerReflectionInfo');
  for (const question of questions) stream.write(question);
  stream.end();
  const answers: Reflected[] = [];
  for await (const answer of stream as unknown as AsyncIterable<Reflected>) answers.push(answer);
  return answers;
}

const varint = (value: number): number[] =>
  value < 128 ? [value] : [(value % 128) + 128, ...varint(value >> 7)];

/** google.protobuf.FileDescriptorSet { repeated FileDescriptorProto file = 1; } */
const descriptorSet = (files: readonly Buffer[]): Buffer =>
  Buffer.concat(files.flatMap((file) => [Buffer.from([0x0a, ...varint(file.length)]), file]));

describe('gRPC server reflection v1', () => {
  test('lists what each plane serves', async () => {
    for (const [url, own] of [
      [server.data, onData],
      [server.admin, onAdmin],
    ] as const) {
      const [answer] = await reflect(url, { list_services: '*' });
      expect(answer?.list_services_response?.service.map(({ name }) => name).toSorted()).toEqual(
        [...own, HEALTH, REFLECTION].toSorted(),
      );
    }
  });

  test('describes a service whole: a client can be made of it that knows no proto file', async () => {
    const questions = [
      { file_containing_symbol: 'mandate.v1.DecisionService' },
      { file_containing_symbol: 'mandate.v1.DecisionService.Check' },
      { file_containing_symbol: 'mandate.v1.CheckRequest' },
      { file_by_filename: 'mandate/v1/decision.proto' },
    ];
    const answers = await reflect(server.data, ...questions);
    expect(answers.map((each) => each.message_response)).toEqual(
      questions.map(() => 'file_descriptor_response'),
    );
    for (const { file_descriptor_response: described } of answers) {
      const files = described?.file_descriptor_proto ?? [];
      const definitions = loadFileDescriptorSetFromBuffer(descriptorSet(files));
      expect(Object.keys(definitions)).toContain('mandate.v1.DecisionService');
      const service = definitions['mandate.v1.DecisionService'] as unknown as Record<
        string,
        { path: string }
      >;
      expect(Object.values(service).map(({ path }) => path)).toEqual([
        '/mandate.v1.DecisionService/Check',
        '/mandate.v1.DecisionService/CheckBatch',
        '/mandate.v1.DecisionService/CheckStream',
        '/mandate.v1.DecisionService/Plan',
      ]);
    }
  });

  test('describes every service it lists', async () => {
    for (const [url, own] of [
      [server.data, onData],
      [server.admin, onAdmin],
    ] as const) {
      const names = [...own, HEALTH, REFLECTION];
      const answers = await reflect(url, ...names.map((name) => ({ file_containing_symbol: name })));
      for (const [at, { file_descriptor_response: described }] of answers.entries()) {
        const set = descriptorSet(described?.file_descriptor_proto ?? []);
        expect(Object.keys(loadFileDescriptorSetFromBuffer(set))).toContain(names[at]);
      }
    }
  });

  test('answers what it does not know in the stream, which goes on', async () => {
    const answers = await reflect(
      server.data,
      { file_containing_symbol: 'mandate.v1.Nothing' },
      { file_by_filename: '../../etc/passwd' },
      { file_by_filename: 'mandate/v1/audit.proto' },
      { file_containing_extension: { containing_type: 'mandate.v1.CheckRequest', extension_number: 1 } },
      { list_services: '' },
    );
    expect(answers.map(({ error_response: error }) => error?.error_code)).toEqual([
      status.NOT_FOUND,
      status.NOT_FOUND,
      status.NOT_FOUND,
      status.UNIMPLEMENTED,
      undefined,
    ]);
  });
});

describe('/livez and /readyz', () => {
  test('answer on both planes without a credential', async () => {
    for (const url of [server.data, server.admin])
      for (const [path, text] of [
        ['/livez', 'ok\n'],
        ['/readyz', 'ready\n'],
        ['/readyz?verbose', 'ready\n'],
      ])
        expect(await request(`${url}${path}`), path).toMatchObject({ status: 200, body: { text } });
  });

  test('take GET and HEAD', async () => {
    expect((await request(`${server.data}/readyz`, { method: 'HEAD' })).status).toBe(200);
    expect((await request(`${server.data}/readyz`, { method: 'POST' })).status).toBe(405);
  });

  test('a credential that is wrong does not matter to them', async () => {
    using client = new Grpc(server.data, `${secrets.api}-wrong`);
    expect(await client.call<Status>(HEALTH, 'Check', {})).toEqual({ status: 'SERVING' });
  });
});

test('from beyond the machine, /metrics and the names of tenants are for operators', async () => {
  const { router } = adminPlane(server.mandate.services);
  const peer = { loopback: false, certified: undefined };
  const intake = {
    uploads: new Uploads(),
    anteroom: new Places({ total: 1, each: 1, full: '' }),
  };
  const front = http.createServer(
    (raw, response) => void router.serve(new Http1Exchange(raw, response, peer), intake),
  );
  await new Promise<void>((resolve) => {
    front.listen(0, '127.0.0.1', resolve);
  });
  const url = `http://127.0.0.1:${(front.address() as AddressInfo).port}/metrics`;
  const ask = async (headers: Record<string, string>) => (await request(url, { headers })).status;
  expect(await ask({})).toBe(401);
  expect(await ask({ authorization: `Bearer ${secrets.api}` })).toBe(401);
  expect(await ask({ authorization: `Bearer ${secrets.operator}` })).toBe(200);
  expect((await request(`${server.admin}/metrics`)).status).toBe(200);
  front.close();
  front.closeAllConnections();
});
