import type { Lasting, Outline } from '../../../input.ts';
import { Heap } from '../heap.ts';
import type { WasmMemory } from '../webassembly.ts';
import { Image } from './image.ts';
import { ValueWriter } from './writer.ts';

/**
 * Makes images. A value is written at two places: a word that differs by the distance is an address, one that differs
 * by three times the distance is a hole, and all others are the same.
 */

/** An image takes some seven times as long to make as it saves, and two kilobytes: not for what comes once. */
export const often = 8;

/** The image of a value that came often enough; undefined if the value is to be written. */
export function imageOf(lasting: Lasting): Image | undefined {
  if (lasting.form instanceof Image) return lasting.form;
  lasting.asked += 1;
  if (lasting.asked !== often) return undefined;
  const image = draw(lasting.value);
  lasting.form = image;
  return image;
}

export function imageOfOutline(outline: Outline): Image {
  if (outline.form instanceof Image) return outline.form;
  const image = draw(outline.value);
  outline.form = image;
  return image;
}

function draw(value: unknown): Image {
  const first = write(value, base, 0);
  const second = write(value, 2 * base, 3 * base);
  const addresses: number[] = [];
  const holes: number[] = [];
  for (let at = 0; at < first.length; at += 1) {
    const word = first[at] as number;
    const difference = (second[at] as number) - word;
    if (difference === base) {
      addresses.push(at);
      first[at] = word - base;
    } else if (difference === 3 * base) holes[word] = at;
  }
  return new Image(first, addresses, holes.length === 0 ? noHoles : holes);
}

const noHoles: readonly number[] = [];

/** No words of a value but addresses differ between two places, so any multiple of four would do. */
const base = 8;

class Scratch implements WasmMemory {
  buffer = new ArrayBuffer(16_384);
}

const scratch = new Scratch();
const heap = new Heap(scratch);
const writer = new ValueWriter(heap, (address, size) => {
  // The views of the old buffer lose their length, as those of a memory that grew.
  scratch.buffer = scratch.buffer.transfer(2 * (address + size));
});

function write(value: unknown, start: number, holes: number): Int32Array {
  try {
    writer.write(value, start, holes);
    return heap.words.slice(start >>> 2, writer.end >>> 2);
  } finally {
    // The unused bytes of the last word of a text would differ otherwise; and nothing stays of anybody's values.
    heap.view.fill(0, start, writer.end);
  }
}
