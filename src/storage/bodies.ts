const INITIAL_BYTES = 64 * 1024;

/** Gathers texts as UTF-8 in one buffer that can be handed to another thread. */
export class Bodies {
  #buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  #at = 0;

  /** Answers how many bytes the text took; they begin where the gathered ones ended. */
  add(text: string): number {
    // No UTF-16 unit takes more than three bytes.
    if (this.#at + text.length * 3 > this.#buffer.length) this.#grow(text.length * 3);
    const length = this.#buffer.write(text, this.#at, 'utf8');
    this.#at += length;
    return length;
  }

  get length(): number {
    return this.#at;
  }

  /** Gives the buffer away and begins another one, as large as this one was needed. */
  take(): ArrayBuffer {
    const taken = this.#buffer.buffer;
    this.#buffer = Buffer.allocUnsafeSlow(Math.max(INITIAL_BYTES, this.#at + this.#at / 2));
    this.#at = 0;
    return taken;
  }

  #grow(needed: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#buffer.length * 2, this.#at + needed));
    this.#buffer.copy(larger, 0, 0, this.#at);
    this.#buffer = larger;
  }
}
