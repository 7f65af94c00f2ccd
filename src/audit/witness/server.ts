import http, { type IncomingMessage } from 'node:http';
import { systemClock } from '../../effects.ts';
import { MAX_REQUEST_BYTES, type Witness, type WitnessAnswer } from '../../merkle/witness.ts';

const PATH = '/add-checkpoint';

/** Serves a witness over HTTP (C2SP tlog-witness). What is sent is signed, so it may stand behind any proxy. */
export function witnessServer(
  witness: Witness,
  seen: (answer: WitnessAnswer) => void,
  failed: (error: unknown) => void,
): http.Server {
  const server = http.createServer(
    {
      requestTimeout: 10_000,
      headersTimeout: 5_000,
      // How often those two are looked at.
      connectionsCheckingInterval: 1_000,
      maxHeaderSize: 8_192,
      keepAliveTimeout: 65_000,
    },
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
          if (body === undefined) {
            // The rest of it is not read.
            response.setHeader('connection', 'close');
            return end(413, TEXT, `a request has ${MAX_REQUEST_BYTES} bytes at most\n`);
          }
          const { status, type, body: text } = answered(witness, body, seen, failed);
          end(status, type, text);
        },
        () => request.destroy(),
      );
    },
  );
  server.maxConnections = 1_000;
  return server;
}

const TEXT = 'text/plain; charset=utf-8';

/** What could not be kept was not signed, and may be asked for again. */
function answered(
  witness: Witness,
  body: string,
  seen: (answer: WitnessAnswer) => void,
  failed: (error: unknown) => void,
): { status: number; type: string; body: string } {
  try {
    const answer = witness.addCheckpoint(body, systemClock() / 1_000);
    seen(answer);
    return answer;
  } catch (error) {
    failed(error);
    return { status: 500, type: TEXT, body: 'what was signed could not be kept, so nothing was\n' };
  }
}

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
