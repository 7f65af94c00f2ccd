import { type MessagePort, Worker } from 'node:worker_threads';
import { Beside, type FromBeside } from '../../storage/beside.ts';
import type { Writer } from '../../storage/writer.ts';
import type { ShippingState } from './shipper.ts';

/** How an authority is reached: plain data. */
export interface ShippingPlace {
  /** Of its admin plane. */
  readonly url: string;
  readonly secret: string | undefined;
  /** PEM. */
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

/** What the thread is started with. */
export interface ShippingOptions {
  readonly folder: string;
  readonly writer: MessagePort;
  readonly writerPulse: SharedArrayBuffer;
  readonly places: readonly ShippingPlace[];
}

export type FromShipping = FromBeside<ShippingState>;

/** By which a place in each log is kept, beside those of sinks, whose names have no colon. */
export const cursorOf = (address: string): string => `authority:${address}`;

/** From how many records on that wait an operator is told, whatever keeps them. */
const MOST_LAG = 10_000;

interface Options {
  readonly folder: string;
  readonly writer: Writer;
  readonly places: readonly ShippingPlace[];
  /** Hears of the end of a thread that was not asked to. */
  readonly failed: (error: unknown) => void;
}

/** The thread that sends this server's logs to authorities: whatever they do, nobody who decides waits for them. */
export class Shipping implements AsyncDisposable {
  readonly #thread: Beside<ShippingState>;

  constructor({ folder, writer, places, failed }: Options) {
    const file = import.meta.url.endsWith('.ts') ? '../../shipping-thread.ts' : '../../shipping-thread.js';
    const make = (): Worker => {
      const port = writer.connect();
      return new Worker(new URL(file, import.meta.url), {
        workerData: { folder, writer: port, writerPulse: writer.pulse, places } satisfies ShippingOptions,
        transferList: [port],
        name: 'mandate-shipping',
      });
    };
    const unheard = places.map(({ url }) => ({ address: url, lag: 0, shipped: 0, problem: '', refused: [] }));
    this.#thread = new Beside(make, unheard, failed);
  }

  /** As they were a second ago at most. */
  get states(): readonly ShippingState[] {
    return this.#thread.states;
  }

  /** What an operator should know, a line each. */
  problems(): string[] {
    return this.states.flatMap(({ address, lag, problem, refused }) => [
      ...(problem !== '' || lag > MOST_LAG
        ? [`records for ${address}: ${problem || 'they take long'}; ${lag} wait in the log`]
        : []),
      ...refused.map((each) => `records for ${address}: ${each}`),
    ]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#thread[Symbol.asyncDispose]();
  }
}
