import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { ErrorCode } from '../../errors.ts';
import { HeaderBlock } from '../../http2/hpack/encoder.ts';

/** The most bytes of a request's headers. */
export const MAX_HEADER_BYTES = 32 * 1024;

/** The answer over HTTP/2. */
export const HEADERS_TOO_LONG = new HeaderBlock([
  [':status', '431'],
  ['content-type', 'application/json'],
]);
export const HEADERS_TOO_LONG_BODY = Buffer.from(
  JSON.stringify({
    error: 'payload_too_large',
    error_description: `headers are at most ${MAX_HEADER_BYTES} bytes`,
  }),
);

/** What Node's parser finds wrong, by its code: nothing but this was read of the request. */
const clientErrors: Readonly<Record<string, readonly [status: string, code: ErrorCode, message: string]>> = {
  HPE_HEADER_OVERFLOW: [
    '431 Request Header Fields Too Large',
    'payload_too_large',
    `headers are at most ${MAX_HEADER_BYTES} bytes`,
  ],
  ERR_HTTP_REQUEST_TIMEOUT: [
    '408 Request Timeout',
    'deadline_exceeded',
    'the request did not come to its end in time',
  ],
};

/** In the form of every refusal; the connection ends with it. */
export function onClientError(error: NodeJS.ErrnoException, socket: Socket | TLSSocket): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const [status, code, message] = clientErrors[error.code ?? ''] ?? [
    '400 Bad Request',
    'invalid_request',
    'what was sent is no HTTP',
  ];
  const body = JSON.stringify({ error: code, error_description: message });
  socket.end(
    `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
}
