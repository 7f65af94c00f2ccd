import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { Http2Server } from '../../src/http2/server.ts';
import type { ServerStream } from '../../src/http2/server-stream.ts';
import { NodeHttp2 } from '../../src/server/transport/node-http2.ts';

const LIMITS = { streams: 100, streamWindow: 65_535, connectionWindow: 65_535 };
const nothing = (): void => {};

export const transports = ['ours', 'Node’s'] as const;

/** Serves each stream of HTTP/2 on a free port, with our server or with Node's. */
export async function serving(
  serve: (stream: ServerStream) => void,
  transport: (typeof transports)[number] = 'ours',
): Promise<{ url: string } & AsyncDisposable> {
  const common = { limits: LIMITS, accept: () => serve, tooLong: nothing, onEnd: nothing };
  const failed = (error: unknown): void => {
    throw error;
  };
  const budgetOf = () => ({ tryTake: () => true, giveBack: nothing });
  const http2 =
    transport === 'ours'
      ? new Http2Server({ ...common, budgetOf, now: () => performance.now(), failed })
      : new NodeHttp2({ ...common, patience: { unusedMs: 10_000, idleMs: 10_000 } });
  const server = net.createServer({ noDelay: true }, (socket) => http2.take(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      http2[Symbol.dispose]();
      server.close();
    },
  };
}
