import { ErrorCode } from './errors.ts';
import type { Fields } from './fields.ts';
import type { HeaderBlock } from './hpack/encoder.ts';
import { Inbox } from './inbox.ts';
import type { RequestLine } from './request.ts';
import type { Sender, Sending } from './sending.ts';
import type { Receiver, ServerStream } from './server-stream.ts';
import { ReceiveWindow } from './window.ts';
import { Flag, MAX_FRAME_BYTES, MAX_WINDOW, Type } from './wire/frames.ts';
import type { Output } from './wire/output.ts';

/** What a stream needs of its connection. */
export interface Carrier {
  readonly output: Output;
  readonly sending: Sending;
  writeHead(id: number, block: HeaderBlock, flags: number): void;
  /** Bytes of a body were read: the peer may send as many more. */
  read(bytes: number): void;
  windowUpdate(id: number, bytes: number): void;
  /** Changes what is held for the connection; false where that is too much. */
  hold(bytes: number): boolean;
  /** An answer, or a part of one that was not cut short by a window, is out. */
  sent(): void;
  /** It was answered and not read to its end. */
  answeredEarly(stream: Stream): void;
  /** A receiver threw. */
  failed(error: unknown): void;
  closed(stream: Stream): void;
  /** It is closed, and its handler has come to its end. */
  released(): void;
  reset(stream: Stream, code: ErrorCode): void;
}

/** How much of one stream goes out before others have their turn. */
const TURN_BYTES = 32 * 1024;
/** A frame of so many bytes is no crumb that a window was opened for. */
const WORTHWHILE_BYTES = 1_024;

export class Stream implements ServerStream, Sender {
  readonly id: number;
  readonly line: RequestLine;
  readonly fields: Fields;
  readonly #carrier: Carrier;
  #receiver: Receiver | undefined;

  #window: ReceiveWindow;
  #sendWindow: number;
  #received = 0;
  #inbox: Inbox | undefined;
  #isPaused = true;
  #isRemoteOver = false;
  #isComplete = false;

  #outbox: Uint8Array[] | undefined;
  #trailers: HeaderBlock | undefined;
  /** What it has sent of its turn among those that wait. */
  #turnBytes = 0;
  #isEnding = false;
  #isLocalOver = false;
  #hasBegun = false;
  #wantsDrain = false;

  #isTurnOver = false;
  #isClosed = false;
  #isSettled = false;
  #resetCode: number | undefined;
  /** When the peer took the last of what waits for it; set by the connection's clock. */
  stalledSince = 0;

  constructor(
    carrier: Carrier,
    id: number,
    line: RequestLine,
    fields: Fields,
    receiveWindow: number,
    sendWindow: number,
  ) {
    this.#carrier = carrier;
    this.id = id;
    this.line = line;
    this.fields = fields;
    this.#window = new ReceiveWindow(receiveWindow);
    this.#sendWindow = sendWindow;
  }

  get isClosed(): boolean {
    return this.#isClosed || this.#isEnding;
  }

  get isComplete(): boolean {
    return this.#isComplete;
  }

  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  get resetCode(): number | undefined {
    return this.#resetCode;
  }

  /** The peer has sent END_STREAM. */
  get isRemoteOver(): boolean {
    return this.#isRemoteOver;
  }

  /** The whole answer is there, and waits for the peer to take it. */
  get isUnread(): boolean {
    return this.#isEnding && !this.#isLocalOver;
  }

  // What the handler calls.

