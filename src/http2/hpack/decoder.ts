import { ConnectionError, ErrorCode } from '../errors.ts';
import { Fields } from '../fields.ts';
import { DynamicTable } from './dynamic-table.ts';
import { huffmanDecode } from './huffman.ts';
import { STATIC_ENTRIES, STATIC_TABLE } from './static-table.ts';

/** RFC 9113 section 6.5.2: SETTINGS_HEADER_TABLE_SIZE unless said otherwise, and it is not. */
export const TABLE_BYTES = 4_096;

/** The most bytes of a header block. A decoded string is at most 8/5 as long as it was encoded. */
export const MAX_BLOCK_BYTES = 64 * 1024;
/** For one string at a time: nothing of it is kept. */
const scratch = Buffer.allocUnsafeSlow(Math.ceil((MAX_BLOCK_BYTES * 8) / 5));

/** An integer of more is nothing anybody means, and would leave 31 bits (RFC 7541 section 5.1). */
const MAX_INTEGER = 2 ** 24;

/** The first of the two entries of the static table whose name is `:path`. */
const PATH = 4;
/** A longer one is not kept. */
const PATH_BYTES = 256;

/** RFC 9113 section 8.2.1: a token of RFC 9110 section 5.6.2 without capitals; pseudo-header fields begin with a colon. */
const NAME = /^:?[!#$%&'*+.^_`|~0-9a-z-]+$/;
/** Control characters other than a tab, and blanks at either end. */
const NO_VALUE = /[^\t\x20-\x7e\x80-\xff]|^[ \t]|[ \t]$/;

/**
 * Decodes the header blocks of one connection. Each must pass through it whole and in order, whatever becomes of its
 * request: a decoder out of step would give one caller's fields to another.
 */
export class HpackDecoder {
  readonly #table = new DynamicTable(TABLE_BYTES);
  #bytes: Buffer = NOTHING;
  #at = 0;
  #end = 0;
  /** Whether the string that was read last is what RFC 9113 section 8.2.1 takes. */
  #isSound = true;
  /** The last `:path`, as it came: encoders send it anew with each request, and of most connections it is the same. */
  #path: { readonly encoded: Buffer; readonly text: string; readonly isSound: boolean } | undefined;

  /** Bytes that the dynamic table holds, as it counts. */
  get held(): number {
    return this.#table.size;
  }

  /**
   * The fields of the block `bytes[from, to)`, of which at most `limit` bytes are kept. Throws COMPRESSION_ERROR, after
   * which the connection is of no use (RFC 7541 section 2.2).
   */
  decode(bytes: Buffer, from: number, to: number, limit: number): Fields {
    const fields = new Fields();
    this.#bytes = bytes;
    this.#at = from;
    this.#end = to;
    let mayResize = true;
    while (this.#at < this.#end) {
      const first = bytes[this.#at] as number;
      if (first >= 0x80) this.#indexed(fields, this.#integer(7), limit);
      else if (first >= 0x40) this.#literal(fields, this.#integer(6), true, limit);
      else if (first < 0x20) this.#literal(fields, this.#integer(4), false, limit);
      else {
        // Section 4.2: only where a block begins.
        if (!mayResize || !this.#table.resize(this.#integer(5)))
          throw broken('a table size that is not allowed');
        continue;
      }
      mayResize = false;
    }
    this.#bytes = NOTHING;
    return fields;
  }

  /** Section 6.1. */
  #indexed(fields: Fields, index: number, limit: number): void {
    if (index > 0 && index <= STATIC_ENTRIES) {
      fields.put(STATIC_TABLE[2 * index - 2] as string, STATIC_TABLE[2 * index - 1] as string, limit);
      return;
    }
    const entry = this.#entry(index);
    if (!this.#table.isSound(entry)) fields.isSound = false;
    fields.put(this.#table.name(entry), this.#table.value(entry), limit);
  }

  /** Section 6.2: with indexing, without, or never to be indexed, which for who passes nothing on is the same. */
  #literal(fields: Fields, index: number, isIndexed: boolean, limit: number): void {
    let name: string;
    let isSound = true;
    if (index === 0) {
      name = this.#string(NAME, true);
      isSound = this.#isSound;
    } else if (index <= STATIC_ENTRIES) name = STATIC_TABLE[2 * index - 2] as string;
    else {
      const entry = this.#entry(index);
      name = this.#table.name(entry);
      isSound = this.#table.isSound(entry) || NAME.test(name);
    }
    const value = index === PATH || index === PATH + 1 ? this.#pathValue() : this.#string(NO_VALUE, false);
    isSound &&= this.#isSound;
    if (!isSound) fields.isSound = false;
    if (isIndexed) this.#table.add(name, value, isSound);
    fields.put(name, value, limit);
  }

  /** The same bytes are the same text: they need not be decoded to be known. */
  #pathValue(): string {
    const from = this.#at;
    const last = this.#path;
    if (last && this.#startsWith(last.encoded)) {
      this.#at = from + last.encoded.length;
      this.#isSound = last.isSound;
      return last.text;
    }
    const text = this.#string(NO_VALUE, false);
    const encoded = Buffer.from(this.#bytes.subarray(from, this.#at));
    this.#path = encoded.length <= PATH_BYTES ? { encoded, text, isSound: this.#isSound } : undefined;
    return text;
  }

  /** Whether these bytes come next. The first of them are the string's length: none is only its beginning. */
  #startsWith(encoded: Buffer): boolean {
    if (this.#at + encoded.length > this.#end) return false;
    for (let at = 0; at < encoded.length; at += 1)
      if (this.#bytes[this.#at + at] !== encoded[at]) return false;
    return true;
  }

  /** Section 2.3.3: an index beyond both tables is an error. */
  #entry(index: number): number {
    const entry = index - STATIC_ENTRIES - 1;
    if (entry < 0 || entry >= this.#table.count) throw broken('an index that is none');
    return entry;
  }

  /** Section 5.1. */
  #integer(prefixBits: number): number {
    const most = (1 << prefixBits) - 1;
    let value = (this.#bytes[this.#at++] as number) & most;
    if (value < most) return value;
    for (let shift = 0; this.#at < this.#end; shift += 7) {
      const byte = this.#bytes[this.#at++] as number;
      // Zeros without an end add nothing and are no integer either.
      if (shift > 21) break;
      value += (byte & 0x7f) << shift;
      if (value > MAX_INTEGER) break;
      if (byte < 0x80) return value;
    }
    throw broken('an integer that is too large or has no end');
  }

  /** Section 5.2. Whether it matches `pattern` as wanted is in `#isSound` then. */
  #string(pattern: RegExp, wanted: boolean): string {
    if (this.#at >= this.#end) throw broken('a block that ends within a field');
    const isHuffman = (this.#bytes[this.#at] as number) >= 0x80;
    const length = this.#integer(7);
    const from = this.#at;
    const to = from + length;
    if (to > this.#end) throw broken('a string longer than its block');
    this.#at = to;
    let text: string;
    if (isHuffman) {
      const decoded = huffmanDecode(this.#bytes, from, to, scratch);
      if (decoded < 0) throw broken('a string that is no Huffman code');
      text = scratch.toString('latin1', 0, decoded);
    } else text = this.#bytes.toString('latin1', from, to);
    this.#isSound = pattern.test(text) === wanted;
    return text;
  }
}

const broken = (what: string): ConnectionError => new ConnectionError(ErrorCode.COMPRESSION_ERROR, what);

const NOTHING = Buffer.alloc(0);
