import { once } from 'node:events';
import http2 from 'node:http2';
import net, { type AddressInfo } from 'node:net';
import { brotliCompressSync, brotliDecompressSync, gzipSync } from 'node:zlib';
import { compressionAlgorithms, credentials, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { failure, Grpc, struct } from './grpc.ts';
import { aliceReads, http2Request } from './requests.ts';
import { bearer, type Running, secrets, startServer } from './server.ts';

/** gRPC's gzip and deadlines: grpc-js, and node:http2 where grpc-js would not send such a thing. */

let server: Running;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server[Symbol.asyncDispose]());

const GZIP = { 'grpc.default_compression_algorithm': compressionAlgorithms.gzip };
const CHECK = '/mandate.v1.DecisionService/Check';

const reads = {
  ...aliceReads,
  resource: { ...aliceReads.resource, properties: struct(aliceReads.resource.properties) },
};
const batch = {
  tenant: 'acme',
  items: Array.from({ length: 200 }, () => ({ ...reads, tenant: undefined })),
};

/** A way to the server that counts the bytes of both directions. */
async function counted(): Promise<{ url: string; sent: number; received: number } & AsyncDisposable> {
  const seen = { sent: 0, received: 0 };
  const proxy = net.createServer((near) => {
    const far = net.connect(server.mandate.dataPort, '127.0.0.1');
    near.on('data', (chunk) => (seen.sent += chunk.length));
    far.on('data', (chunk) => (seen.received += chunk.length));
    for (const socket of [near, far]) socket.on('error', () => [near, far].map((each) => each.destroy()));
    near.pipe(far).pipe(near);
  });
  await new Promise<void>((resolve) => {
    proxy.listen(0, '127.0.0.1', resolve);
  });
  return Object.assign(seen, {
    url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        proxy.close(() => resolve());
      }),
  });
}

interface BatchAnswer {
  results: { decision: string }[];
}

describe('gzip', () => {
  test('grpc-js compresses its messages, is understood, and is answered in kind', async () => {
    const bytes: { sent: number; received: number }[] = [];
    for (const options of [{}, GZIP]) {
      await using way = await counted();
      using pep = new Grpc(way.url, secrets.api, credentials.createInsecure(), options);
      const { results } = await pep.call<BatchAnswer>('DecisionService', 'CheckBatch', batch);
      expect(results.map(({ decision }) => decision)).toEqual(batch.items.map(() => 'DECISION_ALLOW'));
      bytes.push({ sent: way.sent, received: way.received });
    }
    const [plain, packed] = bytes;
    expect(packed?.sent).toBeLessThan((plain?.sent ?? 0) / 4);
    expect(packed?.received).toBeLessThan((plain?.received ?? 0) / 1.5);
  });

  test('serves Check and a stream both ways', async () => {
    using pep = new Grpc(server.data, secrets.api, credentials.createInsecure(), GZIP);
    expect(await pep.call('DecisionService', 'Check', reads)).toMatchObject({ decision: 'DECISION_ALLOW' });
    const stream = pep.duplex('DecisionService', 'CheckStream');
    for (const correlation_id of [1, 2, 3]) stream.write({ correlation_id, request: reads });
    stream.end();
    const answered: number[] = [];
    for await (const { correlation_id } of stream as AsyncIterable<{ correlation_id: number }>)
      answered.push(correlation_id);
    expect(answered.toSorted()).toEqual([1, 2, 3]);
  });

  test('has the code of an error in the metadata', async () => {
    using pep = new Grpc(server.data, secrets.api, credentials.createInsecure(), GZIP);
    const unknown = pep.call('DecisionService', 'Check', { ...reads, tenant: 'nowhere' });
    expect(await failure(unknown)).toEqual({ status: status.NOT_FOUND, code: 'tenant_unknown' });
    const nonsense = pep.raw('DecisionService', 'Check', Uint8Array.from([0x0a, 0xff, 0xff, 0xff, 0x0f, 1]));
    expect(await failure(nonsense)).toEqual({ status: status.INVALID_ARGUMENT, code: 'invalid_request' });
  });

  test('a message that unpacks beyond the bound is refused', async () => {
    const bomb = gzipSync(Buffer.alloc(32 << 20));
    const head = Buffer.from([1, 0, 0, 0, 0]);
    head.writeUInt32BE(bomb.length, 1);
    const answer = await grpc({ 'grpc-encoding': 'gzip' }, Buffer.concat([head, bomb]));
    expect(answer).toEqual({ status: status.RESOURCE_EXHAUSTED, code: 'payload_too_large' });
  });

  test('an encoding that is not known is UNIMPLEMENTED', async () => {
    expect(await grpc({ 'grpc-encoding': 'zstd-9' }, Buffer.from([0, 0, 0, 0, 0]))).toEqual({
      status: status.UNIMPLEMENTED,
      code: 'unimplemented',
    });
  });
});

