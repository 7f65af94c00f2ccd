import type { SecureContextOptions } from 'node:tls';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { SharedCounts } from '../../decision/ledger.ts';
import { ofThread, ServiceError, toThread } from '../../errors.ts';
import { LOOK_MS, Pulse } from '../../storage/watch/pulse.ts';
import { errorChannel, toServiceError } from '../errors.ts';
import { Tally } from '../intake/tally.ts';
import type { Endpoint } from '../listener.ts';
import type { PolicyFailure } from '../offload/report.ts';
import { type Peer, presentedBy } from '../peer.ts';
import { transportChannel } from '../transport/transport.ts';
import { HandedCalls } from './answers.ts';
import { Backlog, partsOf, weightOf } from './backlog.ts';
import { doing, RemoteExchange } from './exchanges.ts';
import { Load } from './load.ts';
import type { AcceptingParts, Served } from './parts.ts';
import {
  type AcceptingOptions,
  type AskedWith,
  type FromAccepting,
  type Id,
  type SharedBounds,
  Signal,
  type ToAccepting,
} from './protocol.ts';
import { ToldTenants } from './tenants.ts';

/** Main's end of one thread that accepts connections: what it has been told, and what it is served with. */
export class AcceptingThread {
  readonly #parts: AcceptingParts;
  readonly #served: Served;
  readonly #bounds: SharedBounds;
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #signal = new Signal();
  readonly #backlog = new Backlog();
  readonly #pulse = new Pulse();
  readonly #looking: NodeJS.Timeout;
  readonly #peers = new Map<Id, Peer>();
  readonly #exchanges = new Map<Id, RemoteExchange>();
  /** What it is told of tenants is known to it before whatever it is asked from then on. */
  readonly tenants: ToldTenants;
  readonly #handed: HandedCalls;
  #waiting = 0;
  #decided = 0;
  #over = false;
  #isReady = false;
  #isListening = false;
  readonly #ready = Promise.withResolvers<void>();
  #listening = Promise.withResolvers<number>();
  readonly #exited: Promise<void>;
  readonly #onEnd: (cause: unknown) => void;
  /** How busy it is; tells when it has been full for long. */
  readonly load: Load;

