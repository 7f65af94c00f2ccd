import { channel } from 'node:diagnostics_channel';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { ServiceError } from '../errors.ts';
import type { CommandName, Commands } from './commands.ts';
import type { StoreOptions } from './database.ts';
import { reportFault } from './faults.ts';
import { type Parcel, Parcels } from './log/parcel.ts';
import type { RecordRow, SharedPart, TenantNo } from './rows.ts';
import { LOOK_MS, Pulse } from './watch/pulse.ts';
import { asUntried, SILENT, unavailable } from './writing/errors.ts';
import { Gathering, type Sent, type Settle, settleAll, wholeParcel } from './writing/gathering.ts';
import type { Batch, BatchDone, FromWriter, TenantQuota } from './writing/protocol.ts';
import { startWriter } from './writing/start.ts';

/** Published after each commit: how many entries it held. */
export const commitChannel = channel('mandate:commit');

/** How many entries may wait for a commit; beyond it callers are told to come back. */
const MAX_WAITING = 50_000;

/**
 * From how many entries on a batch waits neither for the end of the turn nor for the one before: the thread must not run
 * dry. Twice as many for each batch in flight, so that under load commits grow rather than their number. The rest of a
 * turn follows at its end.
 */
const EARLY = 64;
const MAX_IN_FLIGHT = 4;

/**
 * How long a failed commit is held against the store. Who asks whether it is ready sends nothing until it is, so it must
 * be so again without another commit.
 */
const DOUBTED_MS = 5_000;

/**
 * How long the thread may be silent: a disk that does not answer holds it inside a commit. Nobody is kept waiting for
 * longer, and nothing new is taken, until it answers.
 */
const SILENT_MS = 10_000;

/** How long closing waits for what is under way before it lets go of the thread. */
const CLOSE_MS = 5_000;

/**
 * Who decides in which order commands are done, where this store is one of several with the same state. Undefined for a
 * command that is done here at once.
 */
export type Order = <Name extends CommandName>(
  name: Name,
  args: Parameters<Commands[Name]>[0],
  record: RecordRow | undefined,
) => Promise<Ran<Name>> | undefined;

/** What became of a command. */
export interface Ran<Name extends CommandName> {
  readonly value: ReturnType<Commands[Name]>;
  /** Of its record. */
  readonly index: number;
  readonly version: number | undefined;
}

/**
 * The way into the store. While one batch is being committed the next one gathers, so that the cost of a durable
 * commit is shared by all that arrived meanwhile (group commit). A promise resolves only after the commit.
 */
export class Writer implements AsyncDisposable {
  /** The thread itself, or a way into it from another thread. */
  readonly #thread: Worker | MessagePort;
  readonly #parcels = new Parcels();
  #gathering: Gathering = this.#gather();
  /** What waits for the next batch, in the order in which it was asked for; the gathering comes after it. */
  #waiting: Sent[] = [];
  readonly #inFlight: Sent[][] = [];
  #entries = 0;
  #scheduled = false;
  #failure: ServiceError | undefined;
  #failedAt = Number.NEGATIVE_INFINITY;
  /** What the thread itself finds wrong with the store. */
  #standing = '';
  #silent = false;
  #closing = false;
  #drained: (() => void) | undefined;
  /** Who waits for the write-ahead log to be emptied, in the order in which they asked. */
  readonly #emptying: ((isEmpty: boolean) => void)[] = [];
  readonly #pulse: Pulse;
  #order: Order | undefined;
  #onChange: (tenantNo: TenantNo, version: number) => void = () => undefined;
  readonly #looking: NodeJS.Timeout;
  readonly #exited: Promise<void>;
  readonly #failed = Promise.withResolvers<ServiceError>();

