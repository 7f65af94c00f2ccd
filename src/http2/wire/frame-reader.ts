import { ConnectionError, ErrorCode } from '../errors.ts';
import { HEADER_BYTES, MAX_FRAME_BYTES, uint24, uint31 } from './frames.ts';

export interface FrameSink {
  /** Nothing more is wanted. */
  readonly isOver: boolean;
  /** What a frame holds is `bytes[from, to)`. Throws ConnectionError. */
  onFrame(type: number, flags: number, id: number, bytes: Buffer, from: number, to: number): void;
}

/**
 * Cuts what is read from a socket into frames, in place. Only one that has come in part is copied; there is never more
 * of it held than it has been found to be long, which is bounded.
 */
export class FrameReader {
  readonly #sink: FrameSink;
  #part = NOTHING;
  #length = 0;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** False within a frame. */
  get isWhole(): boolean {
    return this.#length === 0;
  }

  /** Throws ConnectionError. */
  push(chunk: Buffer): void {
    let at = this.#length === 0 ? 0 : this.#complete(chunk);
    while (at + HEADER_BYTES <= chunk.length && !this.#sink.isOver) {
      const length = lengthOf(chunk, at);
      const from = at + HEADER_BYTES;
      if (from + length > chunk.length) break;
      at = from + length;
      this.#sink.onFrame(
        chunk[from - 6] as number,
        chunk[from - 5] as number,
        uint31(chunk, from - 4),
        chunk,
        from,
        at,
      );
    }
    if (at < chunk.length && !this.#sink.isOver) this.#keep(chunk, at);
  }

  /** Adds to the frame that has begun; answers how much of the chunk that took. */
  #complete(chunk: Buffer): number {
    let at = 0;
    if (this.#length < HEADER_BYTES) {
      at = this.#copy(chunk, 0, HEADER_BYTES);
      if (this.#length < HEADER_BYTES) return at;
      const whole = Buffer.allocUnsafeSlow(HEADER_BYTES + lengthOf(this.#part, 0));
      this.#part.copy(whole);
      this.#part = whole;
    }
    at += this.#copy(chunk, at, this.#part.length);
    if (this.#length < this.#part.length) return at;
    const frame = this.#part;
    this.#part = NOTHING;
    this.#length = 0;
    this.#sink.onFrame(
      frame[3] as number,
      frame[4] as number,
      uint31(frame, 5),
      frame,
      HEADER_BYTES,
      frame.length,
    );
    return at;
  }

  #copy(chunk: Buffer, from: number, upTo: number): number {
    const count = Math.min(upTo - this.#length, chunk.length - from);
    chunk.copy(this.#part, this.#length, from, from + count);
    this.#length += count;
    return count;
  }

  #keep(chunk: Buffer, at: number): void {
    const length = chunk.length - at < HEADER_BYTES ? HEADER_BYTES : HEADER_BYTES + lengthOf(chunk, at);
    this.#part = Buffer.allocUnsafeSlow(length);
    this.#length = 0;
    this.#copy(chunk, at, length);
  }
}

/** RFC 9113 section 4.2: looked at before there is room made for it. */
function lengthOf(bytes: Buffer, at: number): number {
  const length = uint24(bytes, at);
  if (length > MAX_FRAME_BYTES)
    throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, 'a frame longer than 16,384');
  return length;
}

const NOTHING = Buffer.alloc(0);
