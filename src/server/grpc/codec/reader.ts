/**
 * Reads the protobuf wire format, for messages that are as their writers make them. What is unusual but legal (a
 * message field twice, an unknown field, a group) throws `Unusual`, and the generated code, which knows it all, reads
 * the message instead. Only what both understand alike is read here; a property test holds them together.
 */
export class Unusual extends Error {}

export const WIRE = { varint: 0, fixed64: 1, bytes: 2 } as const;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Names read lately, each at the place that its bytes tell. Ids and values are never among them. */
const NAMES = 512;
const LONGEST_NAME = 32;
const names: (string | undefined)[] = Array.from({ length: NAMES });

export class WireReader {
  readonly #bytes: Buffer;
  #at: number;
  #end: number;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = 0;
    this.#end = bytes.length;
  }

  get more(): boolean {
    return this.#at < this.#end;
  }

  /** Field number and wire type as on the wire: `number << 3 | type`. */
  tag(): number {
    const byte = this.#bytes[this.#at] ?? 0x80;
    // All fields here are below 16: one byte.
    if (byte >= 0x80) throw new Unusual();
    this.#at += 1;
    return byte;
  }

  /** A varint below 2^53. */
  varint(): number {
    let value = 0;
    let scale = 1;
    for (let count = 0; count < 8; count += 1) {
      if (this.#at >= this.#end) throw new Unusual();
      const byte = this.#bytes[this.#at] ?? 0;
      this.#at += 1;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) throw new Unusual();
        return value;
      }
      scale *= 128;
    }
    throw new Unusual();
  }

  double(): number {
    if (this.#at + 8 > this.#end) throw new Unusual();
    const value = this.#bytes.readDoubleLE(this.#at);
    this.#at += 8;
    return value;
  }

  string(): string {
    const to = this.#length();
    return this.#text(this.#at, to);
  }

  #text(start: number, to: number): string {
    let ascii = true;
    for (let at = start; at < to; at += 1)
      if ((this.#bytes[at] ?? 0) >= 0x80) {
        ascii = false;
        break;
      }
    this.#at = to;
    if (ascii) return this.#bytes.toString('latin1', start, to);
    try {
      return utf8.decode(this.#bytes.subarray(start, to));
    } catch {
      throw new Unusual();
    }
  }

  /** A string that is likely to come again, such as the name of a member: told by its bytes, it is not made anew. */
  name(): string {
    const to = this.#length();
    const bytes = this.#bytes;
    const start = this.#at;
    const length = to - start;
    if (length === 0 || length > LONGEST_NAME) return this.#text(start, to);
    const place = (length * 31 + (bytes[start] ?? 0) * 7 + (bytes[to - 1] ?? 0)) & (NAMES - 1);
    const known = names[place];
    if (known !== undefined && known.length === length) {
      let at = 0;
      while (at < length && known.charCodeAt(at) === bytes[start + at]) at += 1;
      if (at === length) {
        this.#at = to;
        return known;
      }
    }
    const text = this.#text(start, to);
    names[place] = text;
    return text;
  }

  /** Reads an embedded message with `read`, which finds `more` true until the message's end. */
  message<T>(read: (reader: WireReader) => T): T {
    const to = this.#length();
    const outer = this.#end;
    this.#end = to;
    const value = read(this);
    if (this.#at !== to) throw new Unusual();
    this.#end = outer;
    return value;
  }

  /** Steps over the length; answers where the field ends. */
  #length(): number {
    const length = this.varint();
    const to = this.#at + length;
    if (to > this.#end) throw new Unusual();
    return to;
  }
}
