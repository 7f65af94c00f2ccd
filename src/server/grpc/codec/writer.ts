const INITIAL_BYTES = 64 * 1024;

/**
 * Writes the protobuf wire format into one buffer that is used again and again; `take` copies out what was written.
 * Nothing here yields, so one writer serves the whole thread.
 */
export class WireWriter {
  #buffer = Buffer.allocUnsafe(INITIAL_BYTES);
  #at = 0;

  get length(): number {
    return this.#at;
  }

  reset(): void {
    this.#at = 0;
  }

  take(): Uint8Array {
    return Buffer.from(this.#buffer.subarray(0, this.#at));
  }

  byte(value: number): void {
    this.#reserve(1);
    this.#buffer[this.#at] = value;
    this.#at += 1;
  }

  varint(value: number): void {
    this.#reserve(10);
    let rest = value;
    while (rest >= 0x80) {
      this.#buffer[this.#at] = (rest % 128) + 128;
      this.#at += 1;
      rest = Math.floor(rest / 128);
    }
    this.#buffer[this.#at] = rest;
    this.#at += 1;
  }

  /** A varint field, left out at its default of 0. */
  number(tag: number, value: number): void {
    if (value === 0) return;
    this.byte(tag);
    this.varint(value);
  }

  bigint(tag: number, value: bigint): void {
    if (value <= BigInt(Number.MAX_SAFE_INTEGER)) {
      this.number(tag, Number(value));
      return;
    }
    this.byte(tag);
    this.#reserve(10);
    let rest = value;
    for (; rest >= 0x80n; rest >>= 7n) this.byte(Number(rest & 0x7fn) + 128);
    this.byte(Number(rest));
  }

  /** A string field, left out when empty. */
  string(tag: number, value: string): void {
    if (value === '') return;
    this.byte(tag);
    // Room for the longest UTF-8 the string can have; nearly all strings here are short and ASCII.
    this.#reserve(value.length * 3 + 5);
    if (value.length < 0x80 && this.#ascii(value)) return;
    this.varint(Buffer.byteLength(value));
    this.#at += this.#buffer.write(value, this.#at, 'utf8');
  }

  /** Writes a short string with its length, if it is ASCII: for such a one a call into the runtime costs more. */
  #ascii(value: string): boolean {
    const start = this.#at + 1;
    for (let at = 0; at < value.length; at += 1) {
      const unit = value.charCodeAt(at);
      if (unit >= 0x80) return false;
      this.#buffer[start + at] = unit;
    }
    this.#buffer[this.#at] = value.length;
    this.#at = start + value.length;
    return true;
  }

  bytes(tag: number, value: Uint8Array): void {
    this.byte(tag);
    this.varint(value.length);
    this.raw(value);
  }

  /** Bytes as they are, without a tag. */
  raw(value: Uint8Array): void {
    this.#reserve(value.length);
    this.#buffer.set(value, this.#at);
    this.#at += value.length;
  }

  /** An embedded message. Its length goes before it and is known after it: five bytes are kept free, then closed up. */
  message(tag: number, write: () => void): void {
    this.byte(tag);
    this.#reserve(5);
    const start = this.#at + 5;
    this.#at = start;
    write();
    const length = this.#at - start;
    this.#at = start - 5;
    this.varint(length);
    this.#buffer.copyWithin(this.#at, start, start + length);
    this.#at += length;
  }

  /** Where four bytes big-endian will be known later. */
  skip(count: number): number {
    this.#reserve(count);
    this.#at += count;
    return this.#at - count;
  }

  putUint32(value: number, at: number): void {
    this.#buffer.writeUInt32BE(value, at);
  }

  #reserve(count: number): void {
    if (this.#at + count <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#at + count));
    this.#buffer.copy(larger, 0, 0, this.#at);
    this.#buffer = larger;
  }
}
