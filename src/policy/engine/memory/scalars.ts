import type { Heap } from '../heap.ts';
import { bytesOf } from '../values/utf8.ts';
import { integerBytes, inWords, kind, numberForm, numberTextBytes, stringBytes } from './layout.ts';

/** Up to here a loop is faster than a call of the runtime. */
export const shortText = 48;

/** Writes texts, numbers and words one behind the other, and makes room for them. */
export class ScalarWriter {
  protected words: Int32Array;
  protected bytes: Buffer;
  /** The first address behind what was written. */
  protected at = 0;
  /** Where equal texts and numbers stand already, if they are to be shared. */
  protected shared: Map<string | number, number> | undefined;
  /** Whether texts may stand for bytes that are no UTF-8 (values/utf8.ts): those of built-ins do, none from outside. */
  protected keepsBytes = false;
  private readonly heap: Heap;
  private readonly makeRoom: (address: number, size: number) => void;
  private size: number;

  protected constructor(heap: Heap, makeRoom: (address: number, size: number) => void) {
    this.heap = heap;
    this.makeRoom = makeRoom;
    this.words = heap.words;
    this.bytes = heap.view;
    this.size = heap.size;
  }

  protected word(word: number): number {
    const address = this.allocate(4);
    this.words[address >>> 2] = word;
    return address;
  }

  protected string(text: string): number {
    if (this.shared) return this.once(this.shared, text, () => this.encoded(text));
    return this.plain(text);
  }

  private once(shared: Map<string | number, number>, value: string | number, write: () => number): number {
    let address = shared.get(value);
    if (address === undefined) {
      address = write();
      shared.set(value, address);
    }
    return address;
  }

  private plain(text: string): number {
    const { length } = text;
    if (length > shortText) return this.encoded(text);
    const address = this.allocate(stringBytes + inWords(length));
    const bytes = this.bytes;
    const start = address + stringBytes;
    for (let index = 0; index < length; index += 1) {
      const unit = text.charCodeAt(index);
      if (unit > 0x7f) return this.encoded(text, address);
      bytes[start + index] = unit;
    }
    return this.stringAt(address, length);
  }

  private encoded(text: string, start = this.at): number {
    this.at = start;
    if (this.keepsBytes && !text.isWellFormed()) return this.raw(bytesOf(text));
    // Half a surrogate pair has no UTF-8: it becomes U+FFFD, as where OPA reads JSON.
    const length = Buffer.byteLength(text, 'utf8');
    const address = this.allocate(stringBytes + inWords(length));
    this.bytes.write(text, address + stringBytes, 'utf8');
    return this.stringAt(address, length);
  }

  private raw(text: Buffer): number {
    const address = this.allocate(stringBytes + inWords(text.length));
    this.bytes.set(text, address + stringBytes);
    return this.stringAt(address, text.length);
  }

  private stringAt(address: number, length: number): number {
    const words = this.words;
    const at = address >>> 2;
    words[at] = kind.internedString;
    words[at + 1] = length;
    words[at + 2] = address + stringBytes;
    return address;
  }

  protected number(value: number): number {
    if (this.shared) return this.once(this.shared, value, () => this.numberOf(value));
    return this.numberOf(value);
  }

  private numberOf(value: number): number {
    if (value === (value | 0)) return this.integerAt(this.allocate(integerBytes), value | 0, value >> 31);
    if (Number.isSafeInteger(value))
      return this.integerAt(this.allocate(integerBytes), value | 0, Math.floor(value / 2 ** 32));
    return Number.isFinite(value) ? this.numberText(String(value)) : this.word(kind.null);
  }

  protected integer(value: bigint): number {
    if (BigInt.asIntN(64, value) !== value) return this.numberText(String(value));
    const [low, high] = [Number(BigInt.asIntN(32, value)), Number(value >> 32n)];
    return this.integerAt(this.allocate(integerBytes), low, high);
  }

  protected numberText(text: string): number {
    const address = this.allocate(numberTextBytes + inWords(text.length));
    const at = address >>> 2;
    this.words[at] = kind.number | (numberForm.text << 8);
    this.words[at + 2] = address + numberTextBytes;
    this.words[at + 3] = text.length;
    this.words[at + 4] = 0;
    this.bytes.write(text, address + numberTextBytes, 'latin1');
    return address;
  }

  protected integerAt(address: number, low: number, high: number): number {
    const at = address >>> 2;
    this.words[at] = kind.number | (numberForm.integer << 8);
    this.words[at + 2] = low;
    this.words[at + 3] = high;
    return address;
  }

  /** The views may be others afterwards. */
  protected allocate(size: number): number {
    const address = this.at;
    if (address + size > this.size) {
      this.makeRoom(address, size);
      this.refresh();
    }
    this.at = address + size;
    return address;
  }

  protected refresh(): void {
    this.words = this.heap.words;
    this.bytes = this.heap.view;
    this.size = this.bytes.length;
  }
}
