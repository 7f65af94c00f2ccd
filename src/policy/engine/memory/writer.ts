import { Filled, Hole, Lasting, type Outline } from '../../../input.ts';
import type { Heap } from '../heap.ts';
import { compareValues, Decimal, RegoObject, RegoSet, type Value } from '../values/values.ts';
import { hashValue } from './hashes.ts';
import type { Image } from './image.ts';
import {
  arrayBytes,
  bucketsFor,
  elementBytes,
  inPlace,
  integerBytes,
  kind,
  mapBytes,
  memberBytes,
  setMemberBytes,
  stringBytes,
} from './layout.ts';
import { hashAt, Names } from './names.ts';
import { ScalarWriter, shortText } from './scalars.ts';

/** Where images come from: they are made by a writer too. */
export interface Images {
  readonly ofLasting: (lasting: Lasting) => Image | undefined;
  readonly ofOutline: (outline: Outline) => Image;
}

/** How many names one input may have remembered: that takes longer than to write them. */
const mostLearnt = 16;

/**
 * Writes JavaScript values of JSON's kinds as the values of OPA's runtime, as if it had parsed `JSON.stringify(value)`.
 * Nothing is shared between the parts of a value, so that what an evaluation costs depends on its content alone. The
 * runtime only reads its input: strings are interned for it, and numbers, arrays and objects it copies before a change.
 */
export class ValueWriter extends ScalarWriter {
  readonly #images: Images | undefined;
  #holes = 0;
  #hash = 0;
  #toLearn = 0;
  /** Whether it was just told to forget: who comes once is not learnt from. */
  #isNew = false;
  readonly #names = new Names();

  /**
   * `makeRoom` lets the memory grow to hold `size` bytes from an address on, or throws. Without images everything is
   * written, and nothing is filled.
   */
  constructor(heap: Heap, makeRoom: (address: number, size: number) => void, images?: Images) {
    super(heap, makeRoom);
    this.#images = images;
  }

  /** The first address behind what was written. */
  get end(): number {
    return this.at;
  }

  /** Forgets the names it met: those of one tenant are not another's. */
  forget(): void {
    this.#names.clear();
    this.#isNew = true;
  }

  /**
   * Writes a value from `start` on, a multiple of four, and returns its address.
   * @param holes what takes the place of an address for hole 0; they follow each other
   * @throws what `makeRoom` throws
   */
  write(value: unknown, start: number, holes = 0): number {
    this.refresh();
    this.at = start;
    this.#holes = holes;
    this.#toLearn = this.#images && !this.#isNew ? mostLearnt : 0;
    this.#isNew = false;
    return this.#value(value);
  }

  /** The same for what a built-in made. @throws what `makeRoom` throws */
  writeResult(value: Value, start: number): number {
    this.keepsBytes = true;
    return this.write(value, start);
  }

  /**
   * The same for what stays: equal texts and numbers are written once, which takes a third of the memory. Inputs are
   * not written so, as what an evaluation costs would depend on more than their content.
   */
  writeShared(value: unknown, start: number): number {
    this.shared = new Map();
    try {
      return this.write(value, start);
    } finally {
      this.shared = undefined;
    }
  }

