import type { Heap } from '../heap.ts';
import { toJson } from '../values/json.ts';
import { numberText, type RegoNumber } from '../values/values.ts';
import { kind } from './layout.ts';
import { readText } from './reader.ts';
import { ValueReader } from './values.ts';

/** What is left of a result is bounded by the memory. */
const free = (): void => {};

/**
 * A value as JSON.parse would give it: numbers as doubles, sets as arrays in order. Straight from the memory, since
 * most results are read by it.
 */
export function readPlainValue(heap: Heap, address: number): unknown {
  const { view } = heap;
  switch (view[address]) {
    case kind.null:
      return null;
    case kind.boolean:
    case kind.internedBoolean:
      return view[address + 1] !== 0;
    case kind.string:
    case kind.internedString:
      return readText(view, view.readUInt32LE(address + 8), view.readUInt32LE(address + 4));
    case kind.number:
      return Number(numberText(new ValueReader(heap, free).read(address) as RegoNumber));
    case kind.array: {
      const elements = view.readUInt32LE(address + 4);
      return Array.from({ length: view.readUInt32LE(address + 8) }, (_, index) =>
        readPlainValue(heap, view.readUInt32LE(elements + index * 8 + 4)),
      );
    }
    case kind.set: {
      const only = membersOf(view, address, 4);
      if (only.length > 1) return JSON.parse(toJson(new ValueReader(heap, free).read(address)));
      return only.map((member) => readPlainValue(heap, view.readUInt32LE(member)));
    }
    case kind.object:
      return readObject(heap, address);
    default:
      throw new TypeError(`no value at ${address}`);
  }
}

function readObject(heap: Heap, address: number): unknown {
  const { view } = heap;
  const object: Record<string, unknown> = {};
  for (const member of membersOf(view, address, 8)) {
    const key = readPlainValue(heap, view.readUInt32LE(member));
    // A key that is no text is the JSON of itself.
    if (typeof key !== 'string' || key === '__proto__')
      return JSON.parse(toJson(new ValueReader(heap, free).read(address)));
    object[key] = readPlainValue(heap, view.readUInt32LE(member + 4));
  }
  return object;
}

/** The addresses of the members of an object or a set, in no order. */
function membersOf(view: Buffer, address: number, next: number): number[] {
  const members: number[] = [];
  const length = view.readUInt32LE(address + 12);
  for (let bucket = view.readUInt32LE(address + 4); members.length < length; bucket += 4)
    for (let member = view.readUInt32LE(bucket); member !== 0; member = view.readUInt32LE(member + next))
      members.push(member);
  return members;
}
