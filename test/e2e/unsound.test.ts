import http2 from 'node:http2';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { create, toBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CheckRequestSchema } from '../../src/gen/mandate/v1/decision_pb.ts';
import { aliceReads, check, connect, request } from './requests.ts';
import { bearer, type Running, secrets, startServer } from './server.ts';

/**
 * What would reach a policy otherwise than it was written is refused before it, with one code in every protocol, and
 * never counts against the policy.
 */

let server: Running;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server[Symbol.asyncDispose]());

const { tenant: _, ...evaluation } = aliceReads;
const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');
const place = (question: object, value: string): string =>
  JSON.stringify({ ...question, context: { note: 'HERE' } }).replace('"HERE"', () => value);

/** JSON that is not what it seems, by what is wrong with it; each stands in the context of a question. */
const faults: readonly [string, (question: object) => Buffer][] = [
  ['half of a surrogate pair', (question) => Buffer.from(place(question, String.raw`"\ud800"`))],
  ['the other half', (question) => Buffer.from(place(question, String.raw`"a\uDC00b"`))],
  ['half a pair as a name', (question) => Buffer.from(place(question, String.raw`{"\uD83D":1}`))],
  ['bytes that are no UTF-8', (question) => latin1(place(question, '"andr\u00e9"'))],
  ['a number that a double does not hold', (question) => Buffer.from(place(question, '9007199254740993'))],
  ['a number beyond a double', (question) => Buffer.from(place(question, '1e999'))],
  ['more depth than is allowed', (question) => Buffer.from(place(question, '['.repeat(60) + ']'.repeat(60)))],
];

const CHECK = '/mandate.v1.DecisionService/Check';

const framed = (message: Uint8Array, flags = 0): Buffer => {
  const prefix = Buffer.alloc(5);
  prefix[0] = flags;
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
};

/** The stable code of a refusal, wherever its protocol has it. */
async function post(
  path: string,
  type: string,
  body: Uint8Array,
  headers: Record<string, string> = {},
): Promise<string> {
  const answer = await request<Record<string, string>>(`${server.data}${path}`, {
    method: 'POST',
    headers: { 'content-type': type, authorization: bearer(secrets.api), ...headers },
    body: Uint8Array.from(body),
  });
  const { text = '', error, code } = answer.body;
  const trailer = /mandate-error-code: (\w+)/.exec(text)?.[1];
  return answer.headers.get('mandate-error-code') ?? trailer ?? error ?? code ?? `answered ${answer.status}`;
}

