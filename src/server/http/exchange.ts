import type { IncomingMessage } from 'node:http';
import type { Http2ServerRequest } from 'node:http2';
import { ServiceError } from '../../errors.ts';
import { errorForms, toServiceError } from '../errors.ts';
import type { Peer } from '../peer.ts';

export type NodeRequest = IncomingMessage | Http2ServerRequest;
/** What is used of a response, of HTTP/1.1 and of HTTP/2 alike. */
export interface NodeResponse {
  statusCode: number;
  shouldKeepAlive?: boolean;
  readonly headersSent: boolean;
  setHeader(name: string, value: string): unknown;
  end(text: string): unknown;
  destroy(): unknown;
}

/** One HTTP request on a plain route, whatever the version. */
export interface HttpRequest {
  readonly method: string;
  readonly url: URL;
  readonly peer: Peer;
  /** A header's value; undefined if it is not there. */
  header(name: string): string | undefined;
  /** The whole body, bounded. Throws `payload_too_large`. */
  body(maxBytes?: number): Promise<Uint8Array>;
}

export interface HttpResponse {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON, unless it is a string. */
  readonly body?: unknown;
}

export type HttpHandler = (
  request: HttpRequest,
  parameters: Readonly<Record<string, string>>,
) => Promise<HttpResponse>;

/** A plain route's bodies are small; batches have their own service. */
export const MAX_BODY_BYTES = 1024 * 1024;

export function readRequest(raw: NodeRequest, peer: Peer): HttpRequest {
  return {
    method: raw.method ?? '',
    url: urlOf(raw.url ?? '/'),
    peer,
    header: (name) => {
      const value = raw.headers[name];
      return Array.isArray(value) ? value.join(', ') : value;
    },
    body: (maxBytes = MAX_BODY_BYTES) => readBody(raw, maxBytes),
  };
}

function urlOf(target: string): URL {
  const url = URL.parse(target, 'http://placeholder');
  if (!url) throw new ServiceError('invalid_request', 'the request target is no URL');
  return url;
}

async function readBody(raw: NodeRequest, maxBytes: number): Promise<Uint8Array> {
  const tooLarge = new ServiceError('payload_too_large', `a body is at most ${maxBytes} bytes`);
  if (Number(raw.headers['content-length'] ?? 0) > maxBytes) throw tooLarge;
  const chunks: Uint8Array[] = [];
  let size = 0;
  // Leaving the loop must not destroy the request: the refusal goes out on the same connection.
  for await (const chunk of raw.iterator({ destroyOnReturn: false })) {
    size += (chunk as Uint8Array).length;
    if (size > maxBytes) throw tooLarge;
    chunks.push(chunk as Uint8Array);
  }
  return chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks);
}

export function writeResponse(raw: NodeResponse, response: HttpResponse): void {
  const text = typeof response.body === 'string' ? response.body : JSON.stringify(response.body ?? {});
  raw.statusCode = response.status;
  if (typeof response.body !== 'string') raw.setHeader('content-type', 'application/json');
  raw.setHeader('x-content-type-options', 'nosniff');
  for (const [name, value] of Object.entries(response.headers ?? {})) raw.setHeader(name, value);
  raw.end(response.status === 204 ? '' : text);
}

/** An error in the form of the plain routes: `{"error": code, "error_description": message}`. */
export function errorResponse(error: unknown, where: string): HttpResponse {
  const known = toServiceError(error, where);
  return {
    status: errorForms[known.code].http,
    headers: {
      ...(known.retryAfterMs === undefined
        ? {}
        : { 'retry-after': String(Math.ceil(known.retryAfterMs / 1000)) }),
      ...(known.code === 'unauthenticated' ? { 'www-authenticate': 'Bearer' } : {}),
    },
    body: { error: known.code, error_description: known.message },
  };
}
