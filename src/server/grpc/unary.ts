import type { ServerHttp2Stream, ServerStreamResponseOptions } from 'node:http2';
import { systemClock } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import { ERROR_CODE_HEADER, errorForms, toServiceError } from '../errors.ts';
import { Gather } from '../intake/gather.ts';
import type { Uploads } from '../intake/uploads.ts';
import { LONGEST_TIMER_MS } from './deadline.ts';
import { MAX_MESSAGE_BYTES, onlyMessage, tooLarge } from './frames.ts';

/**
 * Answers a message, protobuf bytes, with a whole frame. `until` is when the caller's patience ends, in milliseconds
 * since the epoch; infinite if it has not said.
 */
export type UnaryHandler = (message: Uint8Array, until: number) => Promise<Uint8Array>;

/** As pairs in a row, which Node writes out without looking into them; there is nothing a `date` would be good for. */
const RESPONSE_HEADERS = [':status', '200', 'content-type', 'application/grpc+proto'];

/** Begins an answer that ends with trailers. */
export const begin = (stream: ServerHttp2Stream): void =>
  stream.respond(RESPONSE_HEADERS, { waitForTrailers: true, sendDate: false } as ServerStreamResponseOptions);
const NOTHING = new Uint8Array();
export const OK_TRAILERS = { 'grpc-status': '0' };

/** Serves one unary gRPC call straight on its HTTP/2 stream: what Connect does for every call, without its layers. */
export function serveUnary(
  stream: ServerHttp2Stream,
  timeoutMs: number,
  handle: UnaryHandler,
  uploads: Uploads,
  whom: string,
): void {
  const began = timeoutMs === Number.POSITIVE_INFINITY ? 0 : performance.now();
  let first: Uint8Array | undefined;
  let more: Gather | undefined;
  let timer: NodeJS.Timeout | undefined;
  const ended = (): void => {
    clearTimeout(timer);
    uploads.end(begun);
    more?.take();
    first = more = undefined;
  };
  const giveUp = (error: unknown): void => {
    ended();
    stream.removeAllListeners('data').removeAllListeners('end');
    refuseUnread(stream, error);
  };
  // Nobody reads on for as long as somebody likes to send.
  const tooSlow = (): void =>
    giveUp(new ServiceError('deadline_exceeded', 'the request did not come to its end in time'));
  const begun = uploads.begin(tooSlow);
  stream.on('data', (chunk: Uint8Array) => {
    // Nearly all fit a frame.
    if (first === undefined) {
      first = chunk;
      return;
    }
    try {
      if (!more) {
        more = new Gather(MAX_MESSAGE_BYTES, tooLarge, uploads.roomOf(whom));
        more.add(first);
        if (timeoutMs <= LONGEST_TIMER_MS) timer = setTimeout(tooSlow, timeoutMs);
      }
      more.add(chunk);
    } catch (error) {
      giveUp(error);
    }
  });
  stream.on('close', ended);
  stream.on('end', () => {
    const body = more?.take() ?? first ?? NOTHING;
    // The stream outlives its answer by a collection or two, and would keep them.
    ended();
    if (performance.now() - began >= timeoutMs)
      return fail(stream, new ServiceError('deadline_exceeded', 'the caller waits no longer'));
    // By the clock that it will be compared with, which may have been set since the process began.
    const until =
      timeoutMs === Number.POSITIVE_INFINITY
        ? timeoutMs
        : systemClock() + timeoutMs - (performance.now() - began);
    answer(stream, handle, body, until);
  });
}

/** Not async: the request's bytes are not kept while its record is committed. */
function answer(stream: ServerHttp2Stream, handle: UnaryHandler, body: Uint8Array, until: number): void {
  try {
    handle(onlyMessage(body), until).then(
      (frame) => send(stream, frame),
      (error: unknown) => fail(stream, error),
    );
  } catch (error) {
    fail(stream, error);
  }
}

function send(stream: ServerHttp2Stream, frame: Uint8Array): void {
  if (isGone(stream)) return;
  begin(stream);
  stream.once('wantTrailers', () => stream.sendTrailers(OK_TRAILERS));
  stream.end(frame);
}

/** Whether the peer has broken the stream off: closed by its reset first, destroyed a turn later; either throws. */
export const isGone = (stream: ServerHttp2Stream): boolean => stream.closed || stream.destroyed;

/** A trailers-only response. */
export function fail(stream: ServerHttp2Stream, error: unknown): void {
  if (isGone(stream) || stream.headersSent) return;
  stream.respond(
    { ':status': 200, 'content-type': 'application/grpc+proto', ...statusOf(error) },
    { endStream: true },
  );
}

/** The same for a call that is not read to its end: what is left of it is not waited for, nor kept. */
export function refuseUnread(stream: ServerHttp2Stream, error: unknown): void {
  fail(stream, error);
  stream.resume();
  stream.close();
}

/** The trailers of a failed call. */
export function statusOf(error: unknown): Record<string, string> {
  const known: ServiceError = toServiceError(error, 'grpc');
  return {
    'grpc-status': String(errorForms[known.code].grpc),
    'grpc-message': percentEncoded(`${known.code}: ${known.message}`),
    [ERROR_CODE_HEADER]: known.code,
    ...(known.retryAfterMs === undefined ? {} : { 'grpc-retry-pushback-ms': String(known.retryAfterMs) }),
  };
}

/** gRPC over HTTP/2, Responses: all but the printable characters of ASCII, and the percent sign itself. */
export const percentEncoded = (text: string): string =>
  text.toWellFormed().replace(/[^\x20-\x24\x26-\x7e]+/g, encodeURIComponent);
