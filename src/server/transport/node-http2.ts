import http2, { type ServerHttp2Stream, type ServerStreamResponseOptions } from 'node:http2';
import type { Socket } from 'node:net';
import { BOUNDS, type Limits } from '../../http2/bounds/limits.ts';
import type { ErrorCode } from '../../http2/errors.ts';
import { Fields } from '../../http2/fields.ts';
import type { HeaderBlock } from '../../http2/hpack/encoder.ts';
import { type RequestLine, readRequestLine } from '../../http2/request.ts';
import type { Receiver, ServerStream } from '../../http2/server-stream.ts';
import type { Transport, TransportOptions } from './transport.ts';

const LAST_STREAM = 2 ** 31 - 1;
const settingsOf = ({ streams, streamWindow }: Limits): http2.Settings => ({
  maxConcurrentStreams: streams,
  initialWindowSize: streamWindow,
  maxHeaderListSize: BOUNDS.headerListBytes,
  enablePush: false,
});

/**
 * The server of Node's own `http2`, as it served until Mandate spoke HTTP/2 itself: an operator's way back
 * (`MANDATE_HTTP2=node`). It is to go with the second release after.
 */
export class NodeHttp2 implements Transport {
  readonly #server: http2.Http2Server;
  readonly #sessions = new Set<http2.ServerHttp2Session>();

  constructor({ limits, accept, tooLong, patience }: TransportOptions) {
    this.#server = http2.createServer({ settings: settingsOf(limits), maxSessionMemory: 64 });
    this.#server.on('session', (session) => {
      this.#sessions.add(session);
      // A graceful end: calls under way finish, and clients connect again without a word. A ping is activity too.
      session.setTimeout(patience.unusedMs, () => session.close());
      session.once('stream', () => session.setTimeout(patience.idleMs));
      session.on('close', () => this.#sessions.delete(session));
      session.on('error', () => session.destroy());
      const widen = (known: Limits): void => {
        if (session.closed || session.destroyed) return;
        session.settings(settingsOf(known));
        session.setLocalWindowSize(known.connectionWindow);
      };
      const serve = accept({ widen }, session.socket);
      session.on('stream', (stream, _headers, _flags, raw) => {
        // A peer can break off any stream at any moment; whoever serves it sees it closed, and nobody throws.
        stream.on('error', nobodyThrows);
        const fields = new Fields();
        for (let at = 0; at < raw.length; at += 2)
          fields.put(raw[at] as string, raw[at + 1] as string, BOUNDS.headerListBytes);
        const line = readRequestLine(fields);
        if (!line) stream.close(http2.constants.NGHTTP2_PROTOCOL_ERROR);
        else if (fields.isWhole) serve(new NodeStream(stream, line, fields));
        else tooLong(new NodeStream(stream, line, fields));
      });
    });
  }

  take(socket: Socket): void {
    // The session is made while this event is emitted. Node leaves the socket of a closed session to its peer to close.
    this.#server.once('session', (session) => session.once('close', () => socket.destroySoon()));
    this.#server.emit('connection', socket);
  }

  goAway(isLast: boolean): void {
    for (const session of this.#sessions)
      if (isLast) session.close();
      else if (!session.closed && !session.destroyed) session.goaway(undefined, LAST_STREAM);
  }

  [Symbol.dispose](): void {
    for (const session of this.#sessions) session.destroy();
  }
}

/** What is left of a request that was answered early is not waited for; a reset at once would overtake the trailers. */
const RESET_MS = 100;

/** A stream of Node's as one of ours. */
class NodeStream implements ServerStream {
  readonly line: RequestLine;
  readonly fields: Fields;
  readonly #stream: ServerHttp2Stream;
  #isComplete = false;
  #isEnding = false;

  constructor(stream: ServerHttp2Stream, line: RequestLine, fields: Fields) {
    this.#stream = stream;
    this.line = line;
    this.fields = fields;
  }

  /** By the peer's reset it is closed first, and destroyed a turn later; either throws. */
  get isClosed(): boolean {
    return this.#isEnding || this.#stream.closed || this.#stream.destroyed;
  }

  get isComplete(): boolean {
    return this.#isComplete;
  }

  get hasBegun(): boolean {
    return this.#stream.headersSent;
  }

  get resetCode(): number | undefined {
    return this.#stream.aborted || this.#stream.rstCode !== 0 ? this.#stream.rstCode : undefined;
  }

  receive(receiver: Receiver): void {
    const stream = this.#stream;
    stream.on('data', (chunk: Uint8Array) => receiver.data(chunk));
    stream.on('end', () => {
      // A stream that was broken off ends too, and what came of it is no whole.
      if (stream.aborted || stream.rstCode !== 0 || this.#isEnding) return;
      this.#isComplete = true;
      receiver.end();
    });
    stream.on('drain', () => receiver.drained?.());
    stream.once('close', () => receiver.closed());
    setImmediate(() => {
      if (!this.#isComplete && !stream.endAfterHeaders && !this.isClosed) receiver.waits?.();
    });
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  inform(head: HeaderBlock): void {
    if (!this.isClosed && !this.hasBegun) this.#stream.additionalHeaders(Object.fromEntries(pairsOf(head)));
  }

  respond(head: HeaderBlock): void {
    if (this.isClosed || this.hasBegun) return;
    // As pairs in a row, which Node writes out without looking into them.
    const options = { waitForTrailers: true, sendDate: false } as ServerStreamResponseOptions;
    this.#stream.respond([...head.pairs] as never, options);
  }

  write(bytes: Uint8Array): boolean {
    return !this.isClosed && this.#stream.write(bytes);
  }

  end(trailers?: HeaderBlock): void {
    this.#finish(undefined, trailers);
  }

  answer(head: HeaderBlock, body?: Uint8Array, trailers?: HeaderBlock): void {
    if (this.isClosed || this.hasBegun) return;
    if (body !== undefined || trailers !== undefined) {
      this.respond(head);
      this.#finish(body, trailers);
      return;
    }
    this.#isEnding = true;
    this.#stream.respond([...head.pairs] as never, { endStream: true });
    this.#stream.resume();
    if (!this.#isComplete) this.#stream.close();
  }

  reset(code: ErrorCode): void {
    if (!this.#stream.destroyed) this.#stream.close(code);
  }

  settle(): void {}

  #finish(body: Uint8Array | undefined, trailers: HeaderBlock | undefined): void {
    if (this.isClosed) return;
    this.#isEnding = true;
    const stream = this.#stream;
    stream.once('wantTrailers', () => {
      stream.sendTrailers(Object.fromEntries(pairsOf(trailers)));
      if (!this.#isComplete) setTimeout(() => stream.close(), RESET_MS).unref();
    });
    stream.resume();
    stream.end(body);
  }
}

function* pairsOf(block: HeaderBlock | undefined): Generator<[string, string]> {
  const pairs = block?.pairs ?? [];
  for (let at = 0; at < pairs.length; at += 2) yield [pairs[at] as string, pairs[at + 1] as string];
}

const nobodyThrows = (): void => {};
