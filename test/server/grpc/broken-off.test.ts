import { once } from 'node:events';
import http2 from 'node:http2';
import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import type { ServerStream } from '../../../src/http2/server-stream.ts';
import { serveDuplex } from '../../../src/server/grpc/duplex.ts';
import { fail, serveUnary } from '../../../src/server/grpc/unary.ts';
import { Uploads } from '../../../src/server/intake/uploads.ts';
import { serving, transports } from '../streams.ts';

const MESSAGE = Buffer.from([0, 0, 0, 0, 1, 0]);
const uploads = new Uploads();
const FOREVER = Number.POSITIVE_INFINITY;

/** How a stream ends that `serve` serves; what it throws into nobody's hands fails the test as unhandled. */
async function resetBy(
  transport: (typeof transports)[number],
  serve: (stream: ServerStream) => void,
): Promise<number> {
  await using server = await serving(serve, transport);
  const session = http2.connect(server.url);
  try {
    const stream = session.request({ ':method': 'POST' });
    stream.on('error', () => undefined);
    stream.resume().end(MESSAGE);
    await once(stream, 'close');
    return stream.rstCode;
  } finally {
    session.destroy();
  }
}

describe.each(transports)('over %s', (transport) => {
  // A reset closes a stream at once and destroys it a turn later. In between it takes no response.
  test('a unary call broken off before its answer gets none', async () => {
    const code = await resetBy(transport, (stream) =>
      serveUnary(
        stream,
        FOREVER,
        async () => {
          stream.reset(ErrorCode.CANCEL);
          return MESSAGE;
        },
        uploads,
        '',
      ),
    );
    expect(code).toBe(ErrorCode.CANCEL);
  });

  test('a unary call broken off before its error gets none', async () => {
    const code = await resetBy(transport, (stream) =>
      serveUnary(
        stream,
        FOREVER,
        async () => {
          stream.reset(ErrorCode.CANCEL);
          throw new Error('late');
        },
        uploads,
        '',
      ),
    );
    expect(code).toBe(ErrorCode.CANCEL);
  });

  test('a stream broken off before it is served gets no answer', async () => {
    const code = await resetBy(transport, (stream) => {
      stream.reset(ErrorCode.CANCEL);
      serveDuplex(stream, {
        timeoutMs: FOREVER,
        handle: async () => MESSAGE,
        refuse: () => MESSAGE,
        uploads,
        whom: '',
        stopping: new AbortController().signal,
      });
    });
    expect(code).toBe(ErrorCode.CANCEL);
  });

  test('a refusal of a call that was broken off goes nowhere', async () => {
    const code = await resetBy(transport, (stream) => {
      stream.reset(ErrorCode.CANCEL);
      fail(stream, new Error('refused'));
    });
    expect(code).toBe(ErrorCode.CANCEL);
  });
});
