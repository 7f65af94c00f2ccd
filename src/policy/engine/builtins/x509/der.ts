import { BuiltinError } from '../builtin.ts';
import { bigOf } from '../signing/ecdsa.ts';

/** Tags of ASN.1 (X.690 section 8.1.2), those of a class with its bits. */
export const tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectIdentifier: 0x06,
  utf8String: 0x0c,
  sequence: 0x30,
  set: 0x31,
  numericString: 0x12,
  printableString: 0x13,
  t61String: 0x14,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  bmpString: 0x1e,
} as const;

/** A context-specific tag. */
export const context = (number: number): number => 0x80 | number;
export const constructed = (number: number): number => 0xa0 | number;

export interface Element {
  readonly tag: number;
  readonly content: Buffer;
  /** With tag and length. */
  readonly whole: Buffer;
}

/** What Go's cryptobyte reads: DER with tags of one byte, each length as short as it can be. */
export class DerReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isEmpty(): boolean {
    return this.#at >= this.#bytes.length;
  }

  get rest(): Buffer {
    return this.#bytes.subarray(this.#at);
  }

  peeks(wanted: number): boolean {
    return this.#bytes[this.#at] === wanted;
  }

  /** @throws BuiltinError for what is malformed, or of another tag */
  read(wanted?: number): Element {
    const start = this.#at;
    const found = this.#bytes[start];
    let length = this.#bytes[start + 1];
    if (found === undefined || length === undefined || (found & 0x1f) === 0x1f) throw malformed();
    if (wanted !== undefined && found !== wanted) throw malformed();
    let from = start + 2;
    if (length >= 0x80) {
      const size = length & 0x7f;
      if (size === 0 || size > 4 || from + size > this.#bytes.length) throw malformed();
      length = this.#bytes.readUIntBE(from, size);
      if (length < 0x80 || length < 256 ** (size - 1)) throw malformed();
      from += size;
    }
    const end = from + length;
    if (end > this.#bytes.length) throw malformed();
    this.#at = end;
    return {
      tag: found,
      content: this.#bytes.subarray(from, end),
      whole: this.#bytes.subarray(start, end),
    };
  }

  /** A reader of what is in the next element. */
  enter(wanted: number): DerReader {
    return new DerReader(this.read(wanted).content);
  }

  optional(wanted: number): Element | undefined {
    return this.peeks(wanted) ? this.read(wanted) : undefined;
  }

  integer(wanted: number = tag.integer): bigint {
    return integerOf(this.read(wanted).content);
  }

  boolean(): boolean {
    const [value, ...others] = this.read(tag.boolean).content;
    if (others.length > 0 || (value !== 0 && value !== 0xff)) throw malformed();
    return value === 0xff;
  }

  identifier(): readonly number[] {
    return identifierOf(this.read(tag.objectIdentifier).content);
  }

  /** The bytes of a bit string, those that are not used zero in front (Go's RightAlign). */
  bits(): Buffer {
    const { content } = this.read(tag.bitString);
    const unused = content[0] ?? 8;
    const bytes = content.subarray(1);
    const last = bytes.at(-1) ?? 0;
    if (unused > 7 || (bytes.length === 0 && unused > 0) || (last & ((1 << unused) - 1)) !== 0)
      throw malformed();
    if (unused === 0) return bytes;
    return Buffer.from(
      bytes.map(
        (byte, at) => (byte >> unused) | (((at > 0 ? (bytes[at - 1] ?? 0) : 0) << (8 - unused)) & 0xff),
      ),
    );
  }
}

export const malformed = (): BuiltinError => new BuiltinError('malformed ASN.1');

export function integerOf(content: Buffer): bigint {
  const [first, second] = content;
  if (first === undefined) throw malformed();
  // A byte that says nothing but the sign that the next one says too.
  if (second !== undefined && ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80)))
    throw malformed();
  const value = bigOf(content);
  return first >= 0x80 ? value - (1n << BigInt(content.length * 8)) : value;
}

/** @throws BuiltinError for what is none, or has a part of more than 31 bits */
export function identifierOf(content: Buffer): readonly number[] {
  const parts = identifierParts(content);
  if (parts.some((part) => part > 0x7fff_ffffn)) throw malformed();
  return parts.map(Number);
}

/** However large they are. */
export function identifierParts(content: Buffer): readonly bigint[] {
  if (content.length === 0 || (content.at(-1) ?? 0) >= 0x80) throw malformed();
  const parts: bigint[] = [];
  let part = 0n;
  let isStart = true;
  for (const byte of content) {
    if (isStart && byte === 0x80) throw malformed();
    part = (part << 7n) | BigInt(byte & 0x7f);
    isStart = byte < 0x80;
    if (!isStart) continue;
    if (parts.length > 0) parts.push(part);
    else parts.push(...(part < 80n ? [part / 40n, part % 40n] : [2n, part - 80n]));
    part = 0n;
  }
  return parts;
}