  private constructor(thread: Worker | MessagePort, pulse: Pulse) {
    this.#thread = thread;
    this.#pulse = pulse;
    this.#looking = setInterval(() => this.#look(), LOOK_MS).unref();
    thread.on('message', (message: FromWriter) => {
      if (Array.isArray(message)) this.#onDone(message as BatchDone);
      else if ('fault' in message) reportFault(message.fault);
      else if ('standing' in message) this.#standing = message.standing;
      else if ('emptied' in message) this.#emptying.shift()?.(message.emptied);
    });
    const ended = thread instanceof Worker ? 'exit' : 'close';
    if (thread instanceof Worker) thread.on('error', (cause) => this.#fail(cause));
    this.#exited = new Promise((resolve) => {
      thread.on(ended, () => {
        this.#fail(new Error('the writer thread ended'));
        resolve();
      });
    });
  }

  /** A writer over a way in that `connect` made in another thread, with the pulse of the thread behind it. */
  static over(port: MessagePort, pulse: SharedArrayBuffer): Writer {
    return new Writer(port, new Pulse(pulse));
  }

  /** Another way in, to be handed to another thread. It closes when the writer does. */
  connect(): MessagePort {
    const { port1, port2 } = new MessageChannel();
    this.#thread.postMessage({ connect: port1 }, [port1]);
    return port2;
  }

  /** What `over` is given beside the way in. */
  get pulse(): SharedArrayBuffer {
    return this.#pulse.shared;
  }

  /** See `Pulse.ends`. */
  get ends(): number {
    return this.#pulse.ends;
  }

  /** Resolves when the store is open and its schema current. Throws `storage_unsupported` and `config_invalid`. */
  static async open(options: StoreOptions): Promise<Writer> {
    const { thread, pulse } = await startWriter(options);
    return new Writer(thread, pulse);
  }

  /** Resolves if the thread ends before it is closed: nothing can be recorded any more, in this process. */
  get failed(): Promise<ServiceError> {
    return this.#failed.promise;
  }

  /** What the tenant may write from now on. */
  limit(tenantNo: TenantNo, quota: TenantQuota): void {
    this.#thread.postMessage({ quota, of: tenantNo });
  }

  /** Why nothing can be recorded, and so nothing answered; empty while it can. */
  get problem(): string {
    if (this.#failure) return 'the writer stopped';
    if (this.#silent) return SILENT;
    if (this.#standing !== '') return this.#standing;
    return performance.now() - this.#failedAt < DOUBTED_MS ? 'the last commit failed' : '';
  }

  /** Called when a commit failed, also one that was another thread's. */
  doubt(): void {
    this.#failedAt = performance.now();
  }

  get waiting(): number {
    return this.#entries;
  }

  /**
   * Appends a record and resolves with its index in the tenant's log, after the durable commit.
   * Rejects with `audit_unavailable`, or `resource_exhausted` when too many are waiting.
   */
  append(row: RecordRow): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#enqueue(undefined, row, (error, index) => (error ? reject(error) : resolve(index)));
    });
  }

  /**
   * Runs a command and appends its record in one transaction. A value of `undefined` means: nothing was done. `version`: of
   * the tenant's control state, which the command has made.
   */
  run<Name extends CommandName>(
    name: Name,
    args: Parameters<Commands[Name]>[0],
    record?: RecordRow,
  ): Promise<Ran<Name>> {
    return this.#order?.(name, args, record) ?? this.runHere(name, args, record);
  }

  /**
   * From now on this hears of each version of a tenant's control state that was made by a command of this thread's, once it
   * is durable, and before who asked for it does.
   */
  onChange(listener: (tenantNo: TenantNo, version: number) => void): void {
    this.#onChange = listener;
  }

  /** From now on commands go by this first. */
  orderBy(order: Order): void {
    this.#order = order;
  }

  /** The same whatever the order is: for those who keep it. */
  runHere<Name extends CommandName>(
    name: Name,
    args: Parameters<Commands[Name]>[0],
    record?: RecordRow,
  ): Promise<Ran<Name>> {
    return new Promise((resolve, reject) => {
      this.#enqueue({ name, args }, record, (error, index, value, version) => {
        if (error) return reject(error);
        if (version !== undefined) this.#onChange((args as { tenantNo: TenantNo }).tenantNo, version);
        resolve({ value: value as ReturnType<Commands[Name]>, index, version });
      });
    });
  }

  /**
   * Brings what was committed into the store's own file and cuts the write-ahead log off, so that nothing that was written
   * over is left in it. Answers whether it is empty: somebody who reads may keep it.
   */
  emptyWriteAhead(): Promise<boolean> {
    if (this.#failure) return Promise.resolve(false);
    return new Promise((resolve) => {
      this.#emptying.push(resolve);
      this.#thread.postMessage('empty');
    });
  }

  /** An empty parcel, to be filled and given to `appendAll`. */
  parcel(): Parcel {
    return this.#parcels.make();
  }

  /**
   * Appends a parcel's records in one commit, one after the other, with what those of a tenant have in common; resolves
   * with their indexes. All or none. Rejects as `append` does.
   */
  appendAll(parcel: Parcel, tenantNo?: TenantNo, parts: readonly SharedPart[] = []): Promise<Float64Array> {
    return new Promise((resolve, reject) => {
      const refusal = this.#refusal();
      if (refusal) return reject(refusal);
      this.#close();
      const shared = tenantNo === undefined || parts.length === 0 ? undefined : { tenantNo, parts };
      this.#waiting.push(wholeParcel(parcel, shared, resolve, reject));
      this.#count(parcel.count);
    });
  }

  #enqueue(
    command: { name: string; args: unknown } | undefined,
    row: RecordRow | undefined,
    settle: Settle,
  ): void {
    const refusal = this.#refusal();
    if (refusal) return settle(refusal, -1, undefined);
    this.#gathering.add(command, row, settle);
    this.#count(1);
  }

  #refusal(): ServiceError | undefined {
    if (this.#failure) return this.#failure;
    if (this.#silent) return asUntried(unavailable(SILENT));
    if (this.#entries < MAX_WAITING) return undefined;
    return asUntried(
      new ServiceError('resource_exhausted', 'too many requests wait for their record', {
        retryAfterMs: 100,
      }),
    );
  }

  #count(entries: number): void {
    this.#entries += entries;
    const busy = this.#inFlight.length;
    if (busy < MAX_IN_FLIGHT && this.#entries >= EARLY << busy) this.#flush();
    if (this.#inFlight.length > 0 || this.#scheduled) return;
    // What arrives in this turn of the event loop shares the commit.
    this.#scheduled = true;
    setImmediate(() => this.#flush());
  }

  #gather(): Gathering {
    return new Gathering(this.#parcels.make());
  }

  /** Makes what was gathered an item, so that what comes next comes after it. */
  #close(): void {
    if (this.#gathering.isEmpty) return;
    this.#waiting.push(this.#gathering.sent());
    this.#gathering = this.#gather();
  }

  #flush(): void {
    this.#scheduled = false;
    this.#close();
    if (this.#waiting.length === 0 || this.#failure) return;
    const sent = this.#waiting;
    this.#waiting = [];
    this.#entries = 0;
    this.#inFlight.push(sent);
    const batch: Batch = sent.map(({ item }) => item);
    this.#thread.postMessage(
      batch,
      batch.flatMap(({ parcel }) => [parcel.heads, parcel.bodies]),
    );
  }

  #onDone(done: BatchDone): void {
    const sent = this.#inFlight.shift() ?? [];
    for (const { parcel } of done) this.#parcels.giveBack(parcel);
    // The thread goes on with the next batch while this one's callers are told.
    if (this.#inFlight.length === 0) this.#flush();
    const { entries, failed } = settleAll(sent, done);
    // An entry that fails beside others that do not is no fault of the store.
    if (failed > 0 && failed === entries) this.doubt();
    if (commitChannel.hasSubscribers) commitChannel.publish({ entries });
    if (this.#idle) this.#drained?.();
  }

  get #idle(): boolean {
    return this.#inFlight.length === 0 && this.#entries === 0;
  }

  #look(): void {
    const isSilent = this.#pulse.silence(performance.now()) >= SILENT_MS;
    if (isSilent && !this.#silent) this.#tellAll(unavailable(SILENT));
    this.#silent = isSilent;
  }

  /** Whoever waits. What becomes of a batch that the thread has is for nobody to hear then. */
  #tellAll(error: ServiceError): void {
    this.#close();
    const told = [...this.#inFlight.flatMap((sent) => sent.splice(0)), ...this.#waiting.splice(0)];
    for (const each of told) each.fail(error);
    for (const each of this.#emptying.splice(0)) each(false);
    this.#entries = 0;
  }

  #fail(cause: unknown): void {
    if (this.#failure) return;
    this.#failure = unavailable('the writer thread ended', cause);
    clearInterval(this.#looking);
    this.#tellAll(this.#failure);
    this.#inFlight.length = 0;
    this.#drained?.();
    if (!this.#closing) this.#failed.resolve(this.#failure);
  }

  /** Commits what waits, then closes the store. A thread that hangs is not waited for. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true;
    const left = Promise.withResolvers<void>();
    const late = setTimeout(() => {
      this.#fail(new Error('the writer thread did not finish'));
      if (this.#thread instanceof Worker) void this.#thread.terminate();
      left.resolve();
    }, CLOSE_MS);
    if (!this.#idle)
      await new Promise<void>((resolve) => {
        this.#drained = resolve;
      });
    if (this.#thread instanceof Worker) this.#thread.postMessage('close');
    else this.#thread.close();
    await Promise.race([this.#exited, left.promise]);
    clearTimeout(late);
    clearInterval(this.#looking);
  }
}
