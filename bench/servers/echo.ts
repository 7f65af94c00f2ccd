import net from 'node:net';
import { HeaderBlock } from '../../src/http2/hpack/encoder.ts';
import { Http2Server } from '../../src/http2/server.ts';

/**
 * The same as bare.ts over src/http2: reads the request to its end and answers always the same frame, with trailers.
 * `node echo.ts <port> <bytes of the frame>`.
 */
const [port, bytes] = process.argv.slice(2).map(Number);
const answer = Buffer.alloc(bytes ?? 5);
answer.writeUInt32BE(answer.length - 5, 1);

const HEAD = new HeaderBlock([
  [':status', '200'],
  ['content-type', 'application/grpc+proto'],
]);
const TRAILERS = new HeaderBlock([['grpc-status', '0']]);
const nothing = (): void => {};

const http2 = new Http2Server({
  limits: { streams: 1_000, streamWindow: 1024 * 1024, connectionWindow: 4 * 1024 * 1024 },
  budgetOf: () => ({ tryTake: () => true, giveBack: nothing }),
  now: () => performance.now(),
  accept: () => (stream) =>
    stream.receive({
      data: nothing,
      end: () => stream.answer(HEAD, answer, TRAILERS),
      closed: nothing,
    }),
  tooLong: (stream) => stream.answer(HEAD),
  failed: (error) => console.error(error),
});
net.createServer({ noDelay: true }, (socket) => http2.take(socket)).listen(port, '127.0.0.1');
process.once('SIGTERM', () => process.exit(0));
