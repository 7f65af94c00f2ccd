import { type MessagePort, Worker } from 'node:worker_threads';
import { Beside, type FromBeside } from '../../storage/beside.ts';
import type { Writer } from '../../storage/writer.ts';
import type { SinkSettings, SinkState } from './settings.ts';

/** What the thread is started with. */
export interface SinksOptions {
  readonly folder: string;
  readonly writer: MessagePort;
  readonly writerPulse: SharedArrayBuffer;
  readonly sinks: readonly SinkSettings[];
}

export type FromSinks = FromBeside<SinkState>;

interface Options {
  readonly folder: string;
  readonly writer: Writer;
  readonly sinks: readonly SinkSettings[];
  /** Hears of the end of a thread that was not asked to. */
  readonly failed: (error: unknown) => void;
}

/** The thread that sends records to sinks: whatever they do, nobody who decides waits for them. */
export class Sinks implements AsyncDisposable {
  readonly #thread: Beside<SinkState>;

  constructor({ folder, writer, sinks, failed }: Options) {
    const file = import.meta.url.endsWith('.ts') ? '../../sinks-thread.ts' : '../../sinks-thread.js';
    const make = (): Worker => {
      const port = writer.connect();
      return new Worker(new URL(file, import.meta.url), {
        workerData: { folder, writer: port, writerPulse: writer.pulse, sinks } satisfies SinksOptions,
        transferList: [port],
        name: 'mandate-sinks',
      });
    };
    const unheard = sinks.map(({ name }) => ({ name, lag: 0, delivered: 0, problem: '' }));
    this.#thread = new Beside(make, unheard, failed);
  }

  /** As they were a second ago at most. */
  get states(): readonly SinkState[] {
    return this.#thread.states;
  }

  /** What an operator should know, a line each. */
  problems(): string[] {
    return this.states
      .filter(({ problem }) => problem !== '')
      .map(({ name, lag, problem }) => `sink ${name}: ${problem}; ${lag} records wait in the log`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#thread[Symbol.asyncDispose]();
  }
}
