import { Filled, Hole, Lasting, type Outline } from '../../../input.ts';
import type { Heap } from '../heap.ts';
import { insert } from './buckets.ts';
import type { Image } from './image.ts';
import {
  arrayBytes,
  bucketsFor,
  elementBytes,
  integerBytes,
  inWords,
  kind,
  mapBytes,
  memberBytes,
  numberForm,
  numberTextBytes,
  stringBytes,
} from './layout.ts';
import { hashAt, Names } from './names.ts';

/**
 * Thrown for what the module is to parse: half a surrogate pair, which has no UTF-8 and of which its parser makes what
 * it likes, and names that collide, since there it pays with fuel for the work they make.
 */
export class Unwritable extends Error {}

/** Where images come from: they are made by a writer too. */
export interface Images {
  readonly ofLasting: (lasting: Lasting) => Image | undefined;
  readonly ofOutline: (outline: Outline) => Image;
}

/** How many names one input may have remembered: that takes longer than to write them. */
const mostLearnt = 16;
/** Up to here a loop is faster than a call of the runtime. */
const shortText = 48;

/**
 * Writes JavaScript values of JSON's kinds as the values of OPA's runtime, as if it had parsed `JSON.stringify(value)`.
 * Nothing is shared between the parts of a value, so that what an evaluation costs depends on its content alone. The
 * runtime only reads its input: strings are interned for it, and numbers, arrays and objects it copies before a change.
 */
export class ValueWriter {
  readonly #heap: Heap;
  readonly #makeRoom: (address: number, size: number) => void;
  readonly #images: Images | undefined;
  #words: Int32Array;
  #bytes: Buffer;
  #size: number;
  #at = 0;
  #holes = 0;
  #hash = 0;
  #toLearn = 0;
  readonly #names = new Names();

  /**
   * `makeRoom` lets the memory grow to hold `size` bytes from an address on, or throws. Without images everything is
   * written, and nothing is filled.
   */
  constructor(heap: Heap, makeRoom: (address: number, size: number) => void, images?: Images) {
    this.#heap = heap;
    this.#makeRoom = makeRoom;
    this.#images = images;
    this.#words = heap.words;
    this.#bytes = heap.view;
    this.#size = heap.size;
  }

  /** The first address behind what was written. */
  get end(): number {
    return this.#at;
  }

  /** Forgets the names it met: those of one tenant are not another's. */
  forget(): void {
    this.#names.clear();
  }

  /**
   * Writes a value from `start` on, a multiple of four, and returns its address.
   * @param holes what takes the place of an address for hole 0; they follow each other
   * @throws Unwritable, and what `makeRoom` throws
   */
  write(value: unknown, start: number, holes = 0): number {
    this.#refresh();
    this.#at = start;
    this.#holes = holes;
    this.#toLearn = this.#images ? mostLearnt : 0;
    return this.#value(value);
  }

