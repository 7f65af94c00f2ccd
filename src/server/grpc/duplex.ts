import type { ServerHttp2Stream } from 'node:http2';
import { ServiceError } from '../../errors.ts';
import { LONGEST_TIMER_MS } from './deadline.ts';
import { FrameReader } from './frames.ts';
import { begin, fail, isGone, OK_TRAILERS, statusOf } from './unary.ts';

/** Answers each message of a stream, protobuf bytes, with a whole frame; a rejection ends the stream. */
export type MessageHandler = (message: Uint8Array) => Promise<Uint8Array>;

/** How many messages of one stream are worked on at once. Beyond it the stream is not read: back-pressure. */
const MAX_OPEN = 1_024;

/** Serves one bidirectional gRPC stream straight on its HTTP/2 stream. Answers go out as they come. */
export function serveDuplex(stream: ServerHttp2Stream, timeoutMs: number, handle: MessageHandler): void {
  const reader = new FrameReader();
  let open = 0;
  let ended = false;
  let finished = false;
  let congested = false;
  let outgoing: Uint8Array[] = [];

  const finish = (trailers: Record<string, string>): void => {
    if (finished || isGone(stream)) return;
    finished = true;
    flush();
    stream.once('wantTrailers', () => stream.sendTrailers(trailers));
    stream.end();
  };
  const abort = (error: unknown): void => {
    stream.off('data', onData);
    stream.resume();
    if (stream.headersSent) finish(statusOf(error));
    else fail(stream, error);
  };
  const flow = (): void => {
    if (open >= MAX_OPEN || congested) stream.pause();
    else if (stream.isPaused()) stream.resume();
  };
  const flush = (): void => {
    if (outgoing.length === 0 || isGone(stream)) return;
    // The answers of one commit arrive together and leave as one write.
    const bytes = outgoing.length === 1 && outgoing[0] ? outgoing[0] : Buffer.concat(outgoing);
    outgoing = [];
    congested = !stream.write(bytes);
    flow();
  };
  const answered = (frame: Uint8Array): void => {
    open -= 1;
    if (finished) return;
    outgoing.push(frame);
    if (ended && open === 0) finish(OK_TRAILERS);
    else if (outgoing.length === 1) setImmediate(flush);
  };
  const onData = (chunk: Uint8Array): void => {
    try {
      for (const message of reader.push(chunk)) {
        open += 1;
        handle(message).then(answered, abort);
      }
      flow();
    } catch (error) {
      abort(error);
    }
  };

  if (timeoutMs <= LONGEST_TIMER_MS) {
    const late = new ServiceError('deadline_exceeded', 'the caller waits no longer');
    const timer = setTimeout(abort, timeoutMs, late);
    stream.once('close', () => clearTimeout(timer));
  }
  stream.on('drain', () => {
    congested = false;
    flow();
  });
  stream.on('end', () => {
    ended = true;
    if (!reader.whole) abort(new ServiceError('invalid_request', 'the stream ends within a message'));
    else if (open === 0) finish(OK_TRAILERS);
  });
  stream.on('data', onData);
  if (!isGone(stream)) begin(stream);
}
