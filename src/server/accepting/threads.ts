import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { performance } from 'node:perf_hooks';
import type { SecureContextOptions } from 'node:tls';
import type { Admission } from '../../decision/admission.ts';
import { sharedLedgers } from '../../decision/ledger.ts';
import { ServiceError } from '../../errors.ts';
import type { TenantId } from '../../ids.ts';
import { failureChannel } from '../../policy/health.ts';
import type { TenantNo } from '../../storage/rows.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import { toServiceError } from '../errors.ts';
import { sharedTallies } from '../intake/tally.ts';
import type { Endpoint } from '../listener.ts';
import { hear, type PolicyFailure, type Told } from '../offload/report.ts';
import { Load } from './load.ts';
import type { AcceptingParts, Served } from './parts.ts';
import type { SharedBounds } from './protocol.ts';
import { AcceptingThread } from './thread.ts';

/** The bounds that hold over main and so many threads: main's first. */
export function sharedBounds(threads: number): SharedBounds[] {
  const each = threads + 1;
  const ledgers = sharedLedgers(each);
  const tallies = (['connections', 'held', 'uploads', 'anteroom'] as const).map(
    (name) => [name, sharedTallies(each)] as const,
  );
  return ledgers.map((ledger, at) => ({
    ledger,
    ...Object.fromEntries(tallies.map(([name, all]) => [name, all[at]])),
  })) as SharedBounds[];
}

export interface AcceptingThreadsOptions extends Omit<AcceptingParts, 'hear'> {
  readonly admission: Admission;
  /** Of the threads, one each. */
  readonly bounds: readonly SharedBounds[];
  /** `load`: when main is full. */
  readonly from: 'start' | 'load';
  /** Main is full, and leaves single calls to other threads. */
  readonly isRelieved: () => boolean;
}

/** Main's own door to the data plane. */
export interface Door {
  /** With the certificates of now. */
  open(endpoint: Endpoint): Promise<unknown>;
  close(): Promise<void>;
  /** Asks about half of those who are connected there to connect anew, in order. */
  shed(): void;
}

interface Serving {
  readonly served: Served;
  readonly endpoint: Endpoint;
  readonly base: string;
  readonly door: Door;
}

/**
 * The threads that accept the data plane's connections, all on one port: the system gives each its share. They begin with
 * the server, in main's place; or beside it, once it has no time left. What one of them has to know before a change is
 * acknowledged is told to all of them before (`Signal`).
 */
