import path from 'node:path';
import { call } from '../../harness/grpc.ts';
import type { Target } from '../../harness/load.ts';
import { freePort, launch } from '../../harness/processes.ts';

/** Takes `like`'s requests and answers as many bytes, and does nothing else. */
export async function startBare(
  folder: string,
  like: Target,
): Promise<AsyncDisposable & { readonly unary: Target }> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}${new URL(like.url).pathname}`;
  const running = await launch({
    command: process.execPath,
    args: [
      path.resolve(import.meta.dirname, '../../servers/bare.ts'),
      String(port),
      String(like.responseBytes),
    ],
    log: path.join(folder, 'bare.log'),
    ready: async () => (await call(url, like.headers, Buffer.alloc(5))).bytes === like.responseBytes,
  });
  return { unary: { ...like, url }, [Symbol.asyncDispose]: () => running[Symbol.asyncDispose]() };
}
