import type { Heap } from './heap.ts';
import { service } from './linking/calls.ts';
import { hashNumber } from './memory/hashes.ts';
import { kind, pairBytes } from './memory/layout.ts';
import { unitsPerValue, ValueReader } from './memory/values.ts';
import { compareValues, isNumber, numberText, type RegoNumber } from './values/values.ts';

/** What the runtime of a linked module asks for beside built-ins; in and out are addresses and numbers of 32 bits. */
export type Service = (heap: Heap, spend: (units: number) => void, a: number, b: number) => number;

/** Fuel units of a service: some 300 ns. */
const unitsPerService = 300;
/**
 * Fuel units of a comparison while members are sorted, and for each unit that reading a member took beyond the least:
 * texts that begin alike are compared as far as they do. Measured: 20 ns, and 2 ns a character.
 */
const unitsPerComparison = 30;
const unitsPerUnitRead = 2;

export const services: ReadonlyMap<number, Service> = new Map<number, Service>([
  [
    service.compareNumbers,
    (heap, spend, a, b) => {
      spend(unitsPerService);
      const reader = new ValueReader(heap, spend);
      return compareValues(reader.read(a), reader.read(b));
    },
  ],
  [
    service.hashNumber,
    (heap, spend, a) => {
      spend(unitsPerService);
      return hashNumber(Number(numberText(new ValueReader(heap, spend).read(a) as RegoNumber)));
    },
  ],
  [service.element, elementAt],
  [service.sortMembers, sortMembers],
  [service.compareCollections, compareCollections],
]);

/** Both are read, and then sorted, which takes no more than twice that. */
function compareCollections(heap: Heap, spend: (units: number) => void, a: number, b: number): number {
  spend(unitsPerService);
  let read = 0;
  const reader = new ValueReader(heap, (units) => {
    read += units;
    spend(units);
  });
  const [left, right] = [reader.read(a), reader.read(b)];
  spend(2 * read);
  return compareValues(left, right);
}

/** The index may be written as 1.0, which is 1 as OPA's arrays take it. */
function elementAt(heap: Heap, spend: (units: number) => void, array: number, key: number): number {
  spend(unitsPerService);
  const index = new ValueReader(heap, spend).read(key);
  if (!isNumber(index)) return 0;
  const whole = /^(-?\d+)(?:\.0+)?$/.exec(numberText(index))?.[1];
  const at = whole === undefined ? -1 : Number(whole);
  const { view } = heap;
  if (view[array] !== kind.array || at < 0 || at >= view.readUInt32LE(array + 8)) return 0;
  return view.readUInt32LE(view.readUInt32LE(array + 4) + at * 8 + 4);
}

function sortMembers(heap: Heap, spend: (units: number) => void, start: number, count: number): number {
  const { view } = heap;
  let read = 0;
  const reader = new ValueReader(heap, (units) => {
    read += units;
    spend(units);
  });
  const members = Array.from({ length: count }, (_, index) => {
    const at = start + index * pairBytes;
    const key = view.readUInt32LE(at);
    return { key, value: view.readUInt32LE(at + 4), read: reader.read(key) };
  });
  const unitsPerRound = count * unitsPerComparison + (read - count * unitsPerValue) * unitsPerUnitRead;
  spend(Math.ceil(Math.log2(count + 1)) * unitsPerRound);
  members.sort((a, b) => compareValues(a.read, b.read));
  for (const [index, { key, value }] of members.entries()) {
    view.writeUInt32LE(key, start + index * pairBytes);
    view.writeUInt32LE(value, start + index * pairBytes + 4);
  }
  return start;
}
