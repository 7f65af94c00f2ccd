import { hash, randomBytes } from 'node:crypto';

/** What threads count in together, and what one of them has taken, which is given back if it ends. */
export interface SharedTally {
  /** The sum, and then the cells. */
  readonly sums: SharedArrayBuffer;
  readonly own: SharedArrayBuffer;
  /** Which cell is whose cannot be told beforehand: nobody picks an address that has another one's. */
  readonly key: string;
}

const CELLS = 2 ** 16;
const SUM = CELLS;

/** The pages that nobody counts in are never there. */
export const sharedTallies = (threads: number): SharedTally[] => {
  const make = (): SharedArrayBuffer => new SharedArrayBuffer((CELLS + 1) * Int32Array.BYTES_PER_ELEMENT);
  const [sums, key] = [make(), randomBytes(16).toString('hex')];
  return Array.from({ length: threads }, () => ({ sums, key, own: make() }));
};

/**
 * Places that several threads give away: how many are taken, and how many by one. Addresses have 65,536 cells; two that
 * meet in one share what one of them may have.
 */
export class Tally {
  readonly #sums: Int32Array;
  readonly #own: Int32Array;
  readonly #key: string;

  constructor({ sums, own, key }: SharedTally) {
    this.#sums = new Int32Array(sums);
    this.#own = new Int32Array(own);
    this.#key = key;
  }

  /** Taken before it is looked whether there are so many: two threads do not get the same last place. */
  tryTake(whom: string, count: number, most: { readonly total: number; readonly each: number }): boolean {
    const cell = this.#cellOf(whom);
    const each = Atomics.add(this.#sums, cell, count) + count;
    const total = Atomics.add(this.#sums, SUM, count) + count;
    this.#add(cell, count);
    if (each <= most.each && total <= most.total) return true;
    this.#giveBack(cell, count);
    return false;
  }

  giveBack(whom: string, count: number): void {
    this.#giveBack(this.#cellOf(whom), count);
  }

  #giveBack(cell: number, count: number): void {
    this.#add(cell, -count);
    Atomics.sub(this.#sums, cell, count);
    Atomics.sub(this.#sums, SUM, count);
  }

  #add(cell: number, count: number): void {
    this.#own[cell] = (this.#own[cell] ?? 0) + count;
  }

  #cellOf(whom: string): number {
    return Number.parseInt(hash('sha256', `${this.#key} ${whom}`, 'hex').slice(0, 4), 16);
  }

  /** Of a thread that has ended: what it had taken is free again. */
  release(): void {
    this.#own.forEach((count, cell) => {
      if (count !== 0) this.#giveBack(cell, count);
    });
  }
}
