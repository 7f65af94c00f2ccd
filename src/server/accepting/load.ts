import type { EventLoopUtilization } from 'node:perf_hooks';

/** How often it is looked how busy a thread is, in milliseconds. */
const LOOK_MS = 200;
const FULL = 0.9;

/** How many looks in a row a thread must be full for others to be worth their memory, and for connections to be moved. */
const BEGIN = 5;
const MOVE = 50;

export interface LoadParts {
  /** Of the thread's event loop; `performance.eventLoopUtilization` of it. */
  readonly utilization: (now?: EventLoopUtilization, before?: EventLoopUtilization) => EventLoopUtilization;
  /** It is full, and so leaves to others what it would do itself. */
  readonly isRelieved?: () => boolean;
  /** Full for a second. */
  readonly full?: () => void;
  /** Full for ten seconds, and again each ten. */
  readonly lasts: () => void;
}

/** Tells when a thread has no time left, and when that lasts. */
export class Load implements Disposable {
  readonly #looking: NodeJS.Timeout;
  #before: EventLoopUtilization;
  #latest = 0;
  #full = 0;

  constructor({ utilization, isRelieved = () => false, full = () => {}, lasts }: LoadParts) {
    this.#before = utilization();
    this.#looking = setInterval(() => {
      const now = utilization();
      this.#latest = utilization(now, this.#before).utilization;
      this.#before = now;
      this.#full = this.#latest > FULL || isRelieved() ? this.#full + 1 : 0;
      if (this.#full === BEGIN) full();
      if (this.#full > 0 && this.#full % MOVE === 0) lasts();
    }, LOOK_MS).unref();
  }

  /** Which part of its time it had no time, at the last look. */
  get utilization(): number {
    return this.#latest;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#looking);
  }
}
