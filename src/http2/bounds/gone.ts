/** How many streams that were given up are remembered, whose last frames may be on their way. */
const GIVEN_UP = 2_048;
/** And that were closed in order, of which none may be. */
const CLOSED = 32;

/** Streams that are over, to tell what comes late from what must not come (RFC 9113 section 5.1). */
export class Gone {
  #givenUp: Set<number> | undefined;
  #closed: Int32Array | undefined;
  #at = 0;

  givenUp(id: number): void {
    this.#givenUp ??= new Set();
    this.#givenUp.add(id);
    if (this.#givenUp.size <= GIVEN_UP) return;
    for (const oldest of this.#givenUp) {
      this.#givenUp.delete(oldest);
      break;
    }
  }

  closed(id: number): void {
    this.#closed ??= new Int32Array(CLOSED);
    this.#closed[this.#at++ % CLOSED] = id;
  }

  wasGivenUp(id: number): boolean {
    return this.#givenUp?.has(id) ?? false;
  }

  wasClosed(id: number): boolean {
    return this.#closed?.includes(id) ?? false;
  }
}
