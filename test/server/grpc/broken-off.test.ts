import { once } from 'node:events';
import http2, { type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { serveDuplex } from '../../../src/server/grpc/duplex.ts';
import { fail, serveUnary } from '../../../src/server/grpc/unary.ts';
import { Uploads } from '../../../src/server/intake/uploads.ts';

const { NGHTTP2_CANCEL } = http2.constants;
const MESSAGE = Buffer.from([0, 0, 0, 0, 1, 0]);
const uploads = new Uploads();
const FOREVER = Number.POSITIVE_INFINITY;

/** How a stream ends that `serve` serves; what it throws into nobody's hands fails the test as unhandled. */
async function resetBy(serve: (stream: ServerHttp2Stream) => void): Promise<number> {
  const server = http2.createServer();
  server.on('stream', (stream) => {
    stream.on('error', () => undefined);
    serve(stream);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const session = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  try {
    const stream = session.request({ ':method': 'POST' });
    stream.on('error', () => undefined);
    stream.resume().end(MESSAGE);
    await once(stream, 'close');
    return stream.rstCode;
  } finally {
    session.destroy();
    server.close();
  }
}

// A reset closes a stream at once and destroys it a turn later. In between it takes no response.
test('a unary call broken off before its answer gets none', async () => {
  const code = await resetBy((stream) =>
    serveUnary(
      stream,
      FOREVER,
      async () => {
        stream.close(NGHTTP2_CANCEL);
        return MESSAGE;
      },
      uploads,
      '',
    ),
  );
  expect(code).toBe(NGHTTP2_CANCEL);
});

test('a unary call broken off before its error gets none', async () => {
  const code = await resetBy((stream) =>
    serveUnary(
      stream,
      FOREVER,
      async () => {
        stream.close(NGHTTP2_CANCEL);
        throw new Error('late');
      },
      uploads,
      '',
    ),
  );
  expect(code).toBe(NGHTTP2_CANCEL);
});

test('a stream broken off before it is served gets no answer', async () => {
  const code = await resetBy((stream) => {
    stream.close(NGHTTP2_CANCEL);
    serveDuplex(stream, {
      timeoutMs: FOREVER,
      handle: async () => MESSAGE,
      refuse: () => MESSAGE,
      uploads,
      whom: '',
      stopping: new AbortController().signal,
    });
  });
  expect(code).toBe(NGHTTP2_CANCEL);
});

test('a refusal of a call that was broken off goes nowhere', async () => {
  const code = await resetBy((stream) => {
    stream.close(NGHTTP2_CANCEL);
    fail(stream, new Error('refused'));
  });
  expect(code).toBe(NGHTTP2_CANCEL);
});
