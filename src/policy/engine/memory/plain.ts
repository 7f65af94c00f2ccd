import type { Heap } from '../heap.ts';
import { toJson } from '../values/json.ts';
import { numberText, type RegoNumber } from '../values/values.ts';
import { kind } from './layout.ts';
import { readText } from './reader.ts';
import { ValueReader } from './values.ts';

type Spend = (units: number) => void;

/**
 * Fuel units of an element, of a member, and of a byte of a text that is not short. What a module shares is read again
 * each time it stands in the value, which may be far more than its memory holds.
 */
const unitsPerElement = 60;
const unitsPerMember = 300;
const shortText = 256;

/**
 * A value as JSON.parse would give it: numbers as doubles, sets as arrays in order. Straight from the memory, since
 * most results are read by it. What costs next to nothing, such as `allow`, is free.
 */
export function readPlainValue(heap: Heap, address: number, spend: Spend): unknown {
  const { view } = heap;
  switch (view[address]) {
    case kind.null:
      return null;
    case kind.boolean:
    case kind.internedBoolean:
      return view[address + 1] !== 0;
    case kind.string:
    case kind.internedString: {
      const length = view.readUInt32LE(address + 4);
      if (length > shortText) spend(length);
      return readText(view, view.readUInt32LE(address + 8), length);
    }
    case kind.number:
      return Number(numberText(new ValueReader(heap, spend).read(address) as RegoNumber));
    case kind.array:
      return readArray(heap, address, spend);
    case kind.set: {
      const only = membersOf(view, address, 4, spend);
      if (only.length > 1) return readThroughJson(heap, address, spend);
      return only.map((member) => readPlainValue(heap, view.readUInt32LE(member), spend));
    }
    case kind.object:
      return readObject(heap, address, spend);
    default:
      throw new TypeError(`no value at ${address}`);
  }
}

function readArray(heap: Heap, address: number, spend: Spend): unknown[] {
  const { view } = heap;
  const elements = view.readUInt32LE(address + 4);
  const length = view.readUInt32LE(address + 8);
  spend(length * unitsPerElement);
  const values: unknown[] = [];
  for (let index = 0; index < length; index += 1)
    values.push(readPlainValue(heap, view.readUInt32LE(elements + index * 8 + 4), spend));
  return values;
}

function readObject(heap: Heap, address: number, spend: Spend): unknown {
  const { view } = heap;
  const object: Record<string, unknown> = {};
  for (const member of membersOf(view, address, 8, spend)) {
    const key = readPlainValue(heap, view.readUInt32LE(member), spend);
    // A key that is no text is the JSON of itself.
    if (typeof key !== 'string' || key === '__proto__') return readThroughJson(heap, address, spend);
    object[key] = readPlainValue(heap, view.readUInt32LE(member + 4), spend);
  }
  return object;
}

function readThroughJson(heap: Heap, address: number, spend: Spend): unknown {
  return JSON.parse(toJson(new ValueReader(heap, spend).read(address), spend));
}

/** The addresses of the members of an object or a set, in no order. */
function membersOf(view: Buffer, address: number, next: number, spend: Spend): number[] {
  const members: number[] = [];
  const length = view.readUInt32LE(address + 12);
  spend(length * unitsPerMember);
  for (let bucket = view.readUInt32LE(address + 4); members.length < length; bucket += 4)
    for (let member = view.readUInt32LE(bucket); member !== 0; member = view.readUInt32LE(member + next))
      members.push(member);
  return members;
}
