import { Worker } from 'node:worker_threads';
import type { Admission, Share } from '../../decision/admission.ts';
import type { FuelWindow } from '../../decision/fuel-window.ts';
import type { Clock } from '../../effects.ts';
import { ofThread, ServiceError, type ThreadError } from '../../errors.ts';
import type { TenantId } from '../../ids.ts';
import type { Policies } from '../../policy/policies.ts';
import type { TenantNo } from '../../storage/rows.ts';
import { LOOK_MS, Pulse } from '../../storage/watch/pulse.ts';
import type { Writer } from '../../storage/writer.ts';
import type { Caller } from '../../tenancy/callers.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import { buffersOf, Pouch, unpack } from './pouch.ts';
import { Progress } from './progress.ts';
import { type FromThread, type Kind, type ThreadOptions, type ToThread, whatOf } from './protocol.ts';
import { hear } from './report.ts';

type Settings = Omit<ThreadOptions, 'writer' | 'writerPulse' | 'pulse' | 'progress'>;

export interface DecisionThreadOptions extends Settings {
  readonly writer: Writer;
  readonly policies: Policies;
  readonly admission: Admission;
  /** What all threads spend together. */
  readonly window: FuelWindow;
  readonly clock: Clock;
  /** How far what main knows of a tenant is, and has told of. */
  readonly versionOf: (no: TenantNo) => number;
  /** Hears of its end, once, with the reason. */
  readonly onEnd: (thread: DecisionThread, cause: unknown) => void;
}

/** How a message is to be answered. */
export interface Asking {
  /** Decisions it asks for. */
  readonly items: number;
  /** When nobody waits any more, in milliseconds since the epoch. */
  readonly until: number;
  /** Whether the token in it was looked at by main, and found to be good. */
  readonly isVouched: boolean;
}

interface Waiter {
  readonly resolve: (frame: Uint8Array) => void;
  readonly reject: (error: ServiceError) => void;
  readonly place: Share;
  readonly items: number;
}

/** Main's end of one decision thread: what it has been told, and who waits for its answers. */
export class DecisionThread {
  readonly #options: DecisionThreadOptions;
  readonly #worker: Worker;
  readonly #exited: Promise<unknown>;
  readonly #progress = new Progress();
  readonly #known = new Map<TenantId, Tenant>();
  readonly #tenantIds: TenantId[] = [];
  /** By the number of the tenant, the version that it was told last. */
  readonly #versions: number[] = [];
  /** By name and audiences: what a caller serves may change. */
  readonly #callers = new Map<string, number>();
  readonly #numbers = new WeakMap<Caller, number>();
  readonly #asks = new Pouch();
  readonly #waiters: (Waiter | undefined)[] = [];
  readonly #free: number[] = [];
  #ready = false;
  #over = false;
  #hung = false;
  #scheduled = false;
  #waiting = 0;
  #answered = 0;
  readonly #pulse = new Pulse();
  readonly #looking: NodeJS.Timeout;