export class AcceptingThreads implements AsyncDisposable {
  readonly #options: AcceptingThreadsOptions;
  readonly #parts: AcceptingParts;
  /** By the place of their bounds; undefined where one has ended. */
  readonly #threads: (AcceptingThread | undefined)[];
  /** Where one has ended, its exit: until then it may count in the bounds that are the next one's. */
  readonly #exits = new Map<number, Promise<void>>();
  readonly #starting = new Set<number>();
  /** Those that the threads have not heard of yet. */
  readonly #versions = new Map<TenantNo, number>();
  #serving: Serving | undefined;
  #told: AcceptingThread | undefined;
  #gone = { decided: 0, handed: 0 };
  #troubleUntil = 0;
  #restarting: NodeJS.Timeout | undefined;
  #closing = false;
  #isStarting = false;
  #load: Load | undefined;
  readonly #onFailure = (message: unknown): void => {
    const { tenant, code, place } = message as Omit<PolicyFailure, 'at'>;
    const failure = { tenant, code, place, at: this.#options.clock() };
    // A failing policy has its share once, and not on each of them.
    for (const thread of this.#threads) if (thread && thread !== this.#told) thread.failed(failure);
  };

  constructor(options: AcceptingThreadsOptions) {
    this.#options = options;
    this.#threads = options.bounds.map(() => undefined);
    this.#parts = { ...options, hear: (...heard) => this.#hear(...heard) };
    subscribe(failureChannel.name, this.#onFailure);
  }

  /**
   * From now on they accept where main does, when their time has come. Resolves once all of them listen, if that is now.
   * Rejects with `config_invalid`, or where one does not start.
   */
  async begin(serving: Serving): Promise<void> {
    this.#serving = serving;
    if (this.#options.from === 'start') {
      await Promise.all(this.#threads.map((_, at) => this.#start(at)));
      await serving.door.close();
      return;
    }
    this.#load = new Load({
      utilization: (...of) => performance.eventLoopUtilization(...of),
      isRelieved: this.#options.isRelieved,
      full: () => this.#startNext(),
      lasts: () => {
        if (this.#hasRoom()) serving.door.shed();
        else this.#startNext();
      },
    });
  }

  /** Whether anybody but the one who asks has time for more connections. */
  #hasRoom(but?: AcceptingThread): boolean {
    const others = this.#threads.filter((thread) => thread !== undefined && thread !== but);
    const loads = others.map((thread) => thread?.load.utilization ?? 1);
    if (but && this.#load) loads.push(this.#load.utilization);
    return loads.some((each) => each < ROOM);
  }

  /** One after the other, since the next may be enough. */
  #startNext(): void {
    const at = this.#threads.indexOf(undefined);
    if (at < 0 || this.#isStarting || this.#restarting || this.#closing) return;
    this.#isStarting = true;
    this.#start(at)
      .catch((error: unknown) => failed(error))
      .finally(() => {
        this.#isStarting = false;
      });
  }

  /** How many accept connections. */
  get ready(): number {
    return this.#threads.filter((thread) => thread?.accepts).length;
  }

  /** What an operator should know; empty if there is nothing. */
  get problem(): string {
    if (this.#closing || performance.now() >= this.#troubleUntil) return '';
    const who = this.ready > 0 ? 'others accept' : 'main accepts';
    return `a thread that accepts connections ended; ${who} until another starts`;
  }

  /** Entries that wait for the threads' next commits. */
  get waiting(): number {
    return this.#threads.reduce((sum, thread) => sum + (thread?.waiting ?? 0), 0);
  }

  /** Requests over the threads' connections that main serves. */
  get passed(): number {
    return this.#threads.reduce((sum, thread) => sum + (thread?.passed ?? 0), 0);
  }

  /** Decisions that the threads have made, and calls that they have handed over. */
  get counts(): { readonly decided: number; readonly handed: number } {
    const sum = { ...this.#gone };
    for (const thread of this.#threads) {
      sum.decided += thread?.counts.decided ?? 0;
      sum.handed += thread?.counts.handed ?? 0;
    }
    return sum;
  }

  /** Called when anything of a tenant but its principals changed, before anybody hears of it. */
  forget(tenant: TenantId): void {
    for (const thread of this.#threads) thread?.tenants.forget(tenant);
  }

  /** Called when the tenant's principals changed, before anybody hears of it. */
  changed(tenant: Tenant): void {
    for (const thread of this.#threads) thread?.tenants.changed(tenant);
  }

  /**
   * Main is as far from now on. Its own decisions wait until whoever made the change has told of it, in this turn; a thread
   * decides meanwhile, and is told of the version after that.
   */
  reached(no: TenantNo, version: number): void {
    if (this.#versions.size === 0) setImmediate(() => this.#tellVersions());
    this.#versions.set(no, version);
  }

  #tellVersions(): void {
    for (const [no, version] of this.#versions)
      for (const thread of this.#threads) thread?.tenants.reached(no, version);
    this.#versions.clear();
  }

  renewCertificates(certificates: SecureContextOptions): void {
    const { endpoint } = this.#serving ?? {};
    if (this.#serving && endpoint?.tls)
      this.#serving = {
        ...this.#serving,
        endpoint: { ...endpoint, tls: { ...endpoint.tls, ...certificates } },
      };
    for (const thread of this.#threads) thread?.renewCertificates(certificates);
  }

  /** Takes no more connections, lets requests finish for at most that long, and ends the threads. */
  async drain(graceMs: number): Promise<void> {
    this.#closing = true;
    clearTimeout(this.#restarting);
    this.#load?.[Symbol.dispose]();
    await Promise.all(this.#threads.flatMap((thread) => thread?.drain(graceMs) ?? []));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    unsubscribe(failureChannel.name, this.#onFailure);
    await this.drain(0);
  }

  async #start(at: number): Promise<void> {
    if (this.#starting.has(at)) return;
    this.#starting.add(at);
    try {
      await this.#exits.get(at);
      if (!this.#closing) await this.#started(at);
    } finally {
      this.#starting.delete(at);
    }
  }

  async #started(at: number): Promise<void> {
    const own = this.#options.bounds[at];
    if (!own || !this.#serving) return;
    const thread = new AcceptingThread(this.#parts, this.#serving.served, own, {
      ended: (cause) => this.#ended(at, thread, cause),
      lasts: () => {
        if (this.#hasRoom(thread)) thread.shed();
      },
    });
    this.#threads[at] = thread;
    try {
      await thread.ready;
      // It has been told to end meanwhile.
      if (this.#closing) return;
      // Its certificates may have been renewed meanwhile.
      const { endpoint, base } = this.#serving;
      await thread.listen({ ...endpoint, reusePort: true }, base);
    } catch (error) {
      await thread.drain(0);
      throw error;
    }
  }

  #hear(from: AcceptingThread, told: Told, idOf: (no: TenantNo) => TenantId | undefined): void {
    const { admission, policies } = this.#options;
    this.#told = from;
    try {
      hear(told, { admission, health: policies.health, idOf });
    } finally {
      this.#told = undefined;
    }
  }

  #ended(at: number, thread: AcceptingThread, cause: unknown): void {
    if (this.#threads[at] === thread) this.#threads[at] = undefined;
    this.#exits.set(at, thread.exited);
    const { decided, handed } = thread.counts;
    this.#gone = { decided: this.#gone.decided + decided, handed: this.#gone.handed + handed };
    if (this.#closing) return;
    this.#troubleUntil = performance.now() + REST_MS;
    // The operator hears of it even if nobody waits.
    toServiceError(new ServiceError('unavailable', 'connections were ended', { cause }), 'accepting thread');
    this.#restarting ??= setTimeout(() => void this.#restart(), REST_MS).unref();
    if (this.#options.from === 'start' && this.ready === 0) this.#open();
  }

  #open(): void {
    const { door, endpoint } = this.#serving ?? {};
    if (endpoint) door?.open(endpoint).catch((error: unknown) => failed(error));
  }

  /** What killed it may kill the next: so there was a rest. */
  async #restart(): Promise<void> {
    this.#restarting = undefined;
    if (this.#options.from === 'load') return;
    const missing = this.#threads.flatMap((thread, at) => (thread ? [] : [at]));
    try {
      await Promise.all(missing.map((at) => this.#start(at)));
      if (this.ready > 0) await this.#serving?.door.close();
    } catch (error) {
      failed(error);
    }
  }
}

const failed = (error: unknown): void => void toServiceError(error, 'accepting thread');

/** Who is busy for less of its time takes more connections. */
const ROOM = 0.5;

/** How long no thread is started after one ended. */
const REST_MS = 10_000;
