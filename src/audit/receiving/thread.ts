import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import type { Clock } from '../../effects.ts';
import { ofThread, ServiceError } from '../../errors.ts';
import { Beside } from '../../storage/beside.ts';
import { LOOK_MS, Pulse } from '../../storage/watch/pulse.ts';
import { commitChannel, type Writer } from '../../storage/writer.ts';
import type { Answered, Asked, FromReceiving, ReceivingOptions } from './protocol.ts';
import { receivedChannel } from './receiver.ts';
import type { Owner } from './shipment.ts';

interface Options {
  readonly folder: string;
  readonly writer: Writer;
  readonly maxBytes: number | undefined;
  readonly node: string;
  readonly clock: Clock;
  /** Hears of the end of a thread that was not asked to. */
  readonly failed: (error: unknown) => void;
}

interface Waiter {
  readonly resolve: (kept: number) => void;
  readonly reject: (error: ServiceError) => void;
}

/** How long it may be silent: it hashes four megabytes at most in one go, and waits for the disk. */
const HUNG_MS = 10_000;
/** Before it is ready it loads its code. */
const START_MS = 30_000;
/** When it may be tried again where there is none. */
const AGAIN_MS = 5_000;

/**
 * The thread that verifies other servers' logs and keeps them (`Receiver`): it starts with the first that comes. Whoever
 * decides does not wait for it. Nothing is kept that it has not verified: while there is none, nothing is taken.
 */
export class Receiving implements AsyncDisposable {
  readonly #options: Options;
  readonly #thread: Beside<string>;
  readonly #waiting = new Map<number, Waiter>();
  /** The way to the thread, until its end. */
  #asks: MessagePort | undefined;
  #last = 0;
  #isReady = false;
  #hasEnded = false;
  #isClosing = false;
  #pulse = new Pulse();
  readonly #looking: NodeJS.Timeout;

  constructor(options: Options) {
    this.#options = options;
    this.#thread = new Beside(() => this.#make(), [], options.failed);
    this.#looking = setInterval(() => this.#look(), LOOK_MS).unref();
  }

  /** A ShipRequest, of which nothing was read but whose it is; as `Receiver.take`. Throws `unavailable` where there is no thread. */
  take({ id, no: tenantNo }: Owner, operator: string, message: Uint8Array): Promise<number> {
    this.#thread.begin();
    const asks = this.#asks;
    if (!asks) throw unverified();
    this.#last += 1;
    const no = this.#last;
    // Of its own memory: a pool's could not be given away, and what it is a view of may be others' too.
    const own = new Uint8Array(message);
    const now = this.#options.clock();
    const asked = { no, owner: { id, no: tenantNo }, operator, now, message: own } satisfies Asked;
    return new Promise((resolve, reject) => {
      this.#waiting.set(no, { resolve, reject });
      asks.postMessage(asked, [own.buffer]);
    });
  }

  /** What an operator should know, a line each: also logs of which something was refused a moment ago. */
  problems(): string[] {
    const gone = 'other servers’ records: the thread that verifies them ended; they wait until it runs again';
    return [...(this.#hasEnded && !this.#isClosing ? [gone] : []), ...this.#thread.states];
  }

  #make(): Worker {
    const { folder, writer, maxBytes, node } = this.#options;
    const { port1: asks, port2 } = new MessageChannel();
    const port = writer.connect();
    this.#pulse = new Pulse();
    this.#asks = asks;
    asks.on('message', (message: FromReceiving) => {
      if (message !== 'ready') return this.#onAnswer(message);
      this.#isReady = true;
      this.#hasEnded = false;
    });
    asks.on('close', () => this.#ended());
    const file = import.meta.url.endsWith('.ts') ? '../../receiving-thread.ts' : '../../receiving-thread.js';
    const { pulse: writerPulse } = writer;
    const workerData = {
      folder,
      writer: port,
      writerPulse,
      pulse: this.#pulse.shared,
      asks: port2,
      maxBytes,
      node,
    };
    return new Worker(new URL(file, import.meta.url), {
      workerData: workerData satisfies ReceivingOptions,
      transferList: [port, port2],
      name: 'mandate-receiving',
    });
  }

  #onAnswer({ no, kept, news, commits }: Answered): void {
    for (const each of news) receivedChannel.publish(each);
    if (commitChannel.hasSubscribers) for (const entries of commits) commitChannel.publish({ entries });
    const waiter = this.#waiting.get(no);
    this.#waiting.delete(no);
    if (typeof kept === 'number') return waiter?.resolve(kept);
    if (kept.code === 'audit_unavailable') this.#options.writer.doubt();
    waiter?.reject(ofThread(kept));
  }

  /** Its port closes with the thread. What becomes of what it had is known when it comes again. */
  #ended(): void {
    this.#asks = undefined;
    this.#isReady = false;
    this.#hasEnded = true;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(unverified());
    if (!this.#isClosing) this.#options.failed(unverified());
  }

  #look(): void {
    if (this.#asks && this.#pulse.silence(performance.now()) >= (this.#isReady ? HUNG_MS : START_MS))
      this.#thread.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosing = true;
    clearInterval(this.#looking);
    await this.#thread[Symbol.asyncDispose]();
  }
}

const unverified = (): ServiceError =>
  new ServiceError('unavailable', 'the thread that verifies other servers’ records ended', {
    retryAfterMs: AGAIN_MS,
  });