  constructor(options: DecisionThreadOptions) {
    this.#options = options;
    const { folder, fuel, memoryMib, maxInstances } = options;
    const writer = options.writer.connect();
    const threadOptions = {
      writer,
      writerPulse: options.writer.pulse,
      pulse: this.#pulse.shared,
      progress: this.#progress.shared,
      folder,
      fuel,
      memoryMib,
      maxInstances,
    } satisfies ThreadOptions;
    const file = import.meta.url.endsWith('.ts') ? '../../decision-thread.ts' : '../../decision-thread.js';
    const worker = new Worker(new URL(file, import.meta.url), {
      workerData: threadOptions,
      transferList: [writer],
      name: 'mandate-decisions',
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB },
    });
    this.#worker = worker;
    worker.once('message', () => {
      this.#ready = true;
      worker.on('message', (message: FromThread) => this.#onMessage(message));
    });
    worker.on('error', (cause) => this.#end(cause));
    this.#looking = setInterval(() => this.#look(), LOOK_MS).unref();
    this.#exited = new Promise((resolve) => {
      worker.on('exit', () => {
        this.#end(new Error('the decision thread ended'));
        resolve(undefined);
      });
    });
  }

  /** True from when it can be asked until its end. */
  get ready(): boolean {
    return this.#ready && !this.#over;
  }

  /** Bytes of messages that it was asked and has not begun with. */
  get behind(): number {
    return this.#progress.behind;
  }

  /** Entries that wait for its next commit. */
  get waiting(): number {
    return this.#waiting;
  }

  /** How many calls and messages of streams it has answered. */
  get answered(): number {
    return this.#answered;
  }

  /** Tells it of the tenant, unless it knows. Answers whether it can decide for it. */
  learn(tenant: Tenant): boolean {
    if (this.#known.get(tenant.id) === tenant) return true;
    const bundle = this.#options.policies.bundleOf(tenant);
    if (!bundle) return false;
    const staged = this.#options.policies.stagedOf(tenant);
    this.#post({ tenant: withoutSecrets(tenant), bundle, staged });
    this.#known.set(tenant.id, tenant);
    this.#tenantIds[tenant.no] = tenant.id;
    return true;
  }

  /** It is to learn the tenant anew before it decides for it again. */
  forget(tenant: TenantId): void {
    this.#known.delete(tenant);
  }

  /** Also for a tenant it is to learn anew: it keeps what it has looked up of principals through that. */
  changed(tenant: Tenant): void {
    if (this.#tenantIds[tenant.no] !== undefined) this.#post({ changed: withoutSecrets(tenant) });
  }

  /**
   * Resolves with a frame once the record is durable. Throws `resource_exhausted`; rejects with what `Decisions` throws.
   */
  ask(
    kind: Kind,
    tenant: Tenant,
    caller: Caller,
    message: Uint8Array,
    { items, until, isVouched }: Asking,
  ): Promise<Uint8Array> {
    const { admission, clock, window } = this.#options;
    const place = admission.enter(tenant, items, window);
    this.#tellVersion(tenant.no);
    // What it really costs is known only when its record is durable, and many may be asked until then.
    window.spend(tenant.id, place.usual * items, clock());
    return new Promise((resolve, reject) => {
      const slot = this.#free.pop() ?? this.#waiters.length;
      this.#waiters[slot] = { resolve, reject, place, items };
      // The others are decided at once when their turn comes.
      if (kind === 'batch' && until !== Number.POSITIVE_INFINITY) this.#post({ slot, until });
      this.#asks.add(slot, whatOf(kind, tenant.no, isVouched), this.#numberOf(caller), message);
      this.#progress.asked(message.length);
      // The thread must not run dry while a long turn of this event loop goes on.
      if (this.#asks.count >= EARLY) return this.#flush();
      if (this.#scheduled) return;
      // What else arrives in this turn goes together.
      this.#scheduled = true;
      setImmediate(() => this.#flush());
    });
  }

  /** Before what is asked next: all that led to it was told before. */
  #tellVersion(no: TenantNo): void {
    const version = this.#options.versionOf(no);
    if (this.#versions[no] === version) return;
    this.#versions[no] = version;
    this.#post({ version, of: no });
  }

  /** Lets what was asked be recorded, then ends it; one that hangs is not waited for. */
  async close(): Promise<void> {
    this.#flush();
    this.#post('close');
    const late = setTimeout(() => void this.#worker.terminate(), HUNG_MS);
    await this.#exited;
    clearTimeout(late);
  }

  /** A thread that hangs would be asked for ever, and nobody would hear from it. */
  #look(): void {
    if (this.#pulse.silence(performance.now()) < (this.#ready ? HUNG_MS : START_MS)) return;
    this.#hung = true;
    this.#end(new Error('the decision thread hung'));
    void this.#worker.terminate();
  }

  /** Whether it ended because it hung, and not by itself. */
  get hung(): boolean {
    return this.#hung;
  }

  #numberOf(caller: Caller): number {
    const known = this.#numbers.get(caller);
    if (known !== undefined) return known;
    const { id, audiences } = caller;
    const readsPolicy = caller.may.has('policy.read');
    const name = JSON.stringify([id, audiences, readsPolicy]);
    const no = this.#callers.get(name) ?? this.#callers.size;
    if (no === this.#callers.size) this.#post({ caller: id, audiences, readsPolicy, no });
    this.#callers.set(name, no);
    this.#numbers.set(caller, no);
    return no;
  }

  #post(message: ToThread): void {
    this.#worker.postMessage(message);
  }

  #flush(): void {
    this.#scheduled = false;
    if (this.#asks.count === 0) return;
    const asks = this.#asks.take();
    this.#worker.postMessage({ asks } satisfies ToThread, buffersOf(asks));
  }

  #onMessage(message: FromThread): void {
    const { answers, errors, told } = message;
    // It hung, and who waited was told; its slots are gone.
    if (this.#over) return;
    this.#waiting = told.waiting;
    if (errors.some(({ code }) => code === 'audit_unavailable')) this.#options.writer.doubt();
    unpack(answers, (slot, failed, place, frame) => {
      const waiter = this.#waiters[slot];
      if (!waiter) return;
      this.#waiters[slot] = undefined;
      this.#free.push(slot);
      this.#answered += 1;
      this.#options.admission.leave(waiter.place, waiter.items);
      if (failed === 0) waiter.resolve(frame);
      else waiter.reject(errorOf(errors[place]));
    });
    const { admission, policies } = this.#options;
    hear(told, { admission, health: policies.health, idOf: (no) => this.#tenantIds[no] });
  }

  /** Whoever waits gets an error, which a caller takes for a deny. */
  #end(cause: unknown): void {
    if (this.#over) return;
    this.#over = true;
    clearInterval(this.#looking);
    this.#options.onEnd(this, cause);
    const error = new ServiceError('unavailable', 'the decision was not finished; ask again', { cause });
    for (const waiter of this.#waiters.splice(0)) {
      if (!waiter) continue;
      this.#options.admission.leave(waiter.place, waiter.items);
      waiter.reject(error);
    }
  }
}

/** How long a thread may be silent: no evaluation takes a hundredth of it. */
const HUNG_MS = 5_000;
/** Before it is ready it loads its code. */
const START_MS = 30_000;

/** How many asks go without waiting for the end of the turn. */
const EARLY = 32;

/**
 * The thread's young generation at most, three semi-spaces of 32 MiB: what a burst of messages holds on to until its
 * commit then dies in it, instead of being copied and collected with the old.
 */
const YOUNG_MIB = 96;

/** A tenant as a thread knows it that only decides. */
export const withoutSecrets = (tenant: Tenant): Tenant => ({
  ...tenant,
  credentials: new Map(),
  workloads: new Map(),
  declared: new Map(),
  audiences: new Map(),
  issuers: new Map(),
  manifest: { ...tenant.manifest, principals: [], issuers: [], resources: [] },
});

const errorOf = (error: ThreadError | undefined): ServiceError =>
  error ? ofThread(error) : new ServiceError('internal', 'the decision was not finished');
