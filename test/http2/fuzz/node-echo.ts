import { once } from 'node:events';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { OK, type Serve } from '../echo.ts';

/** The same handler for both servers: what it understood of a request, once it has come to its end. */

const told = (fields: readonly (readonly [string, string])[], length: number): string =>
  JSON.stringify({ fields: fields.map((pair) => pair.join('=')).sort(), length });

export const tell: Serve = (stream) => {
  let length = 0;
  stream.receive({
    data: (chunk) => void (length += chunk.length),
    end() {
      const fields = Object.entries(stream.fields.toRecord());
      stream.answer(OK, Buffer.from(told(fields, length)));
    },
    closed: () => stream.settle(),
  });
};

/** Node's server. */
export async function nodeServer(): Promise<Disposable & { readonly port: number }> {
  const server = http2.createServer({ settings: { maxConcurrentStreams: 100 } });
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on('session', (session) => {
    sessions.add(session);
    session.on('error', () => undefined);
    session.once('close', () => sessions.delete(session));
  });
  server.on('sessionError', () => undefined);
  server.on('stream', (stream, headers) => {
    let length = 0;
    stream.on('error', () => undefined);
    stream.on('data', (chunk: Buffer) => void (length += chunk.length));
    stream.on('end', () => {
      if (stream.destroyed || stream.aborted) return;
      stream.respond({ ':status': 200 });
      // Its parser leaves out the prototype too, and has its symbols besides.
      stream.end(told(Object.entries(headers) as [string, string][], length));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.dispose]() {
      for (const session of sessions) session.destroy();
      server.close();
    },
  };
}
