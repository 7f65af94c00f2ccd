import { once } from 'node:events';
import http2 from 'node:http2';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { ServerStream } from '../../../src/http2/server-stream.ts';
import { serveDuplex } from '../../../src/server/grpc/duplex.ts';
import { serveUnary } from '../../../src/server/grpc/unary.ts';
import { ROUND_MS, Uploads } from '../../../src/server/intake/uploads.ts';
import { serving, transports } from '../streams.ts';

const FRAME = Buffer.from([0, 0, 0, 0, 1, 7]);

/** What a client that sends these bytes and never the end is told. */
async function stalled(
  transport: (typeof transports)[number],
  serve: (stream: ServerStream, uploads: Uploads) => void,
  sent: Uint8Array,
): Promise<Record<string, unknown>> {
  const uploads = new Uploads(20);
  await using server = await serving((stream) => serve(stream, uploads), transport);
  const session = http2.connect(server.url);
  try {
    const stream = session.request({ ':method': 'POST' });
    stream.on('error', () => undefined);
    let told: Record<string, unknown> = {};
    stream.on('response', (headers) => (told = { ...told, ...headers }));
    stream.on('trailers', (trailers) => (told = { ...told, ...trailers }));
    stream.resume();
    if (sent.length > 0) stream.write(sent);
    await once(stream, 'close');
    expect(uploads.isIdle).toBe(true);
    expect(uploads.held).toBe(0);
    return told;
  } finally {
    session.destroy();
  }
}

const unary = (stream: ServerStream, uploads: Uploads): void =>
  serveUnary(stream, Number.POSITIVE_INFINITY, async () => FRAME, uploads, '');

const duplex = (stream: ServerStream, uploads: Uploads): void =>
  serveDuplex(stream, {
    timeoutMs: Number.POSITIVE_INFINITY,
    handle: async () => FRAME,
    refuse: () => FRAME,
    uploads,
    whom: '',
    stopping: new AbortController().signal,
  });

/** Lets a round go by after each piece and its answers, and gives how the stream ends and how many answers there were. */
async function paced(
  transport: (typeof transports)[number],
  pieces: readonly Uint8Array[],
): Promise<{ status: unknown; answers: number }> {
  const uploads = new Uploads();
  await using server = await serving((stream) => duplex(stream, uploads), transport);
  const session = http2.connect(server.url);
  const stream = session.request({ ':method': 'POST' });
  let bytes = 0;
  stream.on('data', (chunk: Buffer) => (bytes += chunk.length));
  const ended = once(stream, 'trailers') as Promise<[Record<string, unknown>]>;
  const last: unknown[] = [];
  stream.once('trailers', (trailers) => last.push(trailers));
  let sent = 0;
  for (const piece of pieces) {
    stream.write(piece);
    sent += piece.length;
    // Answers are as long as questions.
    while (bytes < sent - (sent % FRAME.length) && last.length === 0)
      await Promise.race([once(stream, 'data'), ended]);
    await vi.advanceTimersByTimeAsync(ROUND_MS);
  }
  stream.end();
  const [trailers] = await ended;
  session.destroy();
  return { status: trailers['grpc-status'], answers: bytes / FRAME.length };
}

afterEach(() => void vi.useRealTimers());

describe.each(transports)('over %s', (transport) => {
  test.each([
    ['nothing', new Uint8Array()],
    ['one whole frame', FRAME],
    ['half a frame', FRAME.subarray(0, 5)],
  ])('a unary call that sends %s and stalls is given up', async (_what, sent) => {
    expect(await stalled(transport, unary, sent)).toMatchObject({
      'mandate-error-code': 'deadline_exceeded',
    });
  });

  test('a stream that stalls within a message is given up', async () => {
    const sent = Buffer.concat([FRAME, FRAME.subarray(0, 3)]);
    expect(await stalled(transport, duplex, sent)).toMatchObject({
      'grpc-status': '4',
      'mandate-error-code': 'deadline_exceeded',
    });
  });

  test('a stream that is still between two messages is not', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const pieces = Array.from({ length: 8 }, (_, at) => (at % 4 === 0 ? FRAME : new Uint8Array()));
    expect(await paced(transport, pieces)).toEqual({ status: '0', answers: 2 });
  });

  test('nor is one of which every piece ends one message and begins the next', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const whole = Buffer.concat(Array.from({ length: 12 }, () => FRAME));
    const pieces = [whole.subarray(0, 3)];
    for (let at = 3; at < whole.length; at += FRAME.length)
      pieces.push(whole.subarray(at, at + FRAME.length));
    expect(await paced(transport, pieces)).toEqual({ status: '0', answers: 12 });
  });
});

test('who is late is told once, and who has ended never', async () => {
  const uploads = new Uploads(5);
  const late: string[] = [];
  uploads.begin(() => late.push('stalled'));
  const done = uploads.begin(() => late.push('done'));
  uploads.begin(() => late.push('stalled too'));
  uploads.end(done);
  for (let turn = 0; !uploads.isIdle && turn < 100; turn += 1)
    await new Promise((resolve) => setTimeout(resolve, 5));
  expect(late).toEqual(['stalled', 'stalled too']);
  uploads.end(done);
});
