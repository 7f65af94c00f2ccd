import type { Heap } from '../heap.ts';
import { numberOf } from '../values/numbers.ts';
import { unitsOfDigits } from '../values/parse.ts';
import { decodeUtf8 } from '../values/utf8.ts';
import { RegoObject, RegoSet, type Value } from '../values/values.ts';
import { kind, numberForm } from './layout.ts';

/**
 * Fuel units of a value that is read, of one that is a member or a key, which is written once more to be found, and of
 * a byte of text and of a key. Measured: some 80 ns a value, 300 ns a member, and a nanosecond a character.
 */
export const unitsPerValue = 60;
const unitsPerKey = 200;
const unitsPerByte = 1;
const unitsPerKeyByte = 2;

/** Reads values as a module has them. It aligns nothing, so by bytes, not by words. */
export class ValueReader {
  readonly #view: Buffer;
  readonly #spend: (units: number) => void;

  /** A reader is for one moment: a call of the module may replace the memory. */
  constructor(heap: Heap, spend: (units: number) => void) {
    this.#view = heap.view;
    this.#spend = spend;
  }

  read(address: number): Value {
    this.#spend(unitsPerValue);
    const view = this.#view;
    switch (view[address]) {
      case kind.null:
        return null;
      case kind.boolean:
      case kind.internedBoolean:
        return view[address + 1] !== 0;
      case kind.number:
        return this.#number(address);
      case kind.string:
      case kind.internedString:
        return this.#text(view.readUInt32LE(address + 8), view.readUInt32LE(address + 4));
      case kind.array:
        return this.#array(address);
      case kind.object:
        return this.#object(address);
      case kind.set:
        return this.#set(address);
      default:
        throw new TypeError(`no value at ${address}`);
    }
  }

  #text(start: number, length: number): string {
    this.#spend(length * unitsPerByte);
    const text = this.#view.toString('utf8', start, start + length);
    // Node's U+FFFD may stand for bytes that are none of it.
    return text.includes('\ufffd') ? decodeUtf8(this.#view.subarray(start, start + length)) : text;
  }

  #number(address: number): Value {
    const view = this.#view;
    if (view[address + 1] === numberForm.integer) {
      const high = view.readInt32LE(address + 12);
      const low = view.readUInt32LE(address + 8);
      const value = high * 2 ** 32 + low;
      return Number.isSafeInteger(value) ? value : view.readBigInt64LE(address + 8);
    }
    const length = view.readUInt32LE(address + 12);
    this.#spend(unitsOfDigits(length));
    const start = view.readUInt32LE(address + 8);
    return numberOf(view.toString('latin1', start, start + length));
  }

  #array(address: number): Value[] {
    const view = this.#view;
    const elements = view.readUInt32LE(address + 4);
    const length = view.readUInt32LE(address + 8);
    const values: Value[] = [];
    for (let index = 0; index < length; index += 1)
      values.push(this.read(view.readUInt32LE(elements + index * 8 + 4)));
    return values;
  }

  #object(address: number): RegoObject {
    const object = new RegoObject();
    for (const member of this.#members(address, 8))
      object.set(this.#key(this.#view.readUInt32LE(member)), this.read(this.#view.readUInt32LE(member + 4)));
    return object;
  }

  #set(address: number): RegoSet {
    const set = new RegoSet();
    for (const member of this.#members(address, 4)) set.add(this.#key(this.#view.readUInt32LE(member)));
    return set;
  }

  *#members(address: number, next: number): Iterable<number> {
    const view = this.#view;
    const buckets = view.readUInt32LE(address + 4);
    const count = view.readUInt32LE(address + 8);
    this.#spend(count);
    for (let bucket = 0; bucket < count; bucket += 1)
      for (
        let member = view.readUInt32LE(buckets + bucket * 4);
        member !== 0;
        member = view.readUInt32LE(member + next)
      )
        yield member;
  }

  /** A value that is to be found by its identity. */
  #key(address: number): Value {
    const value = this.read(address);
    this.#spend(unitsPerKey + (typeof value === 'string' ? value.length * unitsPerKeyByte : 0));
    return value;
  }
}
