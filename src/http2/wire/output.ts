import type { Socket } from 'node:net';
import { HEADER_BYTES } from './frames.ts';

const BUFFER_BYTES = 64 * 1024;
/** Buffers that wait to be used again, by all connections of this thread. */
const pool: Buffer[] = [];
const POOLED = 64;

interface Full {
  readonly buffer: Buffer;
  readonly length: number;
}

function recycle({ buffer }: Full): void {
  if (pool.length < POOLED) pool.push(buffer);
}

/**
 * What goes to one socket: frames are put together in one buffer and leave together, when it is full or at the end of
 * the turn.
 */
export class Output {
  readonly #socket: Socket;
  readonly #beforeFlush: () => void;
  readonly #afterFlush: () => void;
  #buffer: Buffer | undefined;
  #length = 0;
  #scheduled = false;
  readonly #queue: Full[] = [];
  #isWriting = false;
  #isEnding = false;
  #waiting = 0;
  #taken = 0;
  /** While the connection reads, it says itself when the turn is over. */
  isHeld = false;

  /**
   * `beforeFlush` may add to what leaves at the end of a turn; `afterFlush` hears that the
   * socket was given some, or has taken some. */
  constructor(socket: Socket, beforeFlush: () => void, afterFlush: () => void) {
    this.#socket = socket;
    this.#beforeFlush = beforeFlush;
    this.#afterFlush = afterFlush;
  }

  /** Bytes that the socket has not taken yet, and how many it has taken in all. */
  get waiting(): number {
    return this.#waiting;
  }

  get taken(): number {
    return this.#taken;
  }

  /** The socket takes no more for now. */
  get isFull(): boolean {
    return this.#queue.length > 0;
  }

  /** A frame's header. What is in it follows by `bytes`, `uint16` and `uint32`. */
  frame(length: number, type: number, flags: number, id: number): void {
    const at = this.#reserve(HEADER_BYTES);
    const buffer = this.#buffer as Buffer;
    buffer[at] = length >>> 16;
    buffer[at + 1] = length >>> 8;
    buffer[at + 2] = length;
    buffer[at + 3] = type;
    buffer[at + 4] = flags;
    buffer[at + 5] = id >>> 24;
    buffer[at + 6] = id >>> 16;
    buffer[at + 7] = id >>> 8;
    buffer[at + 8] = id;
  }

  uint16(value: number): void {
    const at = this.#reserve(2);
    (this.#buffer as Buffer)[at] = value >>> 8;
    (this.#buffer as Buffer)[at + 1] = value;
  }

  uint32(value: number): void {
    this.uint16(value >>> 16);
    this.uint16(value);
  }

  /** `bytes[from, to)`, copied: a buffer of its own for each answer is what costs. */
  bytes(bytes: Uint8Array, from: number, to: number): void {
    for (let start = from; start < to; ) {
      const at = this.#reserve(1);
      const end = Math.min(to, start + BUFFER_BYTES - at);
      (this.#buffer as Buffer).set(
        start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end),
        at,
      );
      this.#length = at + end - start;
      start = end;
    }
  }

  /**
   * Gives the socket what has been put together. While it has not taken what it has, more is added to the same buffer:
   * one for each few bytes would hold thousands of times what waits.
   */
  flush(): void {
    if (!this.#isWriting) this.#close();
  }

  #close(): void {
    const buffer = this.#buffer;
    if (!buffer || this.#length === 0) return;
    const full: Full = { buffer, length: this.#length };
    this.#buffer = undefined;
    this.#length = 0;
    if (!this.#socket.writable || this.#isEnding) return recycle(full);
    this.#waiting += full.length;
    if (this.#isWriting) this.#queue.push(full);
    else this.#write(full);
    this.#afterFlush();
  }

  /** The last of it: the socket's half is ended behind it. */
  end(): void {
    this.#close();
    this.#isEnding = true;
    if (!this.#isWriting) this.#socket.end();
  }

  /** One at a time: of several given to it at once a socket tells only when all are gone, however slowly they go. */
  #write(full: Full): void {
    this.#isWriting = true;
    this.#socket.write(full.buffer.subarray(0, full.length), (error) => {
      this.#isWriting = false;
      this.#waiting -= full.length;
      this.#taken += full.length;
      // A socket that failed may still have it.
      if (error) return;
      recycle(full);
      const next = this.#queue.shift();
      if (next) this.#write(next);
      else if (this.#isEnding) this.#socket.end();
      else this.#close();
      this.#afterFlush();
    });
  }

  /** Room for `count` bytes, at most a few; answers where. */
  #reserve(count: number): number {
    if (this.#length + count > BUFFER_BYTES) this.#close();
    this.#buffer ??= pool.pop() ?? Buffer.allocUnsafeSlow(BUFFER_BYTES);
    const at = this.#length;
    this.#length += count;
    if (!this.isHeld && !this.#scheduled) {
      this.#scheduled = true;
      process.nextTick(this.#onTick);
    }
    return at;
  }

  readonly #onTick = (): void => {
    this.#scheduled = false;
    this.#beforeFlush();
    this.flush();
  };
}
