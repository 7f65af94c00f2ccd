import type { Reader } from '../binary/leb128.ts';
import { readSegments, section } from '../binary/sections.ts';
import type { Heap } from '../heap.ts';

/**
 * The static variables of OPA's runtime. RE2 sets some of its own up at the first regular expression, so that one
 * costs more fuel than the next, and a replay in a fresh instance more than the decision did. Each evaluation starts
 * with the variables as they were after the data was loaded; that is less than a kilobyte.
 */

/** From the start of the initialized variables to the end of the others, in bytes; and where the constants begin. */
export interface StaticRange {
  readonly constants: number;
  readonly start: number;
  readonly end: number;
}

/**
 * The linker writes a segment of constants and one of initialized variables; OPA's compiler adds the uninitialized
 * ones as zeros, and then the policy's own constants. Undefined for another layout: the cost may then vary.
 */
export function findStatics(sections: ReadonlyMap<number, Reader>): StaticRange | undefined {
  const segments = readSegments(sections.get(section.data)) ?? [];
  const [first] = segments;
  let before: number | undefined;
  for (const { start, bytes } of segments) {
    if (first && before !== undefined && bytes.length > 0 && bytes.every((byte) => byte === 0))
      return { constants: first.start, start: before, end: start + bytes.length };
    before = start;
  }
  return undefined;
}

/** Where the statics are, and in them the allocator's copy of the memory's size, which an evaluation may grow. */
export interface StaticLayout extends StaticRange {
  readonly heapTop: number;
}

/**
 * Finds the allocator's variable in a fresh instance, whose memory must have a size that no other variable holds.
 * Undefined if it cannot be told from others: a wrong one would break the allocator.
 */
export function locateHeapTop(heap: Heap, range: StaticRange | undefined): StaticLayout | undefined {
  if (!range || range.end > heap.size) return undefined;
  const candidates: number[] = [];
  for (let at = range.start; at + 4 <= range.end; at += 4)
    if (heap.view.readUInt32LE(at) === heap.size) candidates.push(at);
  const [heapTop, ...others] = candidates;
  return heapTop === undefined || others.length > 0 ? undefined : { ...range, heapTop };
}

/** The variables of one instance, taken when it is made. */
export class Statics {
  readonly #heap: Heap;
  readonly #layout: StaticLayout;
  readonly #values: Buffer;

  constructor(heap: Heap, layout: StaticLayout) {
    this.#heap = heap;
    this.#layout = layout;
    this.#values = Buffer.from(heap.view.subarray(layout.start, layout.end));
  }

  restore(): void {
    const { view } = this.#heap;
    view.set(this.#values, this.#layout.start);
    view.writeUInt32LE(view.length, this.#layout.heapTop);
  }
}
