/** What a peer may still send, on a stream or on all of them (RFC 9113 section 5.2). */
export class ReceiveWindow {
  #size: number;
  #left: number;
  /** Read and not yet given back. */
  #owed = 0;

  constructor(size: number) {
    this.#size = size;
    this.#left = size;
  }

  /** Some came; false for more than was allowed. */
  take(bytes: number): boolean {
    this.#left -= bytes;
    return this.#left >= 0;
  }

  /** Some was read. Answers with what the peer is to be told of now, which is not each time (section 6.9). */
  give(bytes: number): number {
    this.#owed += bytes;
    return this.#owed * 2 >= this.#size ? this.#pay() : 0;
  }

  /** It is larger from now on. Answers with what the peer is to be told, where its SETTINGS do not tell it. */
  grow(size: number): number {
    const more = Math.max(0, size - this.#size);
    this.#size += more;
    this.#left += more;
    return more;
  }

  #pay(): number {
    const owed = this.#owed;
    this.#owed = 0;
    this.#left += owed;
    return owed;
  }
}
