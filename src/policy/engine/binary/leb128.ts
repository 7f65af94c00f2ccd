import { ServiceError } from '../../../errors.ts';

/** LEB128 integers of the WebAssembly binary format (core specification, section 5.2.2), decoded strictly. */

/** Thrown for bytes that are not the binary format. */
export class MalformedModule extends Error {}

/** Runs what reads a module. @throws ServiceError `policy_invalid` for one that is not well formed */
export function refuseMalformed<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    // TypeError: a name that is no UTF-8. RangeError: calls nested deeper than the stack.
    if (!(cause instanceof MalformedModule || cause instanceof TypeError || cause instanceof RangeError))
      throw cause;
    throw new ServiceError('policy_invalid', 'The compiled policy is not a usable WebAssembly module.', {
      cause,
      detail: cause.message,
    });
  }
}

export class Reader {
  readonly bytes: Uint8Array;
  readonly end: number;
  at: number;

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  byte(): number {
    if (this.at >= this.end) throw new MalformedModule(`the bytes end early at ${this.at}`);
    return this.bytes[this.at++] as number;
  }

  skip(count: number): void {
    if (count > this.end - this.at) throw new MalformedModule(`the bytes end early at ${this.at}`);
    this.at += count;
  }

  /** A reader of the next `size` bytes; this one moves behind them. */
  slice(size: number): Reader {
    const start = this.at;
    this.skip(size);
    return new Reader(this.bytes, start, this.at);
  }

  copy(): Reader {
    return new Reader(this.bytes, this.at, this.end);
  }

  u32(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte();
      if (shift === 28 && byte > 0x0f) break;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new MalformedModule(`an integer of more than 32 bits ends at ${this.at}`);
  }

  s32(): number {
    const start = this.at;
    this.skipSigned(32);
    let value = 0;
    let shift = 0;
    for (let at = start; at < this.at; at += 1, shift += 7) value |= ((this.bytes[at] ?? 0) & 0x7f) << shift;
    const isNegative = ((this.bytes[this.at - 1] ?? 0) & 0x40) !== 0;
    return isNegative && shift < 32 ? value | (-1 << shift) : value;
  }

  /**
   * Moves over a signed integer of at most `bits` bits.
   * The unused bits of the last possible byte must repeat the sign.
   */
  skipSigned(bits: 32 | 33 | 64): void {
    const last = Math.ceil(bits / 7) - 1;
    for (let index = 0; index <= last; index += 1) {
      const byte = this.byte();
      if (index === last) {
        const used = bits - last * 7;
        const sign = (0x7f << (used - 1)) & 0x7f;
        if (byte >= 0x80 || ((byte & sign) !== 0 && (byte & sign) !== sign)) break;
      }
      if (byte < 0x80) return;
    }
    throw new MalformedModule(`an integer of more than ${bits} bits ends at ${this.at}`);
  }

  name(): string {
    const text = this.slice(this.u32());
    return new TextDecoder('utf-8', { fatal: true }).decode(text.bytes.subarray(text.at, text.end));
  }

  done(): boolean {
    return this.at >= this.end;
  }
}

/** Shortest unsigned encoding. */
export function unsigned(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  bytes.push(rest);
  return bytes;
}

/** Shortest signed encoding of a number that is not negative. */
export function signed(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 0x40) {
    bytes.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  bytes.push(rest);
  return bytes;
}