  receive(receiver: Receiver): void {
    this.#receiver = receiver;
    if (this.#isClosed) {
      this.#receiver = undefined;
      receiver.closed();
      return;
    }
    this.resume();
    // Who came to it later has missed the end of its turn.
    if (this.#isTurnOver) this.onTurnEnd();
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    if (this.#isClosed || !this.#receiver) return;
    const inbox = this.#inbox;
    if (inbox && inbox.length > 0) {
      const bytes = inbox.take();
      this.#carrier.hold(-bytes.length);
      this.#deliver(bytes, bytes.length);
    }
    this.#complete();
  }

  inform(head: HeaderBlock): void {
    if (!this.isClosed && !this.#hasBegun) this.#carrier.writeHead(this.id, head, 0);
  }

  respond(head: HeaderBlock): void {
    if (this.isClosed || this.#hasBegun) return;
    this.#hasBegun = true;
    this.#carrier.writeHead(this.id, head, 0);
  }

  write(bytes: Uint8Array): boolean {
    if (this.isClosed) return false;
    if (bytes.length > 0) this.#push(bytes);
    const isSent = this.#outbox === undefined && !this.#carrier.sending.isCongested;
    this.#wantsDrain ||= !isSent;
    // Whoever was told to wait once is told to go on, and not from within this call.
    if (this.#wantsDrain) this.#carrier.sending.waits(this);
    return isSent;
  }

  end(trailers?: HeaderBlock): void {
    if (this.isClosed) return this.settle();
    this.#isEnding = true;
    this.#trailers = trailers;
    this.settle();
    if (this.#outbox === undefined) this.#sendEnd();
  }

  answer(head: HeaderBlock, body?: Uint8Array, trailers?: HeaderBlock): void {
    if (this.isClosed || this.#hasBegun) return this.settle();
    this.#hasBegun = true;
    const isBare = body === undefined && trailers === undefined;
    this.#carrier.writeHead(this.id, head, isBare ? Flag.END_STREAM : 0);
    this.#isEnding = true;
    this.#trailers = trailers;
    this.settle();
    if (isBare) return this.#endedHere();
    if (body !== undefined && body.length > 0) this.#push(body);
    if (this.#outbox === undefined) this.#sendEnd();
  }

  reset(code: ErrorCode): void {
    this.settle();
    if (this.#isClosed) return;
    this.#carrier.reset(this, code);
  }

  settle(): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    if (this.#isClosed) this.#carrier.released();
  }

  // What the connection calls.

  /** A DATA frame's body, and what it counts for with its padding. An error for more than the window, or than it claimed. */
  onData(bytes: Buffer, from: number, to: number, counted: number): ErrorCode | undefined {
    if (!this.#window.take(counted)) return ErrorCode.FLOW_CONTROL_ERROR;
    const length = to - from;
    this.#received += length;
    const { contentLength } = this.line;
    if (contentLength !== undefined && this.#received > contentLength) return ErrorCode.PROTOCOL_ERROR;
    // Nobody reads it: the window stays as it is, and the peer stops there.
    if (this.#isEnding) {
      this.#carrier.read(counted);
      return undefined;
    }
    const isKept = length > 0 && (this.#isPaused || !this.#receiver);
    if (isKept && !this.#carrier.hold(length)) return ErrorCode.ENHANCE_YOUR_CALM;
    if (counted > length) this.#gave(counted - length);
    if (isKept) {
      this.#inbox ??= new Inbox();
      this.#inbox.add(bytes, from, to);
    } else if (length > 0) this.#deliver(bytes.subarray(from, to), length);
    return undefined;
  }

  /** END_STREAM. An error where less came than was claimed (RFC 9113 section 8.1.1). */
  onEnd(): ErrorCode | undefined {
    if (this.#isClosed) return undefined;
    const { contentLength } = this.line;
    if (contentLength !== undefined && this.#received !== contentLength) return ErrorCode.PROTOCOL_ERROR;
    this.#isRemoteOver = true;
    this.#complete();
    if (this.#isLocalOver) this.close();
    return undefined;
  }

  /** What came along with the header section is read. */
  onTurnEnd(): void {
    this.#isTurnOver = true;
    if (this.#isRemoteOver || this.#isClosed) return;
    try {
      this.#receiver?.waits?.();
    } catch (error) {
      this.#threw(error);
    }
  }

  /** The peer takes more of this stream; false beyond 2^31-1 (section 6.9.1). */
  openWindow(bytes: number): boolean {
    this.#sendWindow += bytes;
    if (this.#sendWindow > MAX_WINDOW) return false;
    if (bytes > 0) this.pump();
    return true;
  }

  /** The peer may send more on it: said by our SETTINGS. */
  widen(size: number): void {
    this.#window.grow(size);
  }

  get hasTurn(): boolean {
    return this.#turnBytes > 0;
  }

  /** Sends what waits, as far as it may. */
  pump(): void {
    // It is its turn.
    if (this.#turnBytes >= TURN_BYTES) this.#turnBytes = 0;
    this.#sendOut();
    this.#drained();
  }

  #sendOut(): void {
    const { sending } = this.#carrier;
    while (this.#outbox !== undefined && !this.#isClosed) {
      const first = this.#outbox[0] as Uint8Array;
      const room = Math.min(this.#sendWindow, this.#carrier.sending.window, MAX_FRAME_BYTES);
      const isOthersTurn = this.#turnBytes >= TURN_BYTES && sending.isShared;
      if (room <= 0 || sending.isCongested || isOthersTurn) {
        if (isOthersTurn) this.#turnBytes = 0;
        // Whoever waits for its own window is woken by it.
        if (this.#sendWindow > 0) sending.waits(this);
        return;
      }
      const length = Math.min(first.length, room);
      const isLast = length === first.length && this.#outbox.length === 1;
      const isEnd = isLast && this.#isEnding && this.#trailers === undefined;
      this.#frame(first, length, isEnd);
      this.#carrier.hold(-length);
      this.#turnBytes += length;
      this.stalledSince = 0;
      if (length >= WORTHWHILE_BYTES) this.#carrier.sent();
      if (length < first.length) this.#outbox[0] = first.subarray(length);
      else this.#outbox.shift();
      if (!isLast) continue;
      this.#outbox = undefined;
      this.#turnBytes = 0;
      this.#carrier.sent();
      if (isEnd) this.#endedHere();
      else if (this.#isEnding) this.#sendEnd();
    }
  }

  /** Both are done, or it was given up. */
  close(code?: number): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#resetCode = code;
    const unread = this.#inbox?.drop() ?? 0;
    const unsent = this.#outbox?.reduce((sum, { length }) => sum + length, 0) ?? 0;
    this.#outbox = undefined;
    this.#inbox = undefined;
    if (unread + unsent > 0) this.#carrier.hold(-unread - unsent);
    if (unread > 0) this.#carrier.read(unread);
    this.#carrier.closed(this);
    if (this.#isSettled) this.#carrier.released();
    const receiver = this.#receiver;
    this.#receiver = undefined;
    try {
      receiver?.closed();
    } catch (error) {
      this.#carrier.failed(error);
    }
  }

  #push(bytes: Uint8Array): void {
    const { length } = bytes;
    const isFree = this.#outbox === undefined && !this.#carrier.sending.isCongested;
    if (
      isFree &&
      length <= MAX_FRAME_BYTES &&
      length <= Math.min(this.#sendWindow, this.#carrier.sending.window)
    ) {
      const isEnd = this.#isEnding && this.#trailers === undefined;
      this.#frame(bytes, length, isEnd);
      this.#carrier.sent();
      if (isEnd) this.#endedHere();
      return;
    }
    if (!this.#carrier.hold(length)) return this.#carrier.reset(this, ErrorCode.ENHANCE_YOUR_CALM);
    this.#outbox ??= [];
    this.#outbox.push(bytes);
    this.#sendOut();
  }

  /** One DATA frame of the first bytes. */
  #frame(bytes: Uint8Array, length: number, isEnd: boolean): void {
    const { output, sending } = this.#carrier;
    output.frame(length, Type.DATA, isEnd ? Flag.END_STREAM : 0, this.id);
    output.bytes(bytes, 0, length);
    this.#sendWindow -= length;
    sending.window -= length;
  }

  #sendEnd(): void {
    if (this.#isClosed || this.#isLocalOver) return;
    if (this.#trailers) this.#carrier.writeHead(this.id, this.#trailers, Flag.END_STREAM);
    else this.#carrier.output.frame(0, Type.DATA, Flag.END_STREAM, this.id);
    this.#endedHere();
  }

  #endedHere(): void {
    this.#isLocalOver = true;
    this.#carrier.sent();
    if (this.#isRemoteOver) this.close();
    else this.#carrier.answeredEarly(this);
  }

  #drained(): void {
    if (!this.#wantsDrain || this.#outbox !== undefined || this.isClosed) return;
    if (this.#carrier.sending.isCongested) return this.#carrier.sending.waits(this);
    this.#wantsDrain = false;
    try {
      this.#receiver?.drained?.();
    } catch (error) {
      this.#threw(error);
    }
  }

  #deliver(bytes: Uint8Array, counted: number): void {
    this.#gave(counted);
    try {
      this.#receiver?.data(bytes);
    } catch (error) {
      this.#threw(error);
    }
  }

  #complete(): void {
    if (!this.#isRemoteOver || this.#isPaused || this.#isComplete || !this.#receiver) return;
    if (this.#isEnding || (this.#inbox && this.#inbox.length > 0)) return;
    this.#isComplete = true;
    try {
      this.#receiver.end();
    } catch (error) {
      this.#threw(error);
    }
  }

  /** A receiver that throws costs its stream, and no other. */
  #threw(error: unknown): void {
    this.#carrier.failed(error);
    this.reset(ErrorCode.INTERNAL_ERROR);
  }

  /** Bytes of it are read: they may be sent again. */
  #gave(bytes: number): void {
    this.#carrier.read(bytes);
    if (this.#isRemoteOver) return;
    const more = this.#window.give(bytes);
    if (more > 0) this.#carrier.windowUpdate(this.id, more);
  }
}
