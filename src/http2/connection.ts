import type { Socket } from 'node:net';
import { ConnectionError, ErrorCode } from './errors.ts';
import type { Fields } from './fields.ts';
import { FrameReader, type FrameSink } from './frame-reader.ts';
import { FrameWriter } from './frame-writer.ts';
import { FIRST_WINDOW, Flag, MAX_STREAM_ID, MAX_WINDOW, PREFACE, Type, uint31, uint32 } from './frames.ts';
import { Gone } from './gone.ts';
import { HeaderBlocks } from './header-blocks.ts';
import { Holding } from './holding.ts';
import { HpackDecoder } from './hpack/decoder.ts';
import type { HeaderBlock } from './hpack/encoder.ts';
import type { Bounds, Budget, Limits } from './limits.ts';
import { Output } from './output.ts';
import { Patience } from './patience.ts';
import { PeerSettings } from './peer-settings.ts';
import { areTrailers, readRequestLine } from './request.ts';
import type { ServerStream } from './server-stream.ts';
import { type Carrier, Stream } from './stream.ts';
import { Vigil } from './vigil.ts';
import { ReceiveWindow } from './window.ts';

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

/** What waits for a peer that does not read, before we read no more of it either. */
const UNREAD_BYTES = 1024 * 1024;
/** What is read and dropped of a connection that is over. */
const LINGER_BYTES = 1024 * 1024;

/** One HTTP/2 connection of a client (RFC 9113), on a socket that is read and written by nobody else. */
export class Connection implements Carrier, FrameSink {
  readonly #socket: Socket;
  readonly #options: ConnectionOptions;
  readonly output: Output;
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
  #lastId = 0;
  /** Streams that are not closed, or whose handler has not come to its end. */
  #open = 0;
  /** Of this turn: those that began, and those that were answered before they were read. */
  #fresh: Stream[] = [];
  #early: Stream[] = [];
  #waiting = new Set<Stream>();
  /** They go on at this moment, or in the next turn. */
  #isPumping = false;

  sendWindow = FIRST_WINDOW;
  isCongested = false;
  #isReadPaused = false;
  #backlog = 0;

