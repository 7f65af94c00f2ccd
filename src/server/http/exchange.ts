import type { IncomingMessage } from 'node:http';
import type { Http2ServerRequest } from 'node:http2';
import { ServiceError } from '../../errors.ts';
import { errorForms, toServiceError } from '../errors.ts';
import type { Places } from '../intake/places.ts';
import type { Uploads } from '../intake/uploads.ts';
import type { Peer } from '../peer.ts';
import { readBody } from './body.ts';

export type NodeRequest = IncomingMessage | Http2ServerRequest;
/** What is used of a response, of HTTP/1.1 and of HTTP/2 alike. */
export interface NodeResponse {
  statusCode: number;
  shouldKeepAlive?: boolean;
  readonly headersSent: boolean;
  setHeader(name: string, value: string): unknown;
  once(event: 'finish', listener: () => void): unknown;
  end(text: string): unknown;
  destroy(): unknown;
}

/** One HTTP request on a plain route, whatever the version. */
export interface HttpRequest {
  readonly method: string;
  readonly url: URL;
  readonly peer: Peer;
  readonly headers: NodeRequest['headers'];
  /** A header's value; undefined if it is not there. */
  header(name: string): string | undefined;
  /**
   * The whole body, unpacked if it is gzip, and bounded in size and time. Throws `payload_too_large`,
   * `invalid_request`, `unsupported_media_type`, `deadline_exceeded`, `cancelled`.
   */
  body(maxBytes?: number): Promise<Uint8Array>;
  /** A small body of somebody who is not known yet. Throws `resource_exhausted` too. */
  strangersBody(): Promise<Uint8Array>;
}

/** What requests are taken in with, beside themselves. */
export interface Intake {
  readonly peer: Peer;
  readonly uploads: Uploads;
  readonly anteroom: Places;
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
/** Room for a form with two tokens. */
export const MAX_STRANGERS_BYTES = 64 * 1024;

export function readRequest(raw: NodeRequest, { peer, uploads, anteroom }: Intake): HttpRequest {
  return {
    method: raw.method ?? '',
    url: urlOf(raw.url ?? '/'),
    peer,
    headers: raw.headers,
    header: (name) => {
      const value = raw.headers[name];
      return Array.isArray(value) ? value.join(', ') : value;
    },
    body: (maxBytes = MAX_BODY_BYTES) => {
      // It is asked for only once its sender is known.
      peer.welcome?.();
      return readBody(raw, maxBytes, uploads, peer.address ?? '');
    },
    strangersBody: async () => {
      using _place = anteroom.take(peer.address ?? '');
      return await readBody(raw, MAX_STRANGERS_BYTES, uploads, peer.address ?? '');
    },
  };
}

function urlOf(target: string): URL {
  const url = URL.parse(target, 'http://placeholder');
  if (!url) throw new ServiceError('invalid_request', 'the request target is no URL');
  return url;
}

export function writeResponse(raw: NodeResponse, response: HttpResponse): void {
  const text = typeof response.body === 'string' ? response.body : JSON.stringify(response.body ?? {});
  raw.statusCode = response.status;
  if (typeof response.body !== 'string') raw.setHeader('content-type', 'application/json');
  raw.setHeader('x-content-type-options', 'nosniff');
  for (const [name, value] of Object.entries(response.headers ?? {})) raw.setHeader(name, value);
  raw.end(response.status === 204 ? '' : text);
}

/** What is left of a body that is not wanted is not waited for: over HTTP/1.1 the connection ends with the answer. */
export function endWithAnswer(raw: NodeRequest, response: NodeResponse): void {
  if (raw.complete) return;
  if ('stream' in raw) {
    const { stream } = raw;
    response.once('finish', () => {
      if (!raw.complete) stream.close();
    });
  } else response.shouldKeepAlive = false;
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
