import { FuelWindow } from '../../decision/fuel-window.ts';
import { ServiceError } from '../../errors.ts';
import type { TenantId } from '../../ids.ts';
import type { Caller } from '../../tenancy/callers.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import { toServiceError } from '../errors.ts';
import { OwnCalls } from './own.ts';
import type { Kind } from './protocol.ts';
import { type Asking, DecisionThread, type DecisionThreadOptions } from './thread.ts';

export interface OffloadOptions extends Omit<DecisionThreadOptions, 'onEnd' | 'window'> {
  /** How many threads there may be. */
  readonly threads: number;
}

/**
 * The decision threads. While there is none (the first starts with the first request that could use it), or none any
 * more, main decides alone; what is asked goes through the same code either way. A single call is decided by main too,
 * where that is cheaper (`OwnCalls`); what comes many at a time, in streams and batches, costs little to hand over.
 *
 * A thread is asked as long as it keeps up; only what would wait behind others goes to the next, which starts when it is
 * needed first. A thread learns of a tenant with the first request for it, and again after anything of it changed.
 * Messages to a thread keep their order, so what it was told before an ask holds for that ask.
 */
export class Offload implements AsyncDisposable {
  readonly #options: OffloadOptions;
  readonly #threads: DecisionThread[] = [];
  readonly #window: FuelWindow;
  readonly #own: OwnCalls;
  #restUntil = 0;
  #toldUntil = 0;
  #gone = 0;
  #closing = false;

  constructor(options: OffloadOptions) {
    this.#options = options;
    this.#window = new FuelWindow(options.threads);
    this.#own = new OwnCalls(options.admission);
  }

  /** How many threads can be asked. */
  get ready(): number {
    return this.#threads.filter(isReady).length;
  }

  /** What an operator should know; empty if there is nothing. */
  get problem(): string {
    if (this.#closing || performance.now() >= this.#toldUntil) return '';
    const who = this.#threads.some(isReady) ? 'the others decide' : 'main decides alone';
    return `a decision thread ended; ${who} until another starts`;
  }

  /** Entries that wait for the threads' next commits. */
  get waiting(): number {
    return this.#threads.reduce((sum, { waiting }) => sum + waiting, 0);
  }

  /** How many calls and messages of streams the threads have answered. */
  get answered(): number {
    return this.#threads.reduce((sum, { answered }) => sum + answered, this.#gone);
  }

  /** Main has no time for single calls any more. */
  get isFull(): boolean {
    return this.#own.isFull;
  }

  /** Whether a single call is cheaper decided by main itself. */
  leaves(tenant: Tenant, message: Uint8Array): boolean {
    return this.#own.has(tenant.id, message.length);
  }

  /** Whether a thread can decide for the tenant; makes the first one start. */
  serves(tenant: Tenant): boolean {
    // What is sealed takes keys, which no thread but main has.
    if (tenant.manifest.audit.sealed.length > 0) return false;
    if (this.#threads.length === 0) this.#start();
    return this.#threads.some(isReady) && this.#options.policies.bundleOf(tenant) !== undefined;
  }

  /**
   * Resolves with a frame once the record is durable. Throws `resource_exhausted`, and `unavailable` where the threads
   * ended since one was found ready; rejects with what `Decisions` throws.
   */
  ask(kind: Kind, tenant: Tenant, caller: Caller, message: Uint8Array, asking: Asking): Promise<Uint8Array> {
    // Main hears of failures on every thread: a failing policy has its share once, and not on each of them.
    this.#options.policies.health.admit(tenant.id, this.#options.clock());
    const thread = this.#pick();
    if (!thread?.learn(tenant)) throw new ServiceError('unavailable', 'the decision thread ended');
    return thread.ask(kind, tenant, caller, message, asking);
  }

  /** Called when anything of a tenant but its principals changed: the threads learn it anew. */
  forget(tenant: TenantId): void {
    for (const thread of this.#threads) thread.forget(tenant);
  }

  /** Called when the tenant's principals changed, before anybody hears of it. */
  changed(tenant: Tenant): void {
    for (const thread of this.#threads) thread.changed(tenant);
  }

  /** The first thread that keeps up, or else the one least behind. */
  #pick(): DecisionThread | undefined {
    let best: DecisionThread | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const thread of this.#threads) {
      if (!thread.ready) continue;
      const { behind } = thread;
      if (behind < MOST_BEHIND) return thread;
      if (behind >= least) continue;
      best = thread;
      least = behind;
    }
    if (best) this.#start();
    return best;
  }

  /** Starts another thread if there may be one: one after the other, since the next may be enough. */
  #start(): void {
    if (this.#threads.length === this.#options.threads || this.#closing) return;
    if (!this.#threads.every(isReady)) return;
    if (performance.now() < this.#restUntil) return;
    const onEnd = (thread: DecisionThread, cause: unknown): void => this.#ended(thread, cause);
    this.#threads.push(new DecisionThread({ ...this.#options, window: this.#window, onEnd }));
  }

  #ended(thread: DecisionThread, cause: unknown): void {
    this.#threads.splice(this.#threads.indexOf(thread), 1);
    this.#gone += thread.answered;
    if (this.#closing) return;
    this.#toldUntil = performance.now() + REST_MS;
    // One that hung did so for longer than a rest would be good for.
    if (thread.hung) this.#start();
    else this.#restUntil = this.#toldUntil;
    // The operator hears of it even if nobody waits.
    toServiceError(
      new ServiceError('unavailable', 'the decision was not finished', { cause }),
      'decision thread',
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true;
    this.#own[Symbol.dispose]();
    await Promise.all(this.#threads.map((thread) => thread.close()));
  }
}

const isReady = ({ ready }: DecisionThread): boolean => ready;

/** Bytes of messages: some two hundred checks, about three milliseconds' work. */
const MOST_BEHIND = 16 * 1024;

/** How long no thread is started after one ended: what killed it may kill the next. */
const REST_MS = 10_000;
