import type { Socket } from 'node:net';
import { Gone } from './bounds/gone.ts';
import { Holding } from './bounds/holding.ts';
import type { Bounds, Budget, Limits } from './bounds/limits.ts';
import { Patience } from './bounds/patience.ts';
import { Vigil } from './bounds/vigil.ts';
import { ConnectionError, ErrorCode } from './errors.ts';
import type { Fields } from './fields.ts';
import { HpackDecoder } from './hpack/decoder.ts';
import type { HeaderBlock } from './hpack/encoder.ts';
import { areTrailers, readRequestLine } from './request.ts';
import { Sending } from './sending.ts';
import type { ServerStream } from './server-stream.ts';
import { type Carrier, Stream } from './stream.ts';
import { ReceiveWindow } from './window.ts';
import {
  checkGoAway,
  checkPing,
  checkPriority,
  checkSettings,
  protocol,
  readHeaders,
  readWindowUpdate,
  size,
  unpadded,
} from './wire/frame-bodies.ts';
import { FrameReader, type FrameSink } from './wire/frame-reader.ts';
import { FrameWriter } from './wire/frame-writer.ts';
import { FIRST_WINDOW, Flag, MAX_STREAM_ID, PREFACE, Type, uint32 } from './wire/frames.ts';
import { HeaderBlocks } from './wire/header-blocks.ts';
import { Output } from './wire/output.ts';
import { PeerSettings } from './wire/peer-settings.ts';

/** How a connection was ended from this side, or by a fault of its peer. */
export interface End {
  readonly code: ErrorCode;
  readonly reason: string;
}

export interface ConnectionOptions {
  readonly limits: Limits;
  readonly bounds: Bounds;
  readonly budget: Budget;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  readonly serve: (stream: ServerStream) => void;
  /** For a request whose header section is longer than is taken: its fields are the first of them. */
  readonly tooLong: (stream: ServerStream) => void;
  /** A handler threw. */
  readonly failed: (error: unknown) => void;
  readonly onEnd: (end: End) => void;
}

/** What is read and dropped of a connection that is over. */
const LINGER_BYTES = 1024 * 1024;

/** One HTTP/2 connection of a client (RFC 9113), on a socket that is read and written by nobody else. */
export class Connection implements Carrier, FrameSink {
  readonly #socket: Socket;
  readonly #options: ConnectionOptions;
  readonly output: Output;
  readonly sending: Sending;
  readonly #reader = new FrameReader(this);
  readonly #blocks: HeaderBlocks;
  readonly #decoder = new HpackDecoder();
  readonly #writer: FrameWriter;
  readonly #peer = new PeerSettings();
  readonly #patience: Patience;
  readonly #holding: Holding;
  readonly #window = new ReceiveWindow(FIRST_WINDOW);
  #limits: Limits;

  readonly #streams = new Map<number, Stream>();
  readonly #gone = new Gone();
  /** The last stream that was taken, and the highest that was heard of: more, once it takes none any more. */
  #lastId = 0;
  #highestId = 0;
  /** Streams that are not closed, or whose handler has not come to its end. */
  #open = 0;
  /** Of this turn: those that began, and those that were answered before they were read. */
  #fresh: Stream[] = [];
  #early: Stream[] = [];

  #prefaceRead = 0;
  #isGreeted = false;
  /** We take no more requests; the peer will have no more. */
  #isLeaving = false;
  #isLeft = false;
  #isOver = false;
  #isClosed = false;

  readonly #vigil: Vigil;
  #frames = 0;
  #dropped = 0;

