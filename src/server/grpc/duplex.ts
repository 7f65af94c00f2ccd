import { ServiceError } from '../../errors.ts';
import { HeaderBlock } from '../../http2/hpack/encoder.ts';
import type { ServerStream } from '../../http2/server-stream.ts';
import { Farewells } from '../intake/farewell.ts';
import type { Begun, Uploads } from '../intake/uploads.ts';
import { LONGEST_TIMER_MS } from './deadline.ts';
import { FrameReader } from './frames.ts';
import { fail, HEAD, OK_TRAILERS, statusOf } from './unary.ts';

/** Answers each message of a stream, protobuf bytes, with a whole frame; a rejection ends the stream. */
export type MessageHandler = (message: Uint8Array) => Promise<Uint8Array>;

export interface DuplexOptions {
  readonly timeoutMs: number;
  readonly handle: MessageHandler;
  /** The frame that refuses one message by name. */
  readonly refuse: (message: Uint8Array, error: ServiceError) => Uint8Array;
  readonly uploads: Uploads;
  /** The address that sends it. */
  readonly whom: string;
  /** Aborted when the server stops: the stream is to end soon then, with nothing that was asked left open. */
  readonly stopping: AbortSignal;
}

/** How many messages of one stream are worked on at once. Beyond it the stream is not read: back-pressure. */
const MAX_OPEN = 1_024;

/** Serves one bidirectional gRPC stream straight on its HTTP/2 stream. Answers go out as they come. */
export function serveDuplex(stream: ServerStream, options: DuplexOptions): void {
  const { timeoutMs, handle, refuse, uploads, whom, stopping } = options;
  const reader = new FrameReader(uploads.roomOf(whom));
  let open = 0;
  let ended = false;
  let congested = false;
  let outgoing: Uint8Array[] = [];
  let begun: Begun | undefined;
  let timer: NodeJS.Timeout | undefined;
  /** Why it ends, once nothing more is read. */
  let stopped: ServiceError | undefined;

  const finish = (trailers: HeaderBlock): void => {
    flush();
    stream.end(trailers);
  };
  const abort = (error: unknown): void => {
    if (stream.isClosed) return;
    if (stream.hasBegun) finish(new HeaderBlock(statusOf(error)));
    else fail(stream, error);
  };
  const flow = (): void => {
    if (open >= MAX_OPEN || congested) stream.pause();
    else stream.resume();
  };
  const flush = (): void => {
    if (outgoing.length === 0 || stream.isClosed) return;
    // The answers of one commit arrive together and leave as one write.
    const bytes = outgoing.length === 1 && outgoing[0] ? outgoing[0] : Buffer.concat(outgoing);
    outgoing = [];
    congested = !stream.write(bytes);
    flow();
  };
  const answered = (frame: Uint8Array): void => {
    open -= 1;
    if (stream.isClosed) {
      // What was asked before it was broken off has an end, too.
      if (open === 0) stream.settle();
      return;
    }
    outgoing.push(frame);
    if (open === 0 && ended) finish(OK_TRAILERS);
    else if (open === 0 && stopped) finish(new HeaderBlock(statusOf(stopped)));
    else if (outgoing.length === 1) setImmediate(flush);
  };
  const failed = (error: unknown): void => {
    open -= 1;
    abort(error);
    if (open === 0) stream.settle();
  };
  const onData = (chunk: Uint8Array): void => {
    if (stopped) return;
    try {
      let isNew = reader.whole;
      // A part of a question is one that is coming.
      farewells.heard();
      for (const message of reader.push(chunk)) {
        open += 1;
        isNew = true;
        const late = farewells.heard();
        if (late) answered(refuse(message, late));
        else handle(message).then(answered, failed);
      }
      // Between two messages there may be any time, within one there may not.
      if (isNew) {
        uploads.end(begun);
        begun = reader.whole ? undefined : uploads.begin(tooSlow);
      }
      flow();
    } catch (error) {
      abort(error);
    }
  };
  const tooSlow = (): void =>
    abort(new ServiceError('deadline_exceeded', 'a message did not come to its end in time'));
  const farewells = new Farewells(stopping, (error) => {
    stopped = error;
    if (open === 0) finish(new HeaderBlock(statusOf(error)));
  });

  if (timeoutMs <= LONGEST_TIMER_MS) {
    const late = new ServiceError('deadline_exceeded', 'the caller waits no longer');
    timer = setTimeout(abort, timeoutMs, late);
  }
  stream.respond(HEAD);
  stream.receive({
    data: onData,
    end: () => {
      ended = true;
      if (!reader.whole) abort(new ServiceError('invalid_request', 'the stream ends within a message'));
      else if (open === 0) finish(OK_TRAILERS);
    },
    drained: () => {
      congested = false;
      flow();
    },
    closed: () => {
      clearTimeout(timer);
      uploads.end(begun);
      reader.drop();
      farewells[Symbol.dispose]();
      if (open === 0) stream.settle();
    },
  });
}
