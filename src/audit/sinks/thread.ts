import { type MessagePort, Worker } from 'node:worker_threads';
import { reportFault, type StoreFault } from '../../storage/faults.ts';
import type { Writer } from '../../storage/writer.ts';
import type { SinkSettings, SinkState } from './settings.ts';

/** What the thread is started with. */
export interface SinksOptions {
  readonly folder: string;
  readonly writer: MessagePort;
  readonly writerPulse: SharedArrayBuffer;
  readonly sinks: readonly SinkSettings[];
}

export interface FromSinks {
  readonly states: readonly SinkState[];
  /** What was met when the store was read. */
  readonly faults: readonly StoreFault[];
}

/** How long no thread is started after one ended. */
const REST_MS = 5_000;
/** How long closing waits for it. */
const CLOSE_MS = 5_000;

interface Options {
  readonly folder: string;
  readonly writer: Writer;
  readonly sinks: readonly SinkSettings[];
  /** Hears of the end of a thread that was not asked to. */
  readonly failed: (error: unknown) => void;
}

/** The thread that sends records to sinks: whatever they do, nobody who decides waits for them. */
export class Sinks implements AsyncDisposable {
  readonly #options: Options;
  #worker: Worker | undefined;
  #states: readonly SinkState[];
  #isClosing = false;
  #again: NodeJS.Timeout | undefined;

  constructor(options: Options) {
    this.#options = options;
    this.#states = options.sinks.map(({ name }) => ({ name, lag: 0, delivered: 0, problem: '' }));
    if (options.sinks.length > 0) this.#start();
  }

  /** As they were a second ago at most. */
  get states(): readonly SinkState[] {
    return this.#states;
  }

  /** What an operator should know, a line each. */
  problems(): string[] {
    return this.#states
      .filter(({ problem }) => problem !== '')
      .map(({ name, lag, problem }) => `sink ${name}: ${problem}; ${lag} records wait in the log`);
  }

  #start(): void {
    const { folder, writer, sinks, failed } = this.#options;
    const port = writer.connect();
    const file = import.meta.url.endsWith('.ts') ? '../../sinks-thread.ts' : '../../sinks-thread.js';
    const worker = new Worker(new URL(file, import.meta.url), {
      workerData: { folder, writer: port, writerPulse: writer.pulse, sinks } satisfies SinksOptions,
      transferList: [port],
      name: 'mandate-sinks',
    });
    this.#worker = worker;
    worker.on('message', ({ states, faults }: FromSinks) => {
      this.#states = states;
      for (const fault of faults) reportFault(fault);
    });
    worker.on('error', failed);
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
