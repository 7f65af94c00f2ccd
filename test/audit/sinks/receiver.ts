import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';

/** Somebody else's end of an HTTP sink, which answers as it is told. */
export interface Receiver extends AsyncDisposable {
  readonly url: string;
  readonly batches: { readonly headers: http.IncomingHttpHeaders; readonly text: string }[];
  /** What it answers next; undefined: nothing, and the connection stays open. */
  answer: (text: string) => { status: number; headers?: Record<string, string>; body?: string } | undefined;
}

export async function receiver(): Promise<Receiver> {
  const batches: Receiver['batches'] = [];
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const text = gunzipSync(Buffer.concat(chunks)).toString('utf8');
      const answer = self.answer(text);
      if (!answer) return;
      if (answer.status < 300) batches.push({ headers: request.headers, text });
      response.writeHead(answer.status, answer.headers).end(answer.body ?? '');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const self: Receiver = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/ingest`,
    batches,
    answer: () => ({ status: 204 }),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return self;
}

export interface Line {
  readonly tenant: string;
  readonly log: string;
  readonly index: number;
  readonly record: { readonly kind: string; readonly outcome: string; readonly decision_id: string };
}

export const linesIn = ({ batches }: Pick<Receiver, 'batches'>): Line[] =>
  batches.flatMap(({ text }) => text.trimEnd().split('\n')).map((line) => JSON.parse(line) as Line);
