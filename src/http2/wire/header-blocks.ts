import type { Holding } from '../bounds/holding.ts';
import type { Bounds } from '../bounds/limits.ts';
import { ConnectionError, ErrorCode } from '../errors.ts';
import { MAX_BLOCK_BYTES } from '../hpack/decoder.ts';
import { Flag } from './frames.ts';

/** A header block that comes in several frames (RFC 9113 section 6.10). One that comes in one never gets here. */
export class HeaderBlocks {
  readonly #bounds: Bounds;
  readonly #holding: Holding;
  #id = 0;
  #parts: Buffer[] = [];
  #length = 0;
  #continuations = 0;
  endsStream = false;

  constructor(bounds: Bounds, holding: Holding) {
    this.#bounds = bounds;
    this.#holding = holding;
  }

  get isOpen(): boolean {
    return this.#id !== 0;
  }

  begin(id: number, endsStream: boolean, bytes: Buffer, from: number, to: number): void {
    this.#id = id;
    this.endsStream = endsStream;
    this.#continuations = 0;
    this.#add(bytes, from, to);
  }

  /** The block, with its last part. Throws ConnectionError. */
  continue(flags: number, id: number, bytes: Buffer, from: number, to: number): Buffer | undefined {
    if (this.#id === 0 || id !== this.#id)
      throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'CONTINUATION of nothing');
    this.#continuations += 1;
    // Read on for as long as somebody likes to send, they would cost processor and memory, and never be a request.
    if (this.#continuations > this.#bounds.continuations)
      throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, 'a header block of too many frames');
    this.#add(bytes, from, to);
    if (!(flags & Flag.END_HEADERS)) return undefined;
    const block = Buffer.concat(this.#parts, this.#length);
    this.drop();
    return block;
  }

  drop(): void {
    this.#holding.change(-this.#length);
    this.#id = 0;
    this.#parts = [];
    this.#length = 0;
  }

  #add(bytes: Buffer, from: number, to: number): void {
    const length = to - from;
    // The decoder has room for no more.
    const most = Math.min(this.#bounds.headerBlockBytes, MAX_BLOCK_BYTES);
    if (this.#length + length > most || !this.#holding.change(length))
      throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, 'a header block that is too long');
    this.#length += length;
    // A view would keep what was read along with it.
    if (length > 0) this.#parts.push(Buffer.from(bytes.subarray(from, to)));
  }
}
