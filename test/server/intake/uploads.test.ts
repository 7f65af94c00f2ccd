import { once } from 'node:events';
import http2, { type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { serveDuplex } from '../../../src/server/grpc/duplex.ts';
import { serveUnary } from '../../../src/server/grpc/unary.ts';
import { Uploads } from '../../../src/server/intake/uploads.ts';

const FRAME = Buffer.from([0, 0, 0, 0, 1, 7]);

/** What a client that sends these bytes and never the end is told. */
async function stalled(
  serve: (stream: ServerHttp2Stream, uploads: Uploads) => void,
  sent: Uint8Array,
): Promise<Record<string, unknown>> {
  const uploads = new Uploads(20);
  const server = http2.createServer();
  server.on('stream', (stream) => {
    stream.on('error', () => undefined);
    serve(stream, uploads);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const session = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  try {
    const stream = session.request({ ':method': 'POST' });
    stream.on('error', () => undefined);
    let told: Record<string, unknown> = {};
    stream.on('response', (headers) => (told = { ...told, ...headers }));
    stream.on('trailers', (trailers) => (told = { ...told, ...trailers }));
    stream.resume();
    if (sent.length > 0) stream.write(sent);
    await once(stream, 'close');
    expect(uploads.open).toBe(0);
    return told;
  } finally {
    session.destroy();
    server.close();
  }
}

const unary = (stream: ServerHttp2Stream, uploads: Uploads): void =>
  serveUnary(stream, Number.POSITIVE_INFINITY, async () => FRAME, uploads);

const duplex = (stream: ServerHttp2Stream, uploads: Uploads): void =>
  serveDuplex(stream, {
    timeoutMs: Number.POSITIVE_INFINITY,
    handle: async () => FRAME,
    refuse: () => FRAME,
    uploads,
    stopping: new AbortController().signal,
  });

test.each([
  ['nothing', new Uint8Array()],
  ['one whole frame', FRAME],
  ['half a frame', FRAME.subarray(0, 5)],
])('a unary call that sends %s and stalls is given up', async (_what, sent) => {
  expect(await stalled(unary, sent)).toMatchObject({ 'mandate-error-code': 'deadline_exceeded' });
});

test('a stream that stalls within a message is given up', async () => {
  const sent = Buffer.concat([FRAME, FRAME.subarray(0, 3)]);
  expect(await stalled(duplex, sent)).toMatchObject({
    'grpc-status': '4',
    'mandate-error-code': 'deadline_exceeded',
  });
});

test('a stream that is still between two messages is not', async () => {
  const uploads = new Uploads(10);
  const server = http2.createServer();
  server.on('stream', (stream) => duplex(stream, uploads));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const session = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const stream = session.request({ ':method': 'POST' });
  let answers = 0;
  stream.on('data', (chunk: Buffer) => (answers += chunk.length / FRAME.length));
  for (let each = 0; each < 4; each += 1) {
    stream.write(FRAME);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  stream.end();
  const [trailers] = (await once(stream, 'trailers')) as [Record<string, unknown>];
  expect(trailers).toMatchObject({ 'grpc-status': '0' });
  expect(answers).toBe(4);
  session.destroy();
  server.close();
});

test('who is late is told once, and who has ended never', async () => {
  const uploads = new Uploads(5);
  const late: string[] = [];
  uploads.begin({}, () => late.push('stalled'));
  const done = {};
  uploads.begin(done, () => late.push('done'));
  uploads.end(done);
  for (let turn = 0; uploads.open > 0 && turn < 100; turn += 1)
    await new Promise((resolve) => setTimeout(resolve, 5));
  expect(late).toEqual(['stalled']);
});
