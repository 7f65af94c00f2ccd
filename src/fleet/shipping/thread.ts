import { type MessagePort, Worker } from 'node:worker_threads';
import { Beside, type FromBeside } from '../../storage/beside.ts';
import type { Writer } from '../../storage/writer.ts';
import { Load } from './load.ts';
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
  /** Where main shows how busy it is. */
  readonly load: SharedArrayBuffer;
  readonly places: readonly ShippingPlace[];
}

export type FromShipping = FromBeside<ShippingState>;

/** By which a place in each log is kept, beside those of sinks, whose names have no colon. */
export const cursorOf = (address: string): string => `authority:${address}`;

/** From how many records on that wait an operator is told, whatever keeps them, unless it is this server's own load. */
const MOST_LAG = 10_000;

const UNHEARD = { lag: 0, shipped: 0, yields: false, problem: '', refused: [] };

interface Options {
  readonly folder: string;
  readonly writer: Writer;
  readonly places: readonly ShippingPlace[];
  /** Hears of the end of a thread that was not asked to. */
  readonly failed: (error: unknown) => void;
}

/**
 * The thread that sends this server's logs to authorities: whatever they do, nobody who decides waits for them. It hears how
 * busy main is, to take no time from it for as long as it can.
 */
export class Shipping implements AsyncDisposable {
  readonly #thread: Beside<ShippingState>;
  readonly #keeping: Disposable | undefined;

  constructor({ folder, writer, places, failed }: Options) {
    const file = import.meta.url.endsWith('.ts') ? '../../shipping-thread.ts' : '../../shipping-thread.js';
    const load = new Load();
    this.#keeping = places.length > 0 ? load.keep() : undefined;
    const make = (): Worker => {
      const port = writer.connect();
      return new Worker(new URL(file, import.meta.url), {
        workerData: {
          folder,
          writer: port,
          writerPulse: writer.pulse,
          load: load.shared,
          places,
        } satisfies ShippingOptions,
        transferList: [port],
        name: 'mandate-shipping',
      });
    };
    const unheard = places.map(({ url: address }) => ({ ...UNHEARD, address }));
    this.#thread = new Beside(make, unheard, failed);
  }

  /** As they were a second ago at most. */
  get states(): readonly ShippingState[] {
    return this.#thread.states;
  }

  /** What an operator should know, a line each. */
  problems(): string[] {
    return this.states.flatMap(({ address, lag, yields, problem, refused }) => [
      ...(problem !== '' || (lag > MOST_LAG && !yields)
        ? [`records for ${address}: ${problem || 'they take long'}; ${lag} wait in the log`]
        : []),
      ...refused.map((each) => `records for ${address}: ${each}`),
    ]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#keeping?.[Symbol.dispose]();
    await this.#thread[Symbol.asyncDispose]();
  }
}
