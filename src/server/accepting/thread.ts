import type { SecureContextOptions } from 'node:tls';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { SharedCounts } from '../../decision/ledger.ts';
import type { Clock } from '../../effects.ts';
import { ofThread, ServiceError, type ThreadError, toThread } from '../../errors.ts';
import type { TenantId } from '../../ids.ts';
import type { Policies } from '../../policy/policies.ts';
import type { TenantNo } from '../../storage/rows.ts';
import { LOOK_MS, Pulse } from '../../storage/watch/pulse.ts';
import type { Writer } from '../../storage/writer.ts';
import type { Callers } from '../../tenancy/callers.ts';
import type { Freshness } from '../../tenancy/freshness.ts';
import type { Tenant, Tenants } from '../../tenancy/tenants.ts';
import { errorChannel } from '../errors.ts';
import { outlines } from '../grpc/outlined.ts';
import { Tally } from '../intake/tally.ts';
import type { Endpoint, Handlers } from '../listener.ts';
import { buffersOf, Pouch, unpack } from '../offload/pouch.ts';
import { type Kind, kinds } from '../offload/protocol.ts';
import type { PolicyFailure, Told } from '../offload/report.ts';
import { withoutSecrets } from '../offload/thread.ts';
import { type Peer, presentedBy } from '../peer.ts';
import type { HotMethod } from '../server.ts';
import { transportChannel } from '../transport/transport.ts';
import { doing, RemoteExchange } from './exchanges.ts';
import { Load } from './load.ts';
import {
  type AcceptingOptions,
  type AskedWith,
  type FromAccepting,
  type HandedOver,
  type Id,
  type SharedBounds,
  Signal,
  type Ticket,
  type ToAccepting,
} from './protocol.ts';

/** What a thread is started with besides what it has of its own. */
export interface Settings
  extends Omit<AcceptingOptions, 'main' | 'writer' | 'writerPulse' | 'pulse' | 'signal' | 'bounds'> {}

/** What main serves for such a thread. */
export interface Served {
  readonly hot: Readonly<Record<Kind, HotMethod>>;
  readonly request: Handlers['request'];
}

export interface AcceptingParts {
  readonly settings: Settings;
  readonly writer: Writer;
  readonly policies: Policies;
  readonly tenants: Tenants;
  readonly callers: Callers;
  readonly clock: Clock;
  /** Whether a token is one that was found good (`Tokens.vouches`). */
  readonly vouches: (tenant: Tenant, token: string, now: number) => boolean;
  readonly freshness: Freshness;
  /** How far what main knows of a tenant is. */
  readonly versionOf: (no: TenantNo) => number;
  readonly hear: (from: AcceptingThread, told: Told, idOf: (no: TenantNo) => TenantId | undefined) => void;
}