  #value(value: unknown): number {
    if (typeof value === 'string') return this.#string(value);
    if (typeof value === 'number') return this.#number(value);
    if (typeof value === 'boolean') return this.#word(kind.internedBoolean | (value ? 0x100 : 0));
    if (typeof value !== 'object' || value === null) return this.#word(kind.null);
    if (value instanceof Lasting) return this.#lasting(value);
    if (value instanceof Filled) return this.#filled(value);
    if (value instanceof Hole) return this.#holes + value.number;
    return Array.isArray(value) ? this.#array(value) : this.#object(value);
  }

  #word(word: number): number {
    const address = this.#allocate(4);
    this.#words[address >>> 2] = word;
    return address;
  }

  #string(text: string): number {
    const { length } = text;
    if (length > shortText) return this.#encoded(text);
    const address = this.#allocate(stringBytes + inWords(length));
    const bytes = this.#bytes;
    const start = address + stringBytes;
    for (let index = 0; index < length; index += 1) {
      const unit = text.charCodeAt(index);
      if (unit > 0x7f) return this.#encoded(text, address);
      bytes[start + index] = unit;
    }
    return this.#stringAt(address, length);
  }

  #encoded(text: string, start = this.#at): number {
    if (!text.isWellFormed()) throw new Unwritable('half a surrogate pair');
    this.#at = start;
    const length = Buffer.byteLength(text, 'utf8');
    const address = this.#allocate(stringBytes + inWords(length));
    this.#bytes.write(text, address + stringBytes, 'utf8');
    return this.#stringAt(address, length);
  }

  #stringAt(address: number, length: number): number {
    const words = this.#words;
    const at = address >>> 2;
    words[at] = kind.internedString;
    words[at + 1] = length;
    words[at + 2] = address + stringBytes;
    return address;
  }

  #number(value: number): number {
    if (value === (value | 0)) return this.#integerAt(this.#allocate(integerBytes), value | 0);
    if (!Number.isFinite(value)) return this.#word(kind.null);
    // The runtime takes only the lower half of an integer in place when it calculates.
    const text = String(value);
    const address = this.#allocate(numberTextBytes + inWords(text.length));
    const at = address >>> 2;
    this.#words[at] = kind.number | (numberForm.text << 8);
    this.#words[at + 2] = address + numberTextBytes;
    this.#words[at + 3] = text.length;
    this.#words[at + 4] = 0;
    this.#bytes.write(text, address + numberTextBytes, 'latin1');
    return address;
  }

  #integerAt(address: number, value: number): number {
    const at = address >>> 2;
    this.#words[at] = kind.number | (numberForm.integer << 8);
    this.#words[at + 2] = value;
    this.#words[at + 3] = value >> 31;
    return address;
  }

  #array(values: readonly unknown[]): number {
    const { length } = values;
    const address = this.#allocate(arrayBytes + length * (elementBytes + integerBytes));
    const elements = address + arrayBytes;
    const indexes = elements + length * elementBytes;
    const at = address >>> 2;
    this.#words[at] = kind.array;
    this.#words[at + 1] = length === 0 ? 0 : elements;
    this.#words[at + 2] = length;
    this.#words[at + 3] = length;
    for (let index = 0; index < length; index += 1) {
      const value = this.#value(values[index]);
      const element = (elements + index * elementBytes) >>> 2;
      this.#words[element] = this.#integerAt(indexes + index * integerBytes, index);
      this.#words[element + 1] = value;
    }
    return address;
  }

  #object(members: object): number {
    const names = Object.keys(members);
    const values = Object.values(members) as unknown[];
    let length = 0;
    for (let index = 0; index < values.length; index += 1) if (values[index] !== undefined) length += 1;
    const count = bucketsFor(length);
    const address = this.#allocate(mapBytes + count * 4 + length * memberBytes);
    const words = this.#words;
    const at = address >>> 2;
    const buckets = (address + mapBytes) >>> 2;
    words[at] = kind.object;
    words[at + 1] = address + mapBytes;
    words[at + 2] = count;
    words[at + 3] = length;
    for (let bucket = 0; bucket < count; bucket += 1) words[buckets + bucket] = 0;
    let member = address + mapBytes + count * 4;
    for (let index = 0; index < names.length; index += 1) {
      if (values[index] === undefined) continue;
      const key = this.#name(names[index] as string);
      if (!insert(this.#words, this.#bytes, buckets + (this.#hash & (count - 1)), key, member))
        throw new Unwritable('names collide');
      const value = this.#value(values[index]);
      this.#words[(member >>> 2) + 1] = value;
      member += memberBytes;
    }
    return address;
  }

  /** A string as #string writes it, and its hash in #hash. */
  #name(text: string): number {
    const known = this.#names.find(text);
    if (known) {
      const { words, hash } = known;
      const address = this.#allocate(words.length * 4);
      const at = address >>> 2;
      const target = this.#words;
      for (let index = 0; index < words.length; index += 1) target[at + index] = words[index] as number;
      target[at + 2] = address + stringBytes;
      this.#hash = hash;
      return address;
    }
    const address = this.#string(text);
    this.#hash = hashAt(this.#words, this.#bytes, address);
    if (this.#toLearn > 0 && text.length <= shortText) {
      this.#toLearn -= 1;
      this.#names.keep(text, { words: this.#words.slice(address >>> 2, this.#at >>> 2), hash: this.#hash });
    }
    return address;
  }

  #image(image: Image): number {
    const address = this.#allocate(image.size);
    this.#words.set(image.at(address), address >>> 2);
    return address;
  }

  #lasting(lasting: Lasting): number {
    const image = this.#images?.ofLasting(lasting);
    return image ? this.#image(image) : this.#value(lasting.value);
  }

  #filled({ outline, values }: Filled): number {
    const image = this.#images?.ofOutline(outline);
    if (!image) throw new TypeError('an image is not filled by another');
    const address = this.#image(image);
    const { holes } = image;
    for (let index = 0; index < holes.length; index += 1) {
      const value = this.#value(values[index]);
      this.#words[(address >>> 2) + (holes[index] as number)] = value;
    }
    return address;
  }

  /** The views may be others afterwards. */
  #allocate(size: number): number {
    const address = this.#at;
    if (address + size > this.#size) {
      this.#makeRoom(address, size);
      this.#refresh();
    }
    this.#at = address + size;
    return address;
  }

  #refresh(): void {
    this.#words = this.#heap.words;
    this.#bytes = this.#heap.view;
    this.#size = this.#bytes.length;
  }
}
