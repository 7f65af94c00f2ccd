import { crc32 } from 'node:zlib';
import type { Heap } from './heap.ts';

/** What of a memory no evaluation may change, from the first byte to behind the last. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** How many bytes may be read for each evaluation, on average: a hundredth of what a small one takes. */
const bytesPerEvaluation = 128;

/**
 * Watches over what evaluations only read: constants of the module, and the data. A decision is a function of revision
 * and input; were anything here changed by one evaluation, the next would decide by it. Linking leaves no way to
 * (linking/link.ts), so this is for the fault that nobody thought of: it is found within some hundred evaluations.
 */
export class Integrity {
  readonly #heap: Heap;
  readonly #spans: readonly Span[];
  readonly #sum: number;
  readonly #interval: number;
  #left: number;

  constructor(heap: Heap, spans: readonly Span[]) {
    this.#heap = heap;
    this.#spans = spans;
    this.#sum = this.#measure();
    const bytes = spans.reduce((total, { start, end }) => total + end - start, 0);
    this.#interval = Math.ceil(bytes / bytesPerEvaluation);
    this.#left = this.#interval;
  }

  isWhole(): boolean {
    return this.#measure() === this.#sum;
  }

  /** Looks only now and then; false if something has changed. */
  holds(): boolean {
    this.#left -= 1;
    if (this.#left > 0) return true;
    this.#left = this.#interval;
    return this.isWhole();
  }

  #measure(): number {
    const { view } = this.#heap;
    return this.#spans.reduce((sum, { start, end }) => crc32(view.subarray(start, end), sum), 0);
  }
}
