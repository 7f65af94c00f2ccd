import { performance } from 'node:perf_hooks';

/** How often main looks how busy it is, in milliseconds. */
const LOOK_MS = 250;
/** From which part of its time on it is taken to be full, and below which no more. */
const FULL = 0.9;
const FREE = 0.7;

/**
 * Whether main, which decides, has time left: by how much of it it waited for nothing, whatever kept it. It says so where
 * other threads see it without a message.
 */
export class Load {
  /** What the other end is given. */
  readonly shared: SharedArrayBuffer;
  readonly #full: Int32Array;

  constructor(shared = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)) {
    this.shared = shared;
    this.#full = new Int32Array(shared);
  }

  /** At main: looks until it is disposed. */
  keep(): Disposable {
    let before = performance.eventLoopUtilization();
    const looking = setInterval(() => {
      const now = performance.eventLoopUtilization();
      this.tell(performance.eventLoopUtilization(now, before).utilization);
      before = now;
    }, LOOK_MS).unref();
    return {
      [Symbol.dispose]: () => {
        clearInterval(looking);
        this.tell(0);
      },
    };
  }

  /** `utilization`: 0 to 1. */
  tell(utilization: number): void {
    Atomics.store(this.#full, 0, utilization > (this.isFull ? FREE : FULL) ? 1 : 0);
  }

  get isFull(): boolean {
    return Atomics.load(this.#full, 0) === 1;
  }
}
