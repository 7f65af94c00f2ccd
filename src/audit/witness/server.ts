import http, { type IncomingMessage } from 'node:http';
import { systemClock } from '../../effects.ts';
import { MAX_REQUEST_BYTES, type Witness, type WitnessAnswer } from '../../merkle/witness.ts';

const PATH = '/add-checkpoint';

/** Serves a witness over HTTP (C2SP tlog-witness). What is sent is signed, so it may stand behind any proxy. */
export function witnessServer(witness: Witness, seen: (answer: WitnessAnswer) => void): http.Server {
  const server = http.createServer(
    { requestTimeout: 10_000, headersTimeout: 5_000, maxHeaderSize: 8_192, keepAliveTimeout: 65_000 },
    (request, response) => {
      const end = (status: number, type: string, body: string): void => {
        response
          .writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) })
          .end(body);
      };
      if (request.url !== PATH) return end(404, TEXT, `a witness serves POST ${PATH}\n`);
      if (request.method !== 'POST') return end(405, TEXT, `${PATH} takes POST\n`);
      bodyOf(request).then(
        (body) => {
          if (body === undefined) return end(413, TEXT, `a request has ${MAX_REQUEST_BYTES} bytes at most\n`);
          const answer = witness.addCheckpoint(body, systemClock() / 1_000);
          seen(answer);
          end(answer.status, answer.type, answer.body);
        },
        () => request.destroy(),
      );
    },
  );
  server.maxConnections = 1_000;
  return server;
}

const TEXT = 'text/plain; charset=utf-8';

/** Undefined where there is too much of it. */
async function bodyOf(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += (chunk as Buffer).length;
    if (size > MAX_REQUEST_BYTES) return undefined;
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}
