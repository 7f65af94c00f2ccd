import type { ErrorCode } from './errors.ts';
import type { Fields } from './fields.ts';
import type { HeaderBlock } from './hpack/encoder.ts';
import type { RequestLine } from './request.ts';

/** What a handler hears of a request. All of it is called by the connection; what throws there resets the stream. */
export interface Receiver {
  /** A part of the body, never empty; a view of what was read from the socket at once, which it keeps. */
  data(chunk: Uint8Array): void;
  /** The request has come to its end, whole. */
  end(): void;
  /** Once: answered and read, or given up by either side, or the connection is over. Nothing can be sent any more. */
  closed(): void;
  /** After `write` answered false: it may go on. */
  drained?(): void;
  /** Once, unless the request's end came along with its header section: what is missing takes its sender's time. */
  waits?(): void;
}

/**
 * One request and its answer (RFC 9113 section 8.1). It is handed over with its header section read and checked; nothing
 * of its body is read before there is a receiver. Its handler must end it, by `end`, `answer`, `reset` or, where it is
 * closed already, `settle`: until then it counts as open, so that nobody starts work by asking and giving up.
 */
export interface ServerStream {
  readonly line: RequestLine;
  readonly fields: Fields;
  /** Nothing can be sent any more. */
  readonly isClosed: boolean;
  /** The request was read to its end. */
  readonly isComplete: boolean;
  /** The answer's header section is out. */
  readonly hasBegun: boolean;
  /** How it was given up, by either side; undefined for one that was not. */
  readonly resetCode: number | undefined;

  receive(receiver: Receiver): void;
  /** No more `data` and `end` until `resume`; what comes meanwhile is held up to the window, which is not opened. */
  pause(): void;
  resume(): void;

  /** An interim response (RFC 9110 section 15.2), before the one that answers. */
  inform(head: HeaderBlock): void;
  respond(head: HeaderBlock): void;
  /** False where it waits for the peer: `drained` says when not. Kept until it is sent; not to be changed. */
  write(bytes: Uint8Array): boolean;
  /** What is left of the request is not read: the peer is told, after the answer, to send no more of it. */
  end(trailers?: HeaderBlock): void;
  /** An answer whole: `respond`, `write` and `end` in one. */
  answer(head: HeaderBlock, body?: Uint8Array, trailers?: HeaderBlock): void;
  reset(code: ErrorCode): void;
  settle(): void;
}
