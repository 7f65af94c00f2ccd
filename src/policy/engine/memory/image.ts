/**
 * A value as it stands in a memory, to be copied to any place of any memory: words, and which of them are addresses.
 * It holds nothing of the instance or the tenant it was used for but the place where it stood last, since it is mostly
 * used at the same place again, and its addresses are then right already.
 */
export class Image {
  readonly #words: Int32Array;
  /** The words that are addresses, by their index. */
  readonly #addresses: Uint32Array;
  /** Where the addresses are right. */
  #place = 0;
  /** The words that take the address of another value, by their index, in the order of the holes' numbers. */
  readonly holes: readonly number[];

  /** As it stands at address 0. */
  constructor(words: Int32Array, addresses: readonly number[], holes: readonly number[]) {
    // In one buffer: each costs more than an image's addresses, and there are images of many principals.
    const buffer = new ArrayBuffer((words.length + addresses.length) * 4);
    this.#words = new Int32Array(buffer, 0, words.length);
    this.#words.set(words);
    this.#addresses = new Uint32Array(buffer, words.length * 4);
    this.#addresses.set(addresses);
    this.holes = holes;
  }

  get size(): number {
    return this.#words.length * 4;
  }

  /** The words as they stand at an address; they are to be copied at once. */
  at(place: number): Int32Array {
    const words = this.#words;
    if (place !== this.#place) {
      const distance = place - this.#place;
      for (const at of this.#addresses) words[at] = (words[at] as number) + distance;
      this.#place = place;
    }
    return words;
  }
}
