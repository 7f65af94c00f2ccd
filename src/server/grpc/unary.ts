import { systemClock } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import { HeaderBlock } from '../../http2/hpack/encoder.ts';
import type { Receiver, ServerStream } from '../../http2/server-stream.ts';
import { ERROR_CODE_HEADER, errorForms, toServiceError } from '../errors.ts';
import { Gather } from '../intake/gather.ts';
import type { Begun, Uploads } from '../intake/uploads.ts';
import { LONGEST_TIMER_MS } from './deadline.ts';
import { MAX_MESSAGE_BYTES, onlyMessage, tooLarge } from './frames.ts';

/**
 * Answers a message, protobuf bytes, with a whole frame. `until` is when the caller's patience ends, in milliseconds
 * since the epoch; infinite if it has not said.
 */
export type UnaryHandler = (message: Uint8Array, until: number) => Promise<Uint8Array>;

const RESPONSE_HEADERS = [
  [':status', '200'],
  ['content-type', 'application/grpc+proto'],
] as const;
/** There is nothing a `date` would be good for. */
export const HEAD = new HeaderBlock(RESPONSE_HEADERS);
export const OK_TRAILERS = new HeaderBlock([['grpc-status', '0']]);
const NOTHING = new Uint8Array();

/** Serves one unary gRPC call straight on its HTTP/2 stream: what Connect does for every call, without its layers. */
export function serveUnary(
  stream: ServerStream,
  timeoutMs: number,
  handle: UnaryHandler,
  uploads: Uploads,
  whom: string,
): void {
  stream.receive(new UnaryCall(stream, timeoutMs, handle, uploads, whom));
}

class UnaryCall implements Receiver {
  readonly #stream: ServerStream;
  readonly #timeoutMs: number;
  readonly #handle: UnaryHandler;
  readonly #uploads: Uploads;
  readonly #whom: string;
  readonly #began: number;
  #first: Uint8Array | undefined;
  #more: Gather | undefined;
  #begun: Begun | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(stream: ServerStream, timeoutMs: number, handle: UnaryHandler, uploads: Uploads, whom: string) {
    this.#stream = stream;
    this.#timeoutMs = timeoutMs;
    this.#handle = handle;
    this.#uploads = uploads;
    this.#whom = whom;
    this.#began = timeoutMs === Number.POSITIVE_INFINITY ? 0 : performance.now();
  }

  data(chunk: Uint8Array): void {
    // Nearly all fit a frame.
    if (this.#first === undefined) {
      this.#first = chunk;
      return;
    }
    try {
      if (!this.#more) {
        this.#more = new Gather(MAX_MESSAGE_BYTES, tooLarge, this.#uploads.roomOf(this.#whom));
        this.#more.add(this.#first);
      }
      this.#more.add(chunk);
    } catch (error) {
      this.#giveUp(error);
    }
  }

  /** Nobody reads on for as long as somebody likes to send. */
  waits(): void {
    const tooSlow = (): void =>
      this.#giveUp(new ServiceError('deadline_exceeded', 'the request did not come to its end in time'));
    this.#begun = this.#uploads.begin(tooSlow);
    if (this.#timeoutMs <= LONGEST_TIMER_MS) this.#timer = setTimeout(tooSlow, this.#timeoutMs);
  }

  end(): void {
    const body = this.#more?.take() ?? this.#first ?? NOTHING;
    this.#forget();
    const timeoutMs = this.#timeoutMs;
    if (timeoutMs === Number.POSITIVE_INFINITY) return this.#answer(body, timeoutMs);
    const leftMs = timeoutMs - (performance.now() - this.#began);
    if (leftMs <= 0)
      return fail(this.#stream, new ServiceError('deadline_exceeded', 'the caller waits no longer'));
    // By the clock that it will be compared with, which may have been set since the process began.
    this.#answer(body, systemClock() + leftMs);
  }

  closed(): void {
    this.#forget();
  }

  /** Not async: the request's bytes are not kept while its record is committed. */
  #answer(body: Uint8Array, until: number): void {
    const stream = this.#stream;
    try {
      this.#handle(onlyMessage(body), until).then(
        (frame) => stream.answer(HEAD, frame, OK_TRAILERS),
        (error: unknown) => fail(stream, error),
      );
    } catch (error) {
      fail(stream, error);
    }
  }

  #giveUp(error: unknown): void {
    this.#forget();
    fail(this.#stream, error);
  }

  #forget(): void {
    clearTimeout(this.#timer);
    this.#uploads.end(this.#begun);
    this.#more?.take();
    this.#first = this.#more = undefined;
  }
}

/** A trailers-only response. What is left of the request is not waited for, nor kept. */
export function fail(stream: ServerStream, error: unknown): void {
  if (stream.isClosed || stream.hasBegun) return stream.settle();
  stream.answer(new HeaderBlock([...RESPONSE_HEADERS, ...statusOf(error)]));
}

/** The trailers of a failed call. */
export function* statusOf(error: unknown): Generator<readonly [name: string, value: string]> {
  const known: ServiceError = toServiceError(error, 'grpc');
  yield ['grpc-status', String(errorForms[known.code].grpc)];
  yield ['grpc-message', percentEncoded(`${known.code}: ${known.message}`)];
  yield [ERROR_CODE_HEADER, known.code];
  if (known.retryAfterMs !== undefined) yield ['grpc-retry-pushback-ms', String(known.retryAfterMs)];
}

/** gRPC over HTTP/2, Responses: all but the printable characters of ASCII, and the percent sign itself. */
export const percentEncoded = (text: string): string =>
  text.toWellFormed().replace(/[^\x20-\x24\x26-\x7e]+/g, encodeURIComponent);
