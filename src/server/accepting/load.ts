import { performance } from 'node:perf_hooks';

/** How often it is looked how busy main is, in milliseconds. */
const LOOK_MS = 200;
const FULL = 0.9;

/** How many looks in a row main must be full for others to be worth their memory, and for connections to be moved. */
const BEGIN = 5;
const MOVE = 50;

/** Tells when main has no time left, and when that lasts. */
export class Load implements Disposable {
  readonly #looking: NodeJS.Timeout;
  #before = performance.eventLoopUtilization();
  #full = 0;

  constructor(on: {
    /** Main is full and so leaves to others what it would do itself. */
    readonly isRelieved: () => boolean;
    readonly full: () => void;
    readonly lasts: () => void;
  }) {
    this.#looking = setInterval(() => {
      const now = performance.eventLoopUtilization();
      const { utilization } = performance.eventLoopUtilization(now, this.#before);
      this.#before = now;
      this.#full = utilization > FULL || on.isRelieved() ? this.#full + 1 : 0;
      if (this.#full === BEGIN) on.full();
      if (this.#full > 0 && this.#full % MOVE === 0) on.lasts();
    }, LOOK_MS).unref();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#looking);
  }
}
