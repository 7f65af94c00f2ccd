import type { Limits } from '../bounds/limits.ts';
import type { ErrorCode } from '../errors.ts';
import { type HeaderBlock, HpackEncoder } from '../hpack/encoder.ts';
import { Flag, MAX_FRAME_BYTES, Setting, Type } from './frames.ts';
import type { Output } from './output.ts';

/** Puts the frames of one connection together, all but DATA, which streams write themselves. */
export class FrameWriter {
  readonly #output: Output;
  readonly #encoder = new HpackEncoder();

  constructor(output: Output) {
    this.#output = output;
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. */
  limitTable(bytes: number): void {
    this.#encoder.limit(bytes);
  }

  /** Section 6.2, and 6.10 for a block that is longer than a frame. */
  head(id: number, block: HeaderBlock, flags: number): void {
    const output = this.#output;
    const bytes = this.#encoder.of(block);
    const { length } = bytes;
    if (length <= MAX_FRAME_BYTES) {
      output.frame(length, Type.HEADERS, flags | Flag.END_HEADERS, id);
      return output.bytes(bytes, 0, length);
    }
    for (let from = 0; from < length; from += MAX_FRAME_BYTES) {
      const to = Math.min(length, from + MAX_FRAME_BYTES);
      const end = to === length ? Flag.END_HEADERS : 0;
      output.frame(to - from, from === 0 ? Type.HEADERS : Type.CONTINUATION, from === 0 ? flags : end, id);
      output.bytes(bytes, from, to);
    }
  }

  /** Section 6.4. */
  reset(id: number, code: ErrorCode): void {
    this.#output.frame(4, Type.RST_STREAM, 0, id);
    this.#output.uint32(code);
  }

  /** Section 6.5. */
  settings({ streams, streamWindow }: Limits, headerListBytes: number): void {
    const output = this.#output;
    output.frame(18, Type.SETTINGS, 0, 0);
    output.uint16(Setting.MAX_CONCURRENT_STREAMS);
    output.uint32(streams);
    output.uint16(Setting.INITIAL_WINDOW_SIZE);
    output.uint32(streamWindow);
    output.uint16(Setting.MAX_HEADER_LIST_SIZE);
    output.uint32(headerListBytes);
  }

  settingsAcknowledged(): void {
    this.#output.frame(0, Type.SETTINGS, Flag.ACK, 0);
  }

  /** Section 6.7: an answer holds what the question held. */
  pong(bytes: Uint8Array, from: number, to: number): void {
    this.#output.frame(8, Type.PING, Flag.ACK, 0);
    this.#output.bytes(bytes, from, to);
  }

  /** Section 6.8. */
  goAway(lastId: number, code: ErrorCode, reason: string): void {
    const text = Buffer.from(reason, 'latin1');
    this.#output.frame(8 + text.length, Type.GOAWAY, 0, 0);
    this.#output.uint32(lastId);
    this.#output.uint32(code);
    this.#output.bytes(text, 0, text.length);
  }

  /** Section 6.9. */
  windowUpdate(id: number, bytes: number): void {
    this.#output.frame(4, Type.WINDOW_UPDATE, 0, id);
    this.#output.uint32(bytes);
  }
}