/** A call on node:http2; the status and the code of an error, in the trailers or, without a body, in the headers. */
async function grpc(headers: Record<string, string>, body: Uint8Array = Buffer.from([0, 0, 0, 0, 0])) {
  const answer = await http2Request(
    server.data,
    {
      ':method': 'POST',
      ':path': CHECK,
      'content-type': 'application/grpc',
      te: 'trailers',
      authorization: bearer(secrets.api),
      ...headers,
    },
    body,
  );
  const trailers = { ...answer.headers, ...answer.trailers };
  return { status: Number(trailers['grpc-status']), code: trailers['mandate-error-code'] };
}

describe('grpc-timeout', () => {
  const ways: Record<string, string>[] = [{}, { 'grpc-encoding': 'gzip' }];

  test('that has passed is DEADLINE_EXCEEDED, plain and compressed alike', async () => {
    for (const way of ways)
      expect(await grpc({ ...way, 'grpc-timeout': '0n' })).toEqual({
        status: status.DEADLINE_EXCEEDED,
        code: 'deadline_exceeded',
      });
    // The time it takes to read the message is more than this.
    expect(await grpc({ 'grpc-timeout': '1n' })).toMatchObject({ status: status.DEADLINE_EXCEEDED });
  });

  test('that is none is INVALID_ARGUMENT', async () => {
    for (const way of ways)
      for (const timeout of ['5', 'x', '5x', '-1S', '123456789S'])
        expect(await grpc({ ...way, 'grpc-timeout': timeout }), timeout).toEqual({
          status: status.INVALID_ARGUMENT,
          code: 'invalid_request',
        });
  });

  test('that is far away changes nothing', async () => {
    for (const options of [{}, GZIP]) {
      using pep = new Grpc(server.data, secrets.api, credentials.createInsecure(), options);
      const deadline = Date.now() + 30_000;
      expect(await pep.call('DecisionService', 'Check', reads, { deadline })).toMatchObject({
        decision: 'DECISION_ALLOW',
      });
    }
  });

  test('of a month does not end a stream at once', async () => {
    for (const options of [{}, GZIP]) {
      using pep = new Grpc(server.data, secrets.api, credentials.createInsecure(), options);
      const stream = pep.duplex('DecisionService', 'CheckStream', { deadline: Date.now() + 30 * 86_400_000 });
      for (const correlation of [1, 2]) {
        // The second is asked only when the first is answered.
        stream.write({ correlation_id: correlation, request: reads });
        const [answer] = (await once(stream, 'data')) as [{ correlation_id: number; response: BatchAnswer }];
        expect(answer).toMatchObject({
          correlation_id: correlation,
          response: { decision: 'DECISION_ALLOW' },
        });
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
      stream.end();
      stream.resume();
      await once(stream, 'end');
      expect(
        await pep.call('DecisionService', 'Check', reads, { deadline: Date.now() + 30 * 86_400_000 }),
      ).toMatchObject({ decision: 'DECISION_ALLOW' });
    }
  });
});

test('the message of an error is percent-encoded only where it has to be', async () => {
  using pep = new Grpc(server.data, 'wrong-credential');
  await expect(pep.call('DecisionService', 'Check', reads)).rejects.toMatchObject({
    details: 'unauthenticated: the credential is not valid in this tenant',
  });
});

test('an answer in Brotli is packed at a level that costs little: at its best a large one takes seconds', async () => {
  const path = '/mandate.v1.DecisionService/CheckBatch';
  const headers = { ':method': 'POST', ':path': path, 'content-type': 'application/json' };
  const session = http2.connect(server.data);
  const stream = session.request({ ...headers, 'accept-encoding': 'br', authorization: bearer(secrets.api) });
  const answered = once(stream, 'response') as Promise<[http2.IncomingHttpHeaders]>;
  const item = { ...aliceReads, tenant: undefined };
  stream.end(JSON.stringify({ tenant: 'acme', items: Array.from({ length: 100 }, () => item) }));
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  session.destroy();
  expect((await answered)[0]['content-encoding']).toBe('br');
  const packed = Buffer.concat(chunks);
  const plain = brotliDecompressSync(packed);
  expect((JSON.parse(plain.toString()) as { results: object[] }).results).toHaveLength(100);
  expect(packed.length).toBeGreaterThan(brotliCompressSync(plain).length);
});
