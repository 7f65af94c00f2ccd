import { ServiceError } from '../../errors.ts';
import { errorForms, toServiceError } from '../errors.ts';
import type { Names } from '../intake/hosts.ts';
import type { Places } from '../intake/places.ts';
import type { Uploads } from '../intake/uploads.ts';
import type { Peer } from '../peer.ts';
import type { Exchange } from '../transport/exchange.ts';
import { readBody } from './body.ts';

/** One HTTP request on a plain route, whatever the version. */
export interface HttpRequest {
  readonly method: string;
  readonly url: URL;
  readonly peer: Peer;
  readonly names: Names;
  readonly headers: Exchange['headers'];
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

/** What requests are taken in with. */
export interface Intake {
  readonly uploads: Uploads;
  readonly anteroom: Places;
}

export interface HttpResponse {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON, unless it is a string or bytes. */
  readonly body?: unknown;
}

export type HttpHandler = (
  request: HttpRequest,
  parameters: Readonly<Record<string, string>>,
) => Promise<HttpResponse>;

/** How far the state of its tenant was when an answer was made: a number for `CheckRequest.at_least`. */
export const STATE_VERSION_HEADER = 'mandate-state-version';

/** A plain route's bodies are small; batches have their own service. */
export const MAX_BODY_BYTES = 1024 * 1024;
/** Room for a form with two tokens. */
export const MAX_STRANGERS_BYTES = 64 * 1024;

export function readRequest(exchange: Exchange, { uploads, anteroom }: Intake): HttpRequest {
  const { method, peer, headers } = exchange;
  return {
    method,
    url: urlOf(exchange.url),
    peer,
    names: namesIn(exchange),
    headers,
    header: (name) => headerOf(exchange, name),
    body: (maxBytes = MAX_BODY_BYTES) => {
      // It is asked for only once its sender is known.
      peer.welcome?.();
      return readBody(exchange, maxBytes, uploads, peer.address ?? '');
    },
    strangersBody: async () => {
      using _place = anteroom.take(peer.address ?? '');
      return await readBody(exchange, MAX_STRANGERS_BYTES, uploads, peer.address ?? '');
    },
  };
}

function urlOf(target: string): URL {
  const url = URL.parse(target, 'http://placeholder');
  if (!url) throw new ServiceError('invalid_request', 'the request target is no URL');
  return url;
}

export const namesIn = (exchange: Exchange): Names => ({
  authority: exchange.authority,
  host: headerOf(exchange, 'host'),
  origin: headerOf(exchange, 'origin'),
});

export function headerOf({ headers }: Exchange, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
}

/** What a caller names in X-Request-ID goes back to it with every answer (AuthZEN 1.0). */
export function writeResponse(exchange: Exchange, { status, headers, body }: HttpResponse): void {
  const fields = new Headers(headers);
  const isWhole = typeof body === 'string' || body instanceof Uint8Array;
  if (!isWhole) fields.set('content-type', 'application/json');
  fields.set('x-content-type-options', 'nosniff');
  const requestId = headerOf(exchange, 'x-request-id');
  if (requestId !== undefined) fields.set('x-request-id', requestId);
  const sent = isWhole ? body : JSON.stringify(body ?? {});
  exchange.answer(status, fields, status === 204 ? '' : sent);
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