  constructor(socket: Socket, options: ConnectionOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#limits = options.limits;
    this.#vigil = new Vigil(options.bounds, options.now());
    this.#patience = new Patience(options.now);
    this.#holding = new Holding(options.budget, options.bounds.unsentBytes);
    this.#blocks = new HeaderBlocks(options.bounds, this.#holding);
    this.sending = new Sending({
      socket,
      holding: this.#holding,
      overrun: () => this.#discard('too much waits to be read'),
    });
    this.output = new Output(socket, this.#endTurn, () => this.sending.onFlush(this.output));
    this.#writer = new FrameWriter(this.output);
    this.#tellSettings();
    this.#openConnectionWindow();
    socket.on('data', this.#onData);
    socket.on('error', nobodyThrows);
    // What is answered goes out also to who has sent its last; Node would end our half at once.
    socket.allowHalfOpen = true;
    socket.on('end', () => {
      this.#closeStreams(ErrorCode.CANCEL);
      if (!this.#isOver) this.#leave();
    });
    socket.on('close', () => this.#onClose());
  }

  /** Nothing is read or begun any more. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Streams that are not closed, or whose handler works on. */
  get open(): number {
    return this.#open;
  }

  /** More room for a peer, from now on. */
  widen(limits: Limits): void {
    if (this.#isOver) return;
    this.#limits = limits;
    this.#tellSettings();
    this.#openConnectionWindow();
    for (const stream of this.#streams.values()) stream.widen(limits.streamWindow);
  }

  /** Somebody has asked on it, and may go on. */
  get isInUse(): boolean {
    return this.#lastId !== 0 && !this.#isOver && !this.#isLeaving;
  }

  /**
   * Two steps (RFC 9113 section 6.8): first that it takes no more, with room for what is on its way, and then, when its
   * client has heard it, which stream was the last. It ends with the last answer.
   */
  goAway(isLast: boolean): void {
    if (this.#isOver || this.#isLeaving) return;
    this.#isLeaving = isLast;
    this.#writer.goAway(isLast ? this.#lastId : MAX_STREAM_ID, ErrorCode.NO_ERROR, '');
    this.#finishIfDone();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** Looks at what takes too long; about once a second. */
  sweep(now: number): void {
    const vigil = this.#vigil;
    vigil.look(this.#socket.bytesRead, this.output, now);
    if (this.#open > 0) vigil.isBusy(now);
    if (this.sending.isReadPaused) vigil.excuse(now);
    if (this.#isOver) {
      if (vigil.hasLingered(this.output, now)) this.destroy();
      return;
    }
    if (vigil.isUnread(now)) return this.#discard('nothing of what waits is read');
    try {
      vigil.check(this.#isGreeted, now);
    } catch (error) {
      return this.#endBy(error);
    }
    if (this.#open === 0) {
      if (vigil.isIdle(this.#lastId !== 0, now)) this.goAway(true);
      return;
    }
    const { unreadMs } = this.#options.bounds;
    for (const stream of this.#streams.values()) {
      if (!stream.isUnread) stream.stalledSince = 0;
      else if (stream.stalledSince === 0) stream.stalledSince = now;
      else if (now - stream.stalledSince >= unreadMs) this.reset(stream, ErrorCode.CANCEL);
    }
  }

  // What streams call.

  writeHead(id: number, block: HeaderBlock, flags: number): void {
    this.#writer.head(id, block, flags);
  }

  read(bytes: number): void {
    const more = this.#window.give(bytes);
    if (more > 0 && !this.#isOver) this.windowUpdate(0, more);
  }

  windowUpdate(id: number, bytes: number): void {
    this.#writer.windowUpdate(id, bytes);
  }

  hold(bytes: number): boolean {
    return this.#holding.change(bytes);
  }

  sent(): void {
    this.#patience.earn();
  }

  answeredEarly(stream: Stream): void {
    this.#early.push(stream);
  }

  failed(error: unknown): void {
    this.#options.failed(error);
  }

  closed(stream: Stream): void {
    this.#streams.delete(stream.id);
    this.sending.forget(stream);
    if (stream.isRemoteOver) this.#gone.closed(stream.id);
  }

  released(): void {
    this.#open -= 1;
    this.#finishIfDone();
  }

  /** Ours are counted too: what makes us give up many streams costs its sender as little as giving them up. */
  reset(stream: Stream, code: ErrorCode): void {
    if (this.#isOver) return stream.close(code);
    this.#writeReset(stream.id, code);
    stream.close(code);
    if (code !== ErrorCode.NO_ERROR && !this.#patience.take('reset'))
      this.#fail(ErrorCode.ENHANCE_YOUR_CALM, 'too many streams are given up');
  }

  // What is read.

  readonly #onData = (chunk: Buffer): void => {
    if (this.#isOver) {
      this.#dropped += chunk.length;
      if (this.#dropped > LINGER_BYTES) this.destroy();
      return;
    }
    this.output.isHeld = true;
    try {
      const rest = this.#prefaceRead < PREFACE.length ? this.#readPreface(chunk) : chunk;
      const before = this.#frames;
      if (rest.length > 0) this.#reader.push(rest);
      // Each frame that comes whole begins the time anew.
      if (this.#reader.isWhole && !this.#blocks.isOpen) this.#vigil.isBetween();
      else this.#vigil.isWithin(this.#frames !== before, this.#options.now);
    } catch (error) {
      this.#endBy(error);
    }
    this.output.isHeld = false;
    this.#endTurn();
    this.output.flush();
  };

  /** Section 3.4. */
  #readPreface(chunk: Buffer): Buffer {
    const length = Math.min(PREFACE.length - this.#prefaceRead, chunk.length);
    const expected = PREFACE.subarray(this.#prefaceRead, this.#prefaceRead + length);
    if (!chunk.subarray(0, length).equals(expected))
      throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'no connection preface');
    this.#prefaceRead += length;
    return chunk.subarray(length);
  }

  onFrame(type: number, flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    this.#frames += 1;
    if (!this.#isGreeted) this.#greet(type, flags);
    // Section 6.10: nothing comes between the parts of a header block.
    if (this.#blocks.isOpen && type !== Type.CONTINUATION) throw protocol('a header block is broken off');
    switch (type) {
      case Type.DATA:
        return this.#onDataFrame(flags, id, bytes, from, to);
      case Type.HEADERS:
        return this.#onHeaders(flags, id, bytes, from, to);
      case Type.CONTINUATION: {
        const block = this.#blocks.continue(flags, id, bytes, from, to);
        if (block) this.#onBlock(id, this.#blocks.endsStream, false, block, 0, block.length);
        return;
      }
      case Type.WINDOW_UPDATE:
        return this.#onWindowUpdate(id, bytes, from, to);
      case Type.RST_STREAM:
        return this.#onReset(id, bytes, from, to);
      case Type.SETTINGS:
        return this.#onSettings(flags, id, bytes, from, to);
      case Type.PING:
        return this.#onPing(flags, id, bytes, from, to);
      case Type.PRIORITY:
        checkPriority(id, bytes, from, to);
        return this.#bear('idle');
      case Type.GOAWAY:
        checkGoAway(id, from, to);
        // It is about streams that we would begin: none. What it still asks is answered.
        this.#isLeft = true;
        this.#bear('idle');
        return this.#finishIfDone();
      case Type.PUSH_PROMISE:
        throw protocol('a client pushes nothing');
      default:
        // Section 4.1: what is not known is left.
        this.#bear('idle');
    }
  }

  #greet(type: number, flags: number): void {
    if (type !== Type.SETTINGS || flags & Flag.ACK) throw protocol('the preface is not followed by SETTINGS');
    this.#isGreeted = true;
  }

  /** Section 6.1. */
  #onDataFrame(flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    if (id === 0) throw protocol('DATA without a stream');
    const counted = to - from;
    const [start, end] = unpadded(flags, bytes, from, to);
    if (!this.#window.take(counted))
      throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, 'more than the window of the connection');
    const isEnd = (flags & Flag.END_STREAM) !== 0;
    if (end === start && !isEnd) this.#bear('empty');
    const stream = this.#streams.get(id);
    if (!stream || stream.isRemoteOver) {
      this.read(counted);
      return this.#late(id);
    }
    let wrong = stream.onData(bytes, start, end, counted);
    // Of a stream that is given up for it, it is read all the same.
    if (wrong !== undefined) this.read(counted);
    if (isEnd && wrong === undefined) wrong = stream.onEnd();
    if (wrong !== undefined) this.reset(stream, wrong);
  }

  /** Throws for what stands on a stream that nobody began (section 5.1), as a server's own are none. */
  #checkBegun(id: number): void {
    if (id === 0 || id % 2 === 0 || id > this.#highestId)
      throw protocol('a frame on a stream that was not begun');
  }

  /** It came after the last one that its client was told of. */
  #isIgnored(id: number): boolean {
    return id > this.#lastId;
  }

  /** What comes on a stream that is over. If we gave it up, this was on its way (section 5.1), and goes for nothing. */
  #late(id: number): void {
    this.#checkBegun(id);
    if (this.#isIgnored(id) || this.#gone.wasGivenUp(id)) return;
    const stream = this.#streams.get(id);
    if (stream) return this.reset(stream, ErrorCode.STREAM_CLOSED);
    this.#refuse(id, ErrorCode.STREAM_CLOSED);
  }

  /** Section 6.2. */
  #onHeaders(flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    const body = readHeaders(flags, id, bytes, from, to);
    const endsStream = (flags & Flag.END_STREAM) !== 0;
    if (flags & Flag.END_HEADERS) this.#onBlock(id, endsStream, body.isOwnParent, bytes, body.from, body.to);
    else this.#blocks.begin(id, endsStream, bytes, body.from, body.to);
  }

  /** A whole header block. It is decoded whatever becomes of it: the decoder must see them all. */
  #onBlock(id: number, endsStream: boolean, isOwn: boolean, bytes: Buffer, from: number, to: number): void {
    const fields = this.#decoder.decode(bytes, from, to, this.#options.bounds.headerListBytes);
    const stream = this.#streams.get(id);
    if (stream) return this.#onTrailers(stream, endsStream, fields);
    if (id <= this.#highestId) {
      // Its trailers were on their way.
      if (this.#isIgnored(id) || this.#gone.wasGivenUp(id)) return this.#bear('idle');
      throw new ConnectionError(
        this.#gone.wasClosed(id) ? ErrorCode.STREAM_CLOSED : ErrorCode.PROTOCOL_ERROR,
        'a stream begins that was before',
      );
    }
    this.#highestId = id;
    // Section 6.8: its client was told which is the last.
    if (this.#isLeaving) return this.#bear('idle');
    this.#lastId = id;
    if (this.#open >= this.#limits.streams) return this.#refuse(id, ErrorCode.REFUSED_STREAM);
    const line = fields.isWhole ? readRequestLine(fields) : TOO_LONG;
    // Section 5.3.1 of RFC 7540: a stream cannot depend on itself.
    if (!line || isOwn) return this.#refuse(id, ErrorCode.PROTOCOL_ERROR);
    this.#begin(
      new Stream(this, id, line, fields, this.#limits.streamWindow, this.#peer.streamWindow),
      endsStream,
    );
  }

  #begin(stream: Stream, endsStream: boolean): void {
    this.#streams.set(stream.id, stream);
    this.#open += 1;
    if (!endsStream) this.#fresh.push(stream);
    const { serve, tooLong } = this.#options;
    try {
      if (stream.line === TOO_LONG) tooLong(stream);
      else serve(stream);
    } catch (error) {
      this.failed(error);
      stream.reset(ErrorCode.INTERNAL_ERROR);
    }
    const wrong = endsStream ? stream.onEnd() : undefined;
    if (wrong !== undefined) this.reset(stream, wrong);
  }

  /** Section 8.1: trailers end the stream, and say nothing that anybody here asks for. */
  #onTrailers(stream: Stream, endsStream: boolean, fields: Fields): void {
    if (stream.isRemoteOver) return this.#late(stream.id);
    if (!endsStream || !fields.isWhole || !areTrailers(fields))
      return this.reset(stream, ErrorCode.PROTOCOL_ERROR);
    const wrong = stream.onEnd();
    if (wrong !== undefined) this.reset(stream, wrong);
  }

  /** Section 6.4. */
  #onReset(id: number, bytes: Buffer, from: number, to: number): void {
    if (to - from !== 4) throw size('RST_STREAM');
    this.#checkBegun(id);
    const stream = this.#streams.get(id);
    this.#bear(stream ? 'reset' : 'idle');
    if (!stream) return;
    this.#gone.closed(id);
    stream.close(uint32(bytes, from));
  }

  /** Section 6.5. */
  #onSettings(flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    if (checkSettings(flags, id, from, to)) {
      if (this.#vigil.acknowledged()) return;
      throw protocol('SETTINGS were not sent, and are acknowledged');
    }
    this.#bear('settings');
    const before = this.#peer.streamWindow;
    this.#peer.read(bytes, from, to);
    this.#writer.limitTable(this.#peer.headerTableBytes);
    this.#writer.settingsAcknowledged();
    const more = this.#peer.streamWindow - before;
    // Section 6.9.2: all windows move along, and may so become negative.
    if (more === 0) return;
    for (const stream of this.#streams.values())
      if (!stream.openWindow(more))
        throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, 'a window larger than 2^31-1');
  }

  /** Section 6.7. */
  #onPing(flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    checkPing(id, from, to);
    if (flags & Flag.ACK) return this.#bear('idle');
    this.#bear('ping');
    this.#writer.pong(bytes, from, to);
  }

  /** Section 6.9. */
  #onWindowUpdate(id: number, bytes: Buffer, from: number, to: number): void {
    const more = readWindowUpdate(bytes, from, to);
    this.#bear('window');
    if (id === 0) {
      if (more === 0) throw protocol('a window that opens by nothing');
      if (!this.sending.open(more))
        throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, 'a window larger than 2^31-1');
      return;
    }
    this.#checkBegun(id);
    const stream = this.#streams.get(id);
    // It may have been on its way when the stream ended (section 5.1).
    if (!stream) return this.#bear('idle');
    if (more === 0) return this.reset(stream, ErrorCode.PROTOCOL_ERROR);
    if (!stream.openWindow(more)) this.reset(stream, ErrorCode.FLOW_CONTROL_ERROR);
  }

  // What is sent.

  #tellSettings(): void {
    this.#writer.settings(this.#limits, this.#options.bounds.headerListBytes);
    this.#vigil.toldSettings(this.#options.now());
  }

  #openConnectionWindow(): void {
    const more = this.#window.grow(this.#limits.connectionWindow);
    if (more > 0) this.windowUpdate(0, more);
  }

  #refuse(id: number, code: ErrorCode): void {
    this.#writeReset(id, code);
    this.#bear('reset');
  }

  #writeReset(id: number, code: ErrorCode): void {
    this.#gone.givenUp(id);
    this.#writer.reset(id, code);
  }

  readonly #endTurn = (): void => {
    if (this.#fresh.length > 0) {
      const fresh = this.#fresh;
      this.#fresh = [];
      for (const stream of fresh) stream.onTurnEnd();
    }
    if (this.#early.length > 0) {
      const early = this.#early;
      this.#early = [];
      // Section 8.1: what is left of the request is not wanted. It is no fault of anybody.
      for (const stream of early) if (!this.#isOver) this.#endEarly(stream);
    }
  };

  #endEarly(stream: Stream): void {
    if (stream.isRemoteOver || !this.#streams.has(stream.id)) return;
    this.reset(stream, ErrorCode.NO_ERROR);
  }

  // How it ends.

  /** One of something that costs its sender nothing. Throws where it was one too many. */
  #bear(kind: Parameters<Patience['take']>[0]): void {
    if (this.#patience.take(kind)) return;
    throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, `too many frames of a kind: ${kind}`);
  }

  #finishIfDone(): void {
    if (this.#isOver || this.#open > 0 || this.#streams.size > 0) return;
    if (this.#isLeaving) return this.#leave();
    if (this.#isLeft) this.goAway(true);
  }

  #endBy(error: unknown): void {
    if (error instanceof ConnectionError) return this.#fail(error.code, error.message);
    this.failed(error);
    this.#fail(ErrorCode.INTERNAL_ERROR, '');
  }

  /** Section 5.4.1. */
  #fail(code: ErrorCode, reason: string): void {
    if (this.#isOver) return;
    this.#options.onEnd({ code, reason });
    this.#writer.goAway(this.#lastId, code, reason);
    this.#leave();
    this.#closeStreams(code);
  }

  /** Its peer takes nothing: there is no use in a last word. */
  #discard(reason: string): void {
    if (this.#isOver) return;
    this.#options.onEnd({ code: ErrorCode.ENHANCE_YOUR_CALM, reason });
    this.#isOver = true;
    this.destroy();
  }

  /**
   * Everything has been said. What still comes is read for a moment and dropped: a socket that is closed with bytes
   * unread is reset, and the last word may be lost with it.
   */
  #leave(): void {
    this.#isOver = true;
    this.#vigil.isOver(this.#options.now());
    this.output.end();
    this.#socket.resume();
  }

  #closeStreams(code: ErrorCode): void {
    for (const stream of this.#streams.values()) stream.close(code);
  }

  #onClose(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#isOver = true;
    this.#closeStreams(ErrorCode.CANCEL);
    this.#blocks.drop();
    this.#holding.release();
  }
}

/** Stands for a request whose fields are not all there. */
const TOO_LONG = { method: '', scheme: '', authority: undefined, path: '', contentLength: undefined };

const nobodyThrows = (): void => {};
