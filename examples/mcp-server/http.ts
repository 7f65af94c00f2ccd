import type http from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';

type Answer = (request: Request) => Promise<Response>;

/** For Node's server, from what answers web requests. `origin`: where clients reach it, whatever `Host` says. */
export const listenerOf =
  (origin: string, answer: Answer): http.RequestListener =>
  (incoming, outgoing) => {
    pass(origin, answer, incoming, outgoing).catch(() => outgoing.destroy());
  };

async function pass(
  origin: string,
  answer: Answer,
  incoming: http.IncomingMessage,
  outgoing: http.ServerResponse,
): Promise<void> {
  const { method = 'GET', url = '/' } = incoming;
  const headers = new Headers();
  for (const [name, value = ''] of Object.entries(incoming.headers)) headers.set(name, String(value));
  const hasBody = method !== 'GET' && method !== 'HEAD';
  const body = hasBody ? { body: Readable.toWeb(incoming) as unknown as BodyInit, duplex: 'half' } : {};
  const response = await answer(new Request(new URL(url, origin), { method, headers, ...body }));
  outgoing.writeHead(response.status, Object.fromEntries(response.headers));
  if (response.body) await pipeline(Readable.fromWeb(response.body as ReadableStream), outgoing);
  else outgoing.end();
}
