/** How far a thread is with what it was asked: a counter that both ends see, without a message. */
export class Progress {
  /** What the other end counts in. */
  readonly shared: SharedArrayBuffer;
  readonly #begun: Int32Array;
  #asked = 0;

  constructor(shared = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)) {
    this.shared = shared;
    this.#begun = new Int32Array(shared);
  }

  /** At the one end: it has been asked these bytes. */
  asked(bytes: number): void {
    this.#asked = (this.#asked + bytes) | 0;
  }

  /** At the other: it has begun with these. */
  begun(bytes: number): void {
    Atomics.add(this.#begun, 0, bytes);
  }

  /** Bytes asked and not begun with. Both counts go round at 2^32; what is between them is never near that. */
  get behind(): number {
    return (this.#asked - Atomics.load(this.#begun, 0)) | 0;
  }
}
