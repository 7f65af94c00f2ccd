import type { UniversalServerResponse } from '@connectrpc/connect/protocol';
import { percentEncoded } from '../grpc/unary.ts';

const MESSAGE = 'grpc-message';
/** gRPC-Web: the flag of the frame that holds the trailers. */
const TRAILERS = 0x80;
const PREFIX_BYTES = 5;

/**
 * The Connect library encodes a status message as a part of a URI, punctuation and all. gRPC knows one encoding (gRPC
 * over HTTP/2, Responses), and clients that undo no more than that one showed `%3A` for a colon. Of gRPC the message is
 * in the trailers, of gRPC-Web in the last frame.
 */
export function withPlainMessage(answer: UniversalServerResponse): UniversalServerResponse {
  const type = answer.header?.get('content-type') ?? '';
  if (!answer.body || !type.startsWith('application/grpc')) return answer;
  return { ...answer, body: plainly(answer.body, answer.trailer) };
}

async function* plainly(
  body: AsyncIterable<Uint8Array>,
  trailer: Headers | undefined,
): AsyncGenerator<Uint8Array> {
  if (!trailer) {
    for await (const frame of body) yield frame[0] === TRAILERS ? reframed(frame) : frame;
    return;
  }
  yield* body;
  const message = trailer.get(MESSAGE);
  if (message !== null) trailer.set(MESSAGE, again(message));
}

function reframed(frame: Uint8Array): Uint8Array {
  const lines = Buffer.from(frame.subarray(PREFIX_BYTES)).toString('latin1');
  const plain = lines.replace(/^(grpc-message: )(.*)$/m, (_line, name: string, message: string) =>
    name.concat(again(message)),
  );
  const text = Buffer.from(plain, 'latin1');
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix[0] = TRAILERS;
  prefix.writeUInt32BE(text.length, 1);
  return Buffer.concat([prefix, text]);
}

const again = (message: string): string => percentEncoded(decodeURIComponent(message));