/** Main's end of one thread that accepts connections: what it has been told, and what it is served with. */
export class AcceptingThread {
  readonly #parts: AcceptingParts;
  readonly #served: Served;
  readonly #bounds: SharedBounds;
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #signal = new Signal();
  readonly #pulse = new Pulse();
  readonly #looking: NodeJS.Timeout;
  readonly #peers = new Map<Id, Peer>();
  readonly #exchanges = new Map<Id, RemoteExchange>();
  /** Tenants as it was told of them. */
  readonly #known = new Map<TenantId, Tenant>();
  readonly #ids: (TenantId | undefined)[] = [];
  readonly #answers = new Pouch();
  #errors: ThreadError[] = [];
  #scheduled = false;
  #waiting = 0;
  #handed = 0;
  #decided = 0;
  #over = false;
  #isReady = false;
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
      bounds,
    } satisfies AcceptingOptions;
    const file = import.meta.url.endsWith('.ts') ? '../../accepting-thread.ts' : '../../accepting-thread.js';
    this.#worker = new Worker(new URL(file, import.meta.url), {
      workerData: options,
      transferList: [port2, writer],
      name: 'mandate-accepting',
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB },
    });
    this.#port.on('message', (message: FromAccepting) => this.#hear(message));
    this.#worker.on('error', (cause) => this.#end(cause));
    this.#looking = setInterval(() => this.#look(), LOOK_MS).unref();
    this.load = new Load({
      utilization: (...of) => this.#worker.performance.eventLoopUtilization(...of),
      lasts: on.lasts,
    });
    this.#exited = new Promise((resolve) => {
      this.#worker.on('exit', () => {
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

  get isOver(): boolean {
    return this.#over;
  }

  /** Entries that wait for its next commit. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Decisions that it has made itself, and calls that it has handed over. */
  get counts(): { readonly decided: number; readonly handed: number } {
    return { decided: this.#decided, handed: this.#handed };
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

  /** What follows is known to it before whatever it is asked from now on. */
  forget(tenant: TenantId): void {
    if (this.#known.delete(tenant)) this.#tell({ forget: tenant });
  }

  changed(tenant: Tenant): void {
    if (this.#ids[tenant.no] !== undefined) this.#tell({ changed: withoutSecrets(tenant) });
  }

  reached(no: TenantNo, version: number): void {
    if (this.#ids[no] !== undefined) this.#tell({ version, of: no });
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

  #tell(message: ToAccepting): void {
    this.#post(message);
    this.#signal.raise();
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
    } else if ('asks' in message) this.#answerAll(message);
    else if ('heard' in message) {
      const exchange = this.#exchanges.get(message.exchange);
      if (message.heard.what === 'closed') this.#exchanges.delete(message.exchange);
      exchange?.hear(message.heard);
    } else if ('asked' in message) {
      const { exchange: id, asked, peer } = message;
      const exchange = new RemoteExchange(
        asked,
        this.#peer(peer),
        doing(id, (does, transfer) => this.#post(does, transfer)),
      );
      this.#exchanges.set(id, exchange);
      this.#served.request(exchange);
    } else if ('greet' in message) void this.#greet(message.greet, message.peer, message.authorization);
    else if ('gone' in message) this.#peers.delete(message.gone);
    else if ('peer' in message)
      this.#peers.set(message.peer, {
        ...message.told,
        welcome: () => this.#post({ welcome: message.peer }),
      });
    else if ('told' in message) {
      const { told } = message;
      this.#waiting = told.waiting;
      this.#decided += told.decided.length / 3;
      this.#parts.hear(this, told, (no) => this.#ids[no]);
      for (const { error, where } of message.errors)
        if (errorChannel.hasSubscribers) errorChannel.publish({ error: ofThread(error), where });
      if (message.doubted) this.#parts.writer.doubt();
    } else if ('ended' in message) transportChannel.publish(message.ended);
    else if ('listening' in message) this.#listening.resolve(message.listening);
    else if ('failed' in message) this.#listening.reject(ofThread(message.failed));
  }

  /** One whose connection has ended is nobody. */
  #peer(id: Id): Peer {
    return this.#peers.get(id) ?? { loopback: false, certified: undefined };
  }

  async #greet(id: Id, peer: Id, authorization: string | undefined): Promise<void> {
    try {
      await this.#parts.callers.greet(presentedBy(authorization, this.#peer(peer)));
      this.#post({ greeted: id, refused: undefined });
    } catch (error) {
      this.#post({ greeted: id, refused: toThread(error) });
    }
  }

  #answerAll({ asks, with: withs }: HandedOver): void {
    let at = 0;
    unpack(asks, (slot, what, peer, message) => {
      const asked = withs[at] ?? NOBODY;
      at += 1;
      this.#handed += 1;
      this.#answer(slot, kinds[what] ?? 'check', this.#peer(peer), message, asked);
      if (asked.wants !== undefined) this.#grant(asked.wants, peer, asked.authorization);
      if (asked.token !== undefined) this.#vouch(message, kinds[what] ?? 'check', asked.token);
    });
  }

  #answer(
    slot: number,
    kind: Kind,
    peer: Peer,
    message: Uint8Array,
    { authorization, until }: AskedWith,
  ): void {
    const answered = (frame: Uint8Array): void => this.#settle(slot, 0, 0, frame);
    const failed = (error: unknown): void => {
      this.#settle(slot, 1, this.#errors.length, NOTHING);
      this.#errors.push(toThread(error));
    };
    try {
      const opened = this.#served.hot[kind].open(authorization, peer);
      const frame =
        opened instanceof Promise ? opened.then((handle) => handle(message, until)) : opened(message, until);
      frame.then(answered, failed);
    } catch (error) {
      failed(error);
    }
  }

  /** The answers of one commit go back together. */
  #settle(slot: number, failed: 0 | 1, place: number, frame: Uint8Array): void {
    this.#answers.add(slot, failed, place, frame);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    this.#scheduled = false;
    const answers = this.#answers.take();
    if (!this.#over) this.#post({ answers, errors: this.#errors }, buffersOf(answers));
    this.#errors = [];
  }

  /** Says who that is in a tenant, and tells of the tenant first. What can be known of no one at a look is asked each time. */
  #grant(id: string, of: Id, authorization: string | undefined): void {
    const { tenants, callers } = this.#parts;
    const tenant = tenants.find(id);
    const peer = this.#peers.get(of);
    const none: Ticket = { tenant: id as TenantId, caller: undefined, forMs: TICKET_MS };
    const ticket = (said: Ticket): void => this.#post({ ticket: said, of, authorization });
    if (!tenant || !peer || !this.#learn(tenant)) return ticket(none);
    const known = callers.known(tenant, presentedBy(authorization, peer), 'check');
    if (!known) return ticket(none);
    const { caller, forMs } = known;
    ticket({
      tenant: tenant.id,
      caller: {
        caller: caller.id,
        audiences: caller.audiences,
        readsPolicy: caller.may.has('policy.read'),
        no: 0,
      },
      forMs: Math.min(TICKET_MS, forMs),
    });
  }

  /** One that is new is looked at by the call that brings it, and is known by the next. */
  #vouch(message: Uint8Array, kind: Kind, token: string): void {
    const { tenants, vouches, freshness, clock } = this.#parts;
    const tenant = tenants.find(outlines[kind](message)?.tenant ?? '');
    if (!tenant) return;
    const isVouched = vouches(tenant, token, clock());
    // The next one is to bring it again at once.
    const forMs = isVouched ? Math.min(TICKET_MS, freshness.leftMs) : 0;
    this.#post({ vouch: { tenant: tenant.id, token, isVouched, forMs } });
  }

  /** Tells it of the tenant, unless it knows. Answers whether it can decide for it. */
  #learn(tenant: Tenant): boolean {
    // What is sealed takes keys, which no thread but main has.
    if (tenant.manifest.audit.sealed.length > 0) return false;
    if (this.#known.get(tenant.id) === tenant) return true;
    const { policies, versionOf } = this.#parts;
    const bundle = policies.bundleOf(tenant);
    if (!bundle) return false;
    this.#post({ tenant: withoutSecrets(tenant), bundle, staged: policies.stagedOf(tenant) });
    this.#post({ version: versionOf(tenant.no), of: tenant.no });
    this.#known.set(tenant.id, tenant);
    this.#ids[tenant.no] = tenant.id;
    return true;
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
    const { ledger, ...tallies } = this.#bounds;
    new SharedCounts(ledger).release();
    for (const tally of Object.values(tallies)) new Tally(tally).release();
    this.#onEnd(cause);
  }
}

const NOTHING = new Uint8Array();
const NOBODY: AskedWith = { authorization: undefined, until: Number.POSITIVE_INFINITY };

/** For how long a caller may ask before main looks at it again: as near as the last use of a credential is known. */
const TICKET_MS = 10_000;

/** How long the thread may be silent: no evaluation takes a hundredth of it. */
const HUNG_MS = 5_000;
/** Before it is ready it loads its code. */
const START_MS = 30_000;

/** How long it may take to close what it has, after its connections have drained. */
const CLOSE_MS = 5_000;

/** See `offload/thread.ts`. */
const YOUNG_MIB = 96;
