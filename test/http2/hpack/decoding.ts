import { ConnectionError, ErrorCode } from '../../../src/http2/errors.ts';
import type { Fields } from '../../../src/http2/fields.ts';
import { HpackDecoder } from '../../../src/http2/hpack/decoder.ts';

export type Pair = [name: string, value: string];

export const LIMIT = 32 * 1024;

export const pairsOf = ({ list }: Fields): Pair[] =>
  Array.from({ length: list.length / 2 }, (_, at) => [list[2 * at] as string, list[2 * at + 1] as string]);

/** Decodes blocks one after the other, each within a buffer that has more before and behind. */
export class Decoding {
  readonly #decoder = new HpackDecoder();

  get held(): number {
    return this.#decoder.held;
  }

  fields(block: Uint8Array, limit = LIMIT): Fields {
    const around = Buffer.concat([Buffer.alloc(7, 0xff), block, Buffer.alloc(64, 0x41)]);
    return this.#decoder.decode(around, 7, 7 + block.length, limit);
  }

  pairs(block: Uint8Array | string): Pair[] {
    return pairsOf(this.fields(typeof block === 'string' ? hex(block) : block));
  }

  /** What it throws must be a COMPRESSION_ERROR; answers with whether it threw. */
  refuses(block: Uint8Array | string): boolean {
    try {
      this.pairs(block);
      return false;
    } catch (error) {
      if (error instanceof ConnectionError && error.code === ErrorCode.COMPRESSION_ERROR) return true;
      throw error;
    }
  }
}

/** Of digits with blanks where the RFC has some. */
export const hex = (digits: string): Buffer => Buffer.from(digits.replaceAll(/\s/g, ''), 'hex');