  #prefaceRead = 0;
  #isGreeted = false;
  /** Of our SETTINGS. */
  #unacknowledged = 0;
  #isLeaving = false;
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
    this.output = new Output(socket, this.#endTurn, this.#afterFlush);
    this.#writer = new FrameWriter(this.output);
    this.#tellSettings();
    this.#openConnectionWindow();
    socket.on('data', this.#onData);
    socket.on('drain', this.#onDrain);
    socket.on('error', nobodyThrows);
    // It has sent its last: what is not answered is not asked any more.
    socket.on('end', () => this.#closeStreams(ErrorCode.CANCEL));
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

  get maxFrameBytes(): number {
    return this.#peer.maxFrameBytes;
  }

  /** More room for a peer, from now on. */
  widen(limits: Limits): void {
    if (this.#isOver) return;
    this.#limits = limits;
    this.#tellSettings();
    this.#openConnectionWindow();
    for (const stream of this.#streams.values()) stream.widen(limits.streamWindow);
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
    vigil.look(this.#socket, now);
    if (this.#isOver) {
      if (vigil.hasLingered(this.#socket, now)) this.destroy();
      return;
    }
    if (vigil.isUnread(now)) return this.#discard('nothing of what waits is read');
    try {
      vigil.check(this.#isGreeted, this.#unacknowledged === 0, now);
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

  waits(stream: Stream): void {
    this.#waiting.add(stream);
    // Where nothing of the peer's holds it up it only gives others their turn.
    if (this.#isPumping || this.isCongested || this.sendWindow <= 0) return;
    this.#isPumping = true;
    setImmediate(this.#pump);
  }

  sent(): void {
    this.#patience.earn();
  }

  answeredEarly(stream: Stream): void {
    this.#early.push(stream);
  }

  closed(stream: Stream): void {
    this.#streams.delete(stream.id);
    this.#waiting.delete(stream);
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
        return this.#onPriority(id, bytes, from, to);
      case Type.GOAWAY:
        if (id !== 0) throw protocol('GOAWAY on a stream');
        if (to - from < 8) throw size('GOAWAY');
        this.#isLeaving = true;
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
    const [start, end] = flags & Flag.PADDED ? unpadded(bytes, from, to) : [from, to];
    if (!this.#window.take(counted))
      throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, 'more than the window of the connection');
    const isEnd = (flags & Flag.END_STREAM) !== 0;
    if (end === start && !isEnd) this.#bear('empty');
    const stream = this.#streams.get(id);
    if (!stream || stream.isRemoteOver) {
      this.read(counted);
      return this.#late(id);
    }
    try {
      let wrong = stream.onData(bytes, start, end, counted);
      if (isEnd && wrong === undefined) wrong = stream.onEnd();
      if (wrong !== undefined) this.reset(stream, wrong);
    } catch (error) {
      this.#threw(stream, error);
    }
  }

  /** What comes on a stream that is over. If we gave it up, this was on its way (section 5.1), and goes for nothing. */
  #late(id: number): void {
    if (id > this.#lastId) throw protocol('a frame on a stream that was not begun');
    if (this.#gone.wasGivenUp(id)) return;
    const stream = this.#streams.get(id);
    if (stream) return this.reset(stream, ErrorCode.STREAM_CLOSED);
    this.#refuse(id, ErrorCode.STREAM_CLOSED);
  }

  /** Section 6.2. */
  #onHeaders(flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    if (id % 2 === 0) throw protocol('a stream with an even number, or none');
    let [start, end] = flags & Flag.PADDED ? unpadded(bytes, from, to) : [from, to];
    let isOwn = false;
    if (flags & Flag.PRIORITY) {
      if (end - start < 5) throw size('HEADERS');
      isOwn = uint31(bytes, start) === id;
      start += 5;
    }
    const endsStream = (flags & Flag.END_STREAM) !== 0;
    if (flags & Flag.END_HEADERS) this.#onBlock(id, endsStream, isOwn, bytes, start, end);
    else this.#blocks.begin(id, endsStream, bytes, start, end);
  }

  /** A whole header block. It is decoded whatever becomes of it: the decoder must see them all. */
  #onBlock(id: number, endsStream: boolean, isOwn: boolean, bytes: Buffer, from: number, to: number): void {
    const fields = this.#decoder.decode(bytes, from, to, this.#options.bounds.headerListBytes);
    const stream = this.#streams.get(id);
    if (stream) return this.#onTrailers(stream, endsStream, fields);
    if (id <= this.#lastId) {
      // Its trailers were on their way.
      if (this.#gone.wasGivenUp(id)) return;
      throw new ConnectionError(
        this.#gone.wasClosed(id) ? ErrorCode.STREAM_CLOSED : ErrorCode.PROTOCOL_ERROR,
        'a stream begins that was before',
      );
    }
    // Section 6.8: it was told which is the last.
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
      const wrong = endsStream ? stream.onEnd() : undefined;
      if (wrong !== undefined) this.reset(stream, wrong);
    } catch (error) {
      this.#threw(stream, error);
    }
  }

  /** Section 8.1: trailers end the stream, and say nothing that anybody here asks for. */
  #onTrailers(stream: Stream, endsStream: boolean, fields: Fields): void {
    if (stream.isRemoteOver) return this.#late(stream.id);
    if (!endsStream || !fields.isWhole || !areTrailers(fields))
      return this.reset(stream, ErrorCode.PROTOCOL_ERROR);
    const wrong = this.#guarded(stream, () => stream.onEnd());
    if (wrong !== undefined) this.reset(stream, wrong);
  }

  /** Section 6.4. */
  #onReset(id: number, bytes: Buffer, from: number, to: number): void {
    if (to - from !== 4) throw size('RST_STREAM');
    if (id === 0 || id > this.#lastId) throw protocol('RST_STREAM of a stream that was not begun');
    const stream = this.#streams.get(id);
    this.#bear(stream ? 'reset' : 'idle');
    if (!stream) return;
    this.#gone.closed(id);
    this.#guarded(stream, () => stream.close(uint32(bytes, from)));
  }

  /** Section 6.5. */
  #onSettings(flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    if (id !== 0) throw protocol('SETTINGS on a stream');
    if (flags & Flag.ACK) {
      if (to !== from) throw size('an acknowledgement of SETTINGS');
      if (this.#unacknowledged === 0) throw protocol('SETTINGS were not sent, and are acknowledged');
      this.#unacknowledged -= 1;
      return;
    }
    if ((to - from) % 6 !== 0) throw size('SETTINGS');
    this.#bear('settings');
    const before = this.#peer.streamWindow;
    this.#peer.read(bytes, from, to);
    this.#writer.limitTable(this.#peer.headerTableBytes);
    this.#writer.maxFrameBytes = this.#peer.maxFrameBytes;
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
    if (id !== 0) throw protocol('PING on a stream');
    if (to - from !== 8) throw size('PING');
    if (flags & Flag.ACK) return this.#bear('idle');
    this.#bear('ping');
    this.#writer.pong(bytes, from, to);
  }

  /** Section 6.3: checked, and of no consequence. */
  #onPriority(id: number, bytes: Buffer, from: number, to: number): void {
    if (id === 0) throw protocol('PRIORITY without a stream');
    if (to - from !== 5) throw size('PRIORITY');
    if (uint31(bytes, from) === id) throw protocol('a stream that depends on itself');
    this.#bear('idle');
  }

  /** Section 6.9. */
  #onWindowUpdate(id: number, bytes: Buffer, from: number, to: number): void {
    if (to - from !== 4) throw size('WINDOW_UPDATE');
    const more = uint31(bytes, from);
    this.#bear('window');
    if (id === 0) {
      if (more === 0) throw protocol('a window that opens by nothing');
      this.sendWindow += more;
      if (this.sendWindow > MAX_WINDOW)
        throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, 'a window larger than 2^31-1');
      return this.#pump();
    }
    if (id > this.#lastId) throw protocol('WINDOW_UPDATE of a stream that was not begun');
    const stream = this.#streams.get(id);
    // It may have been on its way when the stream ended (section 5.1).
    if (!stream) return this.#bear('idle');
    if (more === 0) return this.reset(stream, ErrorCode.PROTOCOL_ERROR);
    const isRight = this.#guarded(stream, () => stream.openWindow(more));
    if (!isRight) this.reset(stream, ErrorCode.FLOW_CONTROL_ERROR);
  }

  // What is sent.

  #tellSettings(): void {
    this.#writer.settings(this.#limits, this.#options.bounds.headerListBytes);
    if (this.#unacknowledged === 0) this.#vigil.toldSettings(this.#options.now());
    this.#unacknowledged += 1;
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

  /** Lets the streams that wait for the connection go on, by turns. */
  readonly #pump = (): void => {
    this.#isPumping = true;
    while (this.#waiting.size > 0 && this.sendWindow > 0 && !this.isCongested && !this.#isOver) {
      const waiting = this.#waiting;
      this.#waiting = new Set();
      let sent = false;
      for (const stream of waiting) if (this.#guarded(stream, () => stream.pump())) sent = true;
      if (!sent) break;
    }
    this.#isPumping = false;
  };

  readonly #endTurn = (): void => {
    if (this.#fresh.length > 0) {
      const fresh = this.#fresh;
      this.#fresh = [];
      for (const stream of fresh) this.#guarded(stream, () => stream.onTurnEnd());
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

  readonly #afterFlush = (): void => {
    const { writableLength, writableNeedDrain } = this.#socket;
    this.isCongested = writableNeedDrain && writableLength > 0;
    const backlog = this.isCongested ? writableLength : 0;
    if (backlog === this.#backlog) return;
    if (!this.hold(backlog - this.#backlog)) return this.#discard('too much waits to be read');
    this.#backlog = backlog;
    if (backlog < UNREAD_BYTES || this.#isReadPaused) return;
    this.#isReadPaused = true;
    this.#socket.pause();
  };

  readonly #onDrain = (): void => {
    this.isCongested = false;
    this.hold(-this.#backlog);
    this.#backlog = 0;
    if (this.#isReadPaused) this.#socket.resume();
    this.#isReadPaused = false;
    this.#pump();
  };

  // How it ends.

  /** One of something that costs its sender nothing. Throws where it was one too many. */
  #bear(kind: Parameters<Patience['take']>[0]): void {
    if (this.#patience.take(kind)) return;
    throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, `too many frames of a kind: ${kind}`);
  }

  /** Calls into a handler; one that throws costs its stream. */
  #guarded<T>(stream: Stream, call: () => T): T | undefined {
    try {
      return call();
    } catch (error) {
      this.#threw(stream, error);
      return undefined;
    }
  }

  #threw(stream: Stream, error: unknown): void {
    if (error instanceof ConnectionError) throw error;
    this.#options.failed(error);
    stream.reset(ErrorCode.INTERNAL_ERROR);
  }

  #finishIfDone(): void {
    if (!this.#isLeaving || this.#isOver || this.#open > 0 || this.#streams.size > 0) return;
    this.#leave();
  }

  #endBy(error: unknown): void {
    if (error instanceof ConnectionError) return this.#fail(error.code, error.message);
    this.#options.failed(error);
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
    this.output.flush();
    this.#socket.end();
    this.#socket.resume();
  }

  #closeStreams(code: ErrorCode): void {
    for (const stream of this.#streams.values()) this.#guarded(stream, () => stream.close(code));
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

/** Section 6.1: the padding is less than the frame. */
function unpadded(bytes: Buffer, from: number, to: number): [number, number] {
  const padding = from < to ? (bytes[from] as number) : to;
  if (from + 1 + padding > to) throw protocol('more padding than there is frame');
  return [from + 1, to - padding];
}

const protocol = (reason: string): ConnectionError => new ConnectionError(ErrorCode.PROTOCOL_ERROR, reason);
const size = (frame: string): ConnectionError =>
  new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, `${frame} of a length that it does not have`);

const nobodyThrows = (): void => {};