async function postGrpc(path: string, type: string, body: Uint8Array): Promise<string> {
  const session = http2.connect(server.data);
  const headers = { ':method': 'POST', ':path': path, 'content-type': type, te: 'trailers' };
  const stream = session.request({ ...headers, authorization: bearer(secrets.api) });
  let told: http2.IncomingHttpHeaders = {};
  let data = '';
  stream.on('response', (fields) => (told = { ...told, ...fields }));
  stream.on('trailers', (fields) => (told = { ...told, ...fields }));
  stream.on('data', (chunk: Buffer) => (data += chunk.toString('latin1')));
  stream.end(body);
  await new Promise((resolve) => stream.once('close', resolve));
  session.destroy();
  const code = told['mandate-error-code'];
  if (typeof code === 'string') return code;
  return /"mandate-error-code":\["(\w+)/.exec(data)?.[1] ?? data;
}

/** Every way in that takes JSON. */
const ways: readonly [string, (fault: (question: object) => Buffer) => Promise<string>][] = [
  ['Connect', (fault) => post(CHECK, 'application/json', fault(aliceReads))],
  [
    'Connect, gzip',
    (fault) =>
      post(CHECK, 'application/json; charset=utf-8', gzipSync(fault(aliceReads)), {
        'content-encoding': 'gzip',
      }),
  ],
  [
    'Connect, Brotli',
    (fault) =>
      post(CHECK, 'application/json', brotliCompressSync(fault(aliceReads)), { 'content-encoding': 'br' }),
  ],
  [
    'Connect, with the headers of other protocols',
    (fault) =>
      post(CHECK, 'application/json', fault(aliceReads), {
        'grpc-encoding': 'gzip',
        'connect-content-encoding': 'gzip',
      }),
  ],
  [
    "Connect's streams",
    (fault) =>
      postGrpc(
        '/mandate.v1.DecisionService/CheckStream',
        'application/connect+json',
        framed(fault({ correlationId: '1', request: aliceReads })),
      ),
  ],
  ['gRPC with JSON', (fault) => postGrpc(CHECK, 'application/grpc+json', framed(fault(aliceReads)))],
  ['gRPC-Web with JSON', (fault) => post(CHECK, 'application/grpc-web+json', framed(fault(aliceReads)))],
  ['AuthZEN', (fault) => post('/t/acme/access/v1/evaluation', 'application/json', fault(evaluation))],
  [
    'AuthZEN, gzip',
    (fault) =>
      post('/t/acme/access/v1/evaluation', 'application/json', gzipSync(fault(evaluation)), {
        'content-encoding': 'gzip',
      }),
  ],
  [
    "OPA's data API",
    (fault) => post('/t/acme/v1/data/mandate/decision', 'application/json', fault({ input: evaluation })),
  ],
  [
    'Envoy with JSON',
    (fault) =>
      post(
        '/envoy.service.auth.v3.Authorization/Check',
        'application/json',
        fault({
          attributes: {
            contextExtensions: { tenant: 'acme' },
            request: { http: { method: 'GET', path: '/', host: 'docs', scheme: 'http' } },
          },
        }),
      ),
  ],
];

describe.each(ways)('over %s', (_way, ask) => {
  test.each(faults)('%s', async (_what, fault) => {
    expect(await ask(fault)).toBe('invalid_request');
  });
});

describe('a binary message with text that is no UTF-8', () => {
  const sound = toBinary(
    CheckRequestSchema,
    create(CheckRequestSchema, {
      tenant: 'acme',
      principal: { case: 'subject', value: { type: 'user', id: 'alice' } },
      action: { name: 'document.read' },
      resource: { type: 'document', id: 'roadmap', properties: { owner: 'andrX' } },
      context: { andrX: 'andrX' },
    }),
  );
  /** With one of its `andrX` in Latin-1, or as half a surrogate pair would be written. */
  const broken = [0xe9, 0xed].flatMap((byte) =>
    [...Buffer.from(sound).toString('latin1').matchAll(/andrX/g)].map(({ index }) => {
      const bytes = Buffer.from(sound);
      bytes[index + 4] = byte;
      return bytes;
    }),
  );

  test.each([
    ['Connect', (bytes: Buffer) => post(CHECK, 'application/proto', bytes)],
    ['gRPC', (bytes: Buffer) => postGrpc(CHECK, 'application/grpc', framed(bytes))],
    [
      'gRPC, through the library',
      (bytes: Buffer) => postGrpc(`${CHECK}?`, 'application/grpc', framed(bytes)),
    ],
    ['gRPC-Web', (bytes: Buffer) => post(CHECK, 'application/grpc-web+proto', framed(bytes))],
  ])('over %s', async (_way, ask) => {
    expect(broken).toHaveLength(6);
    for (const bytes of broken) expect(await ask(bytes)).toBe('invalid_request');
  });
});

test("OPA's input in the query, and a form, that are no UTF-8", async () => {
  const url = `${server.data}/t/acme/v1/data/authz/allow?input=`;
  for (const input of ['%22%ff%22', '%22%ed%a0%80%22', String.raw`%22\ud800%22`, '%2'])
    expect(
      (await request(url + input, { headers: { authorization: bearer(secrets.api) } })).body,
      input,
    ).toMatchObject({ code: 'invalid_request' });
});

test('none of it is held against the policy', async () => {
  for (let round = 0; round < 20; round += 1)
    await Promise.all(faults.map(([, fault]) => post(CHECK, 'application/json', fault(aliceReads))));
  const good = await Promise.all(
    Array.from({ length: 50 }, () => check(server.data, aliceReads, bearer(secrets.api))),
  );
  expect(good.every(({ body }) => body.decision === 'DECISION_ALLOW')).toBe(true);
  const { body } = await connect<{ tenants: { id: string; degraded?: string }[] }>(
    server.admin,
    'TenantService/ListTenants',
    {},
  );
  expect(body.tenants.find(({ id }) => id === 'acme')?.degraded ?? '').toBe('');
});
