const [BEATS, ENDS] = [0, 1];

/**
 * Whether a thread still turns: a counter that it moves twice a second and with all it takes up, and that the other end
 * looks at without a message. What hangs in a system call, or in a loop, moves it no more.
 */
export class Pulse {
  /** What the other end is given. */
  readonly shared: SharedArrayBuffer;
  readonly #counts: Int32Array;
  #seen = 0;
  #seenAt = Number.NaN;
  #silence = 0;

  constructor(shared = new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT)) {
    this.shared = shared;
    this.#counts = new Int32Array(shared);
  }

  beat(): void {
    Atomics.add(this.#counts, BEATS, 1);
  }

  /** Called by the thread that writes, after each commit that may have ended something and before anybody is answered. */
  ended(): void {
    Atomics.add(this.#counts, ENDS, 1);
  }

  /** Another number once something may have ended: what was alive in the store before is to be looked up anew. */
  get ends(): number {
    return Atomics.load(this.#counts, ENDS);
  }

  /** Beats for as long as the thread runs and turns. */
  keep(): void {
    setInterval(() => this.beat(), BEAT_MS).unref();
  }

  /**
   * At the other end, each LOOK_MS: for how many milliseconds it has been silent. A process that was stopped, or whose
   * machine was, finds both ends silent: no look counts for more than two of them.
   */
  silence(now: number): number {
    const beats = Atomics.load(this.#counts, BEATS);
    const since = now - this.#seenAt;
    this.#silence = beats === this.#seen && since >= 0 ? this.#silence + Math.min(since, 2 * LOOK_MS) : 0;
    this.#seen = beats;
    this.#seenAt = now;
    return this.#silence;
  }
}

const BEAT_MS = 500;

/** How often the other end is to look. */
export const LOOK_MS = 1_000;
