import http2 from 'node:http2';

/**
 * The least that a gRPC server in Node can do: reads the request to its end and answers always the same frame, with
 * trailers. `node bare.ts <port> <bytes of the frame>`; HTTP/2 settings as Mandate's listener has them.
 */
const [port, bytes] = process.argv.slice(2).map(Number);
const answer = Buffer.alloc(bytes ?? 5);
answer.writeUInt32BE(answer.length - 5, 1);

const server = http2.createServer({
  settings: {
    maxConcurrentStreams: 1_000,
    maxHeaderListSize: 32 * 1024,
    enablePush: false,
    initialWindowSize: 1024 * 1024,
  },
});
server.on('session', (session) => session.on('error', () => session.destroy()));
server.on('stream', (stream) => {
  stream.on('error', () => stream.destroy());
  stream.on('data', () => {});
  stream.on('end', () => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc+proto' }, { waitForTrailers: true });
    stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.end(answer);
  });
});
server.listen(port, '127.0.0.1');
process.once('SIGTERM', () => process.exit(0));