  constructor(
    parts: AcceptingParts,
    served: Served,
    bounds: SharedBounds,
    on: { readonly ended: (cause: unknown) => void; readonly lasts: () => void },
  ) {
    this.#parts = parts;
    this.#served = served;
    this.#bounds = bounds;
    this.tenants = new ToldTenants(
      parts,
      (message) => this.#post(message),
      () => this.#signal.raise(),
    );
    this.#handed = new HandedCalls({
      hot: served.hot,
      peer: (id) => this.#peer(id),
      took: (weight) => this.#backlog.take(weight),
      wanted: (wants, of, authorization) => this.#grant(wants, of, authorization),
      vouch: (token) => this.#post({ vouch: this.tenants.vouch(token) }),
      post: (message, transfer) => {
        if (!this.#over) this.#post(message, transfer);
      },
    });
    this.#onEnd = on.ended;
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    const writer = parts.writer.connect();
    const options = {
      ...parts.settings,
      main: port2,
      writer,
      writerPulse: parts.writer.pulse,
      pulse: this.#pulse.shared,
      signal: this.#signal.shared,
      backlog: this.#backlog.shared,
      bounds,
    } satisfies AcceptingOptions;
    const file = import.meta.url.endsWith('.ts') ? '../../accepting-thread.ts' : '../../accepting-thread.js';
    this.#worker = new Worker(new URL(file, import.meta.url), {
      workerData: options,
      transferList: [port2, writer],
      name: 'mandate-accepting',
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB },
    });
    this.#port.on('message', (message: FromAccepting) => {
      try {
        this.#hear(message);
      } catch (error) {
        // What one caller sends to a thread is nothing that main could end by.
        toServiceError(error, 'accepting thread');
      }
    });
    this.#worker.on('error', (cause) => this.#end(cause));
    this.#looking = setInterval(() => this.#look(), LOOK_MS).unref();
    this.load = new Load({
      utilization: (...of) => this.#worker.performance.eventLoopUtilization(...of),
      lasts: on.lasts,
    });
    this.#exited = new Promise((resolve) => {
      this.#worker.on('exit', () => {
        this.#release();
        this.#end(new Error('a thread that accepts connections ended'));
        resolve();
      });
    });
    // Who waits for neither hears of its end by `onEnd`.
    this.#ready.promise.catch(() => undefined);
    this.#listening.promise.catch(() => undefined);
  }

  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  /** Whether it takes connections. */
  get accepts(): boolean {
    return this.#isListening && !this.#over;
  }

  /** One that hangs is given up before. */
  get exited(): Promise<void> {
    return this.#exited;
  }

  /** Entries that wait for its next commit. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Decisions that it has made itself, and calls that it has handed over. */
  get counts(): { readonly decided: number; readonly handed: number } {
    return { decided: this.#decided, handed: this.#handed.count };
  }

  /** Requests over its connections that are being served here. */
  get passed(): number {
    return this.#exchanges.size;
  }

  /** Resolves with the port. Rejects with `config_invalid`, or where the thread ends first. */
  listen(endpoint: Endpoint, base: string): Promise<number> {
    this.#post({ listen: endpoint, base });
    return this.#listening.promise;
  }

  /** Asks about half of those who are connected to it to connect anew. */
  shed(): void {
    this.#post({ shed: true });
  }

  renewCertificates(certificates: SecureContextOptions): void {
    this.#post({ certificates });
  }

  failed(failure: PolicyFailure): void {
    this.#post({ failure });
  }

  /** Lets requests finish for at most that long, then ends it. */
  async drain(graceMs: number): Promise<void> {
    this.#post({ drain: graceMs });
    const late = setTimeout(() => void this.#worker.terminate(), graceMs + CLOSE_MS);
    await this.#exited;
    clearTimeout(late);
  }

  #post(message: ToAccepting, transfer: ArrayBuffer[] = []): void {
    this.#port.postMessage(message, transfer);
  }

  /** A thread that hangs would accept connections for ever, and answer none. */
  #look(): void {
    if (this.#pulse.silence(performance.now()) < (this.#isReady ? HUNG_MS : START_MS)) return;
    this.#end(new Error('a thread that accepts connections hung'));
    void this.#worker.terminate();
  }

  #hear(message: FromAccepting): void {
    if (this.#over) return;
    if (message === 'ready') {
      this.#isReady = true;
      this.#ready.resolve();
    } else if ('asks' in message) this.#handed.answer(message);
    else if ('heard' in message) {
      const exchange = this.#exchanges.get(message.exchange);
      if (message.heard.what === 'closed') this.#exchanges.delete(message.exchange);
      exchange?.hear(message.heard);
    } else if ('asked' in message) {
      const { exchange: id, asked, peer } = message;
      this.#backlog.take(weightOf(...partsOf(asked)));
      const exchange = new RemoteExchange(
        asked,
        this.#peer(peer),
        doing(id, (does, transfer) => this.#post(does, transfer)),
      );
      this.#exchanges.set(id, exchange);
      try {
        this.#served.request(exchange);
      } catch (error) {
        exchange.destroy();
        throw error;
      }
    } else if ('greet' in message) void this.#greet(message.greet, message.peer, message.authorization);
    else if ('gone' in message) this.#peers.delete(message.gone);
    else if ('peer' in message)
      this.#peers.set(message.peer, {
        ...message.told,
        welcome: () => this.#post({ welcome: message.peer }),
      });
    else if ('told' in message) {
      const { told } = message;
      this.#backlog.take(message.errors.length);
      this.#waiting = told.waiting;
      this.#decided += told.decided.length / 3;
      this.#parts.hear(this, told, (no) => this.tenants.idOf(no));
      for (const { error, where } of message.errors)
        if (errorChannel.hasSubscribers) errorChannel.publish({ error: ofThread(error), where });
      if (message.doubted) this.#parts.writer.doubt();
    } else if ('ended' in message) transportChannel.publish(message.ended);
    else if ('listening' in message) {
      this.#isListening = true;
      this.#listening.resolve(message.listening);
    } else if ('failed' in message) this.#listening.reject(ofThread(message.failed));
  }

  /** One whose connection has ended is nobody. */
  #peer(id: Id): Peer {
    return this.#peers.get(id) ?? { loopback: false, certified: undefined, address: '' };
  }

  async #greet(id: Id, peer: Id, authorization: string | undefined): Promise<void> {
    this.#backlog.take(weightOf(authorization ?? ''));
    try {
      await this.#parts.callers.greet(presentedBy(authorization, this.#peer(peer)));
      this.#post({ greeted: id, refused: undefined });
    } catch (error) {
      this.#post({ greeted: id, refused: toThread(error) });
    }
  }

  #grant(wants: NonNullable<AskedWith['wants']>, of: Id, authorization: string | undefined): void {
    const peer = this.#peers.get(of);
    const ticket = this.tenants.ticket(wants, peer && presentedBy(authorization, peer));
    this.#post({ ticket, of, authorization });
  }

  #end(cause: unknown): void {
    if (this.#over) return;
    this.#over = true;
    clearInterval(this.#looking);
    this.load[Symbol.dispose]();
    const error = new ServiceError('unavailable', 'a thread that accepts connections ended', { cause });
    this.#ready.reject(error);
    this.#listening.reject(error);
    this.#port.close();
    this.#waiting = 0;
    for (const exchange of this.#exchanges.values()) exchange.close();
    this.#exchanges.clear();
    this.#peers.clear();
    this.#onEnd(cause);
  }

  /** What it had taken is free again, once it cannot give anything back itself. */
  #release(): void {
    const { ledger, ...tallies } = this.#bounds;
    new SharedCounts(ledger).release();
    for (const tally of Object.values(tallies)) new Tally(tally).release();
  }
}

/** How long the thread may be silent: no evaluation takes a hundredth of it. */
const HUNG_MS = 5_000;
/** Before it is ready it loads its code. */
const START_MS = 30_000;

/** How long it may take to close what it has, after its connections have drained. */
const CLOSE_MS = 5_000;

/** See `offload/thread.ts`. */
const YOUNG_MIB = 96;
