/**
 * What came of a body and is not read yet, in one piece: views would keep all that was read along with them. It doubles,
 * so that each byte is moved a constant number of times.
 */
export class Inbox {
  #bytes = Buffer.alloc(0);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  add(bytes: Buffer, from: number, to: number): void {
    const length = this.#length + to - from;
    if (length > this.#bytes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(1_024, this.#bytes.length * 2, length));
      this.#bytes.copy(larger, 0, 0, this.#length);
      this.#bytes = larger;
    }
    bytes.copy(this.#bytes, this.#length, from, to);
    this.#length = length;
  }

  /** Gives it away and begins anew. */
  take(): Buffer {
    const taken = this.#bytes.subarray(0, this.#length);
    this.drop();
    return taken;
  }

  /** Answers how much there was. */
  drop(): number {
    const { length } = this;
    this.#bytes = Buffer.alloc(0);
    this.#length = 0;
    return length;
  }
}
