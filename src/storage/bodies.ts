const INITIAL_BYTES = 64 * 1024;
const KEPT_BYTES = 4 * 1024 * 1024;

/** Gathers texts as UTF-8 in one buffer that can be handed to another thread. */
export class Bodies {
  #buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  #at = 0;
  /** One that came back, to be used next: memory that changes hands is memory the collector need not look for. */
  #spare: ArrayBuffer | undefined;

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

  /** Gives the buffer away and goes on with one that was returned, or a new one. */
  take(): ArrayBuffer {
    const taken = this.#buffer.buffer;
    this.#buffer = this.#spare ? Buffer.from(this.#spare) : Buffer.allocUnsafeSlow(INITIAL_BYTES);
    this.#spare = undefined;
    this.#at = 0;
    return taken;
  }

  /** Takes a buffer back, unless a burst has made it large. */
  giveBack(buffer: ArrayBuffer): void {
    if (buffer.byteLength <= KEPT_BYTES) this.#spare = buffer;
  }

  #grow(needed: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#buffer.length * 2, this.#at + needed));
    this.#buffer.copy(larger, 0, 0, this.#at);
    this.#buffer = larger;
  }
}
