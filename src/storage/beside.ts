import type { Worker } from 'node:worker_threads';
import { reportFault, type StoreFault } from './faults.ts';

/** How long no thread is started after one ended. */
const REST_MS = 5_000;
/** How long closing waits for it. */
const CLOSE_MS = 5_000;

/** What a thread tells, again and again. */
export interface FromBeside<State> {
  readonly states: readonly State[];
  /** What was met when the store was read. */
  readonly faults: readonly StoreFault[];
}

/**
 * A thread that reads the store beside all others and does something with what is there, for as long as it runs: one that
 * ends is started again. Told `close` it ends by itself.
 */
export class Beside<State> implements AsyncDisposable {
  readonly #make: () => Worker;
  readonly #failed: (error: unknown) => void;
  #worker: Worker | undefined;
  #states: readonly State[];
  #isClosing = false;
  #again: NodeJS.Timeout | undefined;

  /** `states`: until it has told any; of none no thread is started before `begin`. `failed` hears of the end of one that was not asked to. */
  constructor(make: () => Worker, states: readonly State[], failed: (error: unknown) => void) {
    this.#make = make;
    this.#failed = failed;
    this.#states = states;
    if (states.length > 0) this.#start();
  }

  /** As they were a second ago at most. */
  get states(): readonly State[] {
    return this.#states;
  }

  /** Starts it, unless it runs or is to be started again anyway. */
  begin(): void {
    if (!this.#worker && !this.#again && !this.#isClosing) this.#start();
  }

  /** Ends one that hangs; another is started as after any other end. */
  end(): void {
    void this.#worker?.terminate();
  }

  #start(): void {
    this.#again = undefined;
    const worker = this.#make();
    this.#worker = worker;
    worker.on('message', ({ states, faults }: FromBeside<State>) => {
      this.#states = states;
      for (const fault of faults) reportFault(fault);
    });
    worker.on('error', this.#failed);
    worker.on('exit', () => {
      this.#worker = undefined;
      if (!this.#isClosing) this.#again = setTimeout(() => this.#start(), REST_MS).unref();
    });
  }

  /** What is under way is given up, and comes again after the next start. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosing = true;
    clearTimeout(this.#again);
    const worker = this.#worker;
    if (!worker) return;
    const exited = new Promise((resolve) => worker.once('exit', resolve));
    worker.postMessage('close');
    const late = setTimeout(() => void worker.terminate(), CLOSE_MS);
    await exited;
    clearTimeout(late);
  }
}