  #value(value: unknown): number {
    if (typeof value === 'string') return this.string(value);
    if (typeof value === 'number') return this.number(value);
    if (typeof value === 'boolean') return this.word(kind.internedBoolean | (value ? 0x100 : 0));
    if (typeof value === 'bigint') return this.integer(value);
    if (typeof value !== 'object' || value === null) return this.word(kind.null);
    if (Array.isArray(value)) return this.#array(value);
    if (value instanceof Lasting) return this.#lasting(value);
    if (value instanceof Filled) return this.#filled(value);
    if (value instanceof Hole) return this.#holes + value.number;
    if (value instanceof Decimal) return this.numberText(value.text);
    if (value instanceof RegoSet) return this.#set(value);
    return value instanceof RegoObject ? this.#map(value) : this.#object(value);
  }

  #array(values: readonly unknown[]): number {
    const { length } = values;
    const shared = this.shared;
    const address = this.allocate(
      arrayBytes + length * (shared ? elementBytes : elementBytes + integerBytes),
    );
    const elements = address + arrayBytes;
    const indexes = elements + length * elementBytes;
    const at = address >>> 2;
    this.words[at] = kind.array;
    this.words[at + 1] = length === 0 ? 0 : elements;
    this.words[at + 2] = length;
    this.words[at + 3] = length;
    for (let index = 0; index < length; index += 1) {
      const value = this.#value(values[index]);
      const element = (elements + index * elementBytes) >>> 2;
      const indexAt = shared ? this.number(index) : this.integerAt(indexes + index * integerBytes, index, 0);
      this.words[element] = indexAt;
      this.words[element + 1] = value;
    }
    return address;
  }

  #object(members: object): number {
    const names = Object.keys(members);
    let values = Object.values(members) as unknown[];
    if (this.shared) {
      names.sort(compareValues);
      values = names.map((name) => (members as Record<string, unknown>)[name]);
    }
    let length = 0;
    for (let index = 0; index < values.length; index += 1) if (values[index] !== undefined) length += 1;
    const count = bucketsFor(length);
    const address = this.allocate(mapBytes + count * 4 + length * memberBytes);
    const buckets = this.#mapAt(address, kind.object, count, length);
    let member = address + mapBytes + count * 4;
    for (let index = 0; index < names.length; index += 1) {
      if (values[index] === undefined) continue;
      const key = this.#name(names[index] as string);
      const bucket = buckets + (this.#hash & (count - 1));
      const value = this.#value(values[index]);
      this.#link(bucket, member, key, value);
      member += memberBytes;
    }
    return address;
  }

  /** With keys of any kind. */
  #map(object: RegoObject): number {
    const count = bucketsFor(object.size);
    const address = this.allocate(mapBytes + count * 4 + object.size * memberBytes);
    const buckets = this.#mapAt(address, kind.object, count, object.size);
    let member = address + mapBytes + count * 4;
    for (const [key, inner] of this.shared ? object.sorted() : object.entries()) {
      const keyAt = this.#key(key);
      const bucket = buckets + (this.#hash & (count - 1));
      this.#link(bucket, member, keyAt, this.#value(inner));
      member += memberBytes;
    }
    return address;
  }

  #set(set: RegoSet): number {
    const count = bucketsFor(set.size);
    const address = this.allocate(mapBytes + count * 4 + set.size * setMemberBytes);
    const buckets = this.#mapAt(address, kind.set, count, set.size);
    let member = (address + mapBytes + count * 4) >>> 2;
    for (const value of this.shared ? set.sorted() : set.members()) {
      const valueAt = this.#key(value);
      const bucket = buckets + (this.#hash & (count - 1));
      const words = this.words;
      words[member] = valueAt;
      words[member + 1] = words[bucket] as number;
      words[bucket] = member << 2;
      member += setMemberBytes / 4;
    }
    return address;
  }

  /** The head of an object or a set, its buckets empty; the index of the first bucket's word. */
  #mapAt(address: number, type: number, count: number, length: number): number {
    const at = address >>> 2;
    const words = this.words;
    const buckets = (address + mapBytes) >>> 2;
    words[at] = type;
    words[at + 1] = address + mapBytes;
    words[at + 2] = count;
    words[at + 3] = length;
    words[at + 4] = this.shared ? (address + mapBytes + count * 4) | inPlace : 0;
    for (let bucket = 0; bucket < count; bucket += 1) words[buckets + bucket] = 0;
    return buckets;
  }

  /** Puts a member first in its bucket: the runtime looks at all of them, and scans sort. */
  #link(bucket: number, member: number, key: number, value: number): void {
    const words = this.words;
    const at = member >>> 2;
    words[at] = key;
    words[at + 1] = value;
    words[at + 2] = words[bucket] as number;
    words[bucket] = member;
  }

  /** A value that is to be found, its hash in #hash. */
  #key(value: Value): number {
    if (typeof value === 'string') return this.#name(value);
    this.#hash = hashValue(value);
    const hash = this.#hash;
    const address = this.#value(value);
    this.#hash = hash;
    return address;
  }

  /** A string as string writes it, and its hash in #hash. */
  #name(text: string): number {
    const known = this.#names.find(text);
    if (known) {
      const { words, hash } = known;
      const address = this.allocate(words.length * 4);
      const at = address >>> 2;
      const target = this.words;
      for (let index = 0; index < words.length; index += 1) target[at + index] = words[index] as number;
      target[at + 2] = address + stringBytes;
      this.#hash = hash;
      return address;
    }
    const address = this.string(text);
    this.#hash = hashAt(this.words, this.bytes, address);
    if (this.#toLearn > 0 && text.length <= shortText) {
      this.#toLearn -= 1;
      this.#names.keep(text, { words: this.words.slice(address >>> 2, this.at >>> 2), hash: this.#hash });
    }
    return address;
  }

  #image(image: Image): number {
    const address = this.allocate(image.size);
    this.words.set(image.at(address), address >>> 2);
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
      this.words[(address >>> 2) + (holes[index] as number)] = value;
    }
    return address;
  }
}
