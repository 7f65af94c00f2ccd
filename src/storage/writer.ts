import { channel } from 'node:diagnostics_channel';
import { Worker } from 'node:worker_threads';
import { ServiceError } from '../errors.ts';
import { Bodies } from './bodies.ts';
import type { CommandName, Commands } from './commands.ts';
import type { StoreOptions } from './database.ts';
import type { RecordRow } from './rows.ts';
import { type Batch, type BatchDone, NO_RECORD } from './writer-protocol.ts';

/** Published after each commit: how many entries it held. */
export const commitChannel = channel('mandate:commit');

type Settle = (error: ServiceError | undefined, index: number, value: unknown) => void;

/** How many entries may wait for a commit; beyond it callers are told to come back. */
const MAX_WAITING = 50_000;

/**
 * The way into the store. While one batch is being committed the next one gathers, so that the cost of a durable
 * commit is shared by all that arrived meanwhile (group commit). A promise resolves only after the commit.
 */
export class Writer implements AsyncDisposable {
  readonly #worker: Worker;
  #gathering: unknown[] = [];
  readonly #bodies = new Bodies();
  #settles: Settle[] = [];
  #inFlight: Settle[] = [];
  #busy = false;
  #scheduled = false;
  #failure: ServiceError | undefined;
  #drained: (() => void) | undefined;
  readonly #exited: Promise<void>;

  private constructor(worker: Worker) {
    this.#worker = worker;
    worker.on('message', (done: BatchDone) => this.#onDone(done));
    worker.on('error', (cause) => this.#fail(cause));
    this.#exited = new Promise((resolve) => {
      worker.on('exit', () => {
        this.#fail(new Error('the writer thread ended'));
        resolve();
      });
    });
  }

  /** Resolves when the store is open and its schema current. Throws `storage_unsupported` and `config_invalid`. */
  static async open(options: StoreOptions): Promise<Writer> {
    const file = import.meta.url.endsWith('.ts') ? './writer-thread.ts' : './writer-thread.js';
    const worker = new Worker(new URL(file, import.meta.url), {
      workerData: options,
      name: 'mandate-writer',
    });
    await new Promise<void>((resolve, reject) => {
      worker.once('message', () => resolve());
      worker.once('error', (cause: Error & { code?: string }) => {
        const code = cause.code === 'storage_unsupported' ? 'storage_unsupported' : 'config_invalid';
        reject(
          new ServiceError(code, `cannot open the store in ${options.folder}: ${cause.message}`, { cause }),
        );
      });
    });
    worker.removeAllListeners('error');
    return new Writer(worker);
  }

  /** False once the thread is gone: nothing can be recorded any more, and nothing may be answered. */
  get healthy(): boolean {
    return this.#failure === undefined;
  }

  get waiting(): number {
    return this.#settles.length;
  }

  /**
   * Appends a record and resolves with its index in the tenant's log, after the durable commit.
   * Rejects with `audit_unavailable`, or `resource_exhausted` when too many are waiting.
   */
  append(row: RecordRow): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#enqueue(null, row, (error, index) => (error ? reject(error) : resolve(index)));
    });
  }

  /** Appends records in one commit, one after the other; resolves with their indexes. */
  appendAll(rows: readonly RecordRow[]): Promise<number[]> {
    return Promise.all(rows.map((row) => this.append(row)));
  }

  /** Runs a command and appends its record in one transaction. A value of `undefined` means: nothing was done. */
  run<Name extends CommandName>(
    name: Name,
    args: Parameters<Commands[Name]>[0],
    record?: RecordRow,
  ): Promise<{ value: ReturnType<Commands[Name]>; index: number }> {
    return new Promise((resolve, reject) => {
      this.#enqueue({ name, args }, record, (error, index, value) =>
        error ? reject(error) : resolve({ value: value as ReturnType<Commands[Name]>, index }),
      );
    });
  }

  #enqueue(
    command: { name: string; args: unknown } | null,
    row: RecordRow | undefined,
    settle: Settle,
  ): void {
    if (this.#failure) return settle(this.#failure, -1, undefined);
    if (this.#settles.length >= MAX_WAITING)
      return settle(
        new ServiceError('resource_exhausted', 'too many requests wait for their record', {
          retryAfterMs: 100,
        }),
        -1,
        undefined,
      );
    if (row)
      this.#gathering.push(
        command,
        row.tenantNo,
        row.time,
        row.kind,
        row.outcome,
        row.subject,
        row.actor,
        this.#bodies.length,
        this.#bodies.add(row.body),
      );
    else this.#gathering.push(command, NO_RECORD, 0, '', '', '', '', 0, 0);
    this.#settles.push(settle);
    if (this.#busy || this.#scheduled) return;
    // What arrives in this turn of the event loop shares the commit.
    this.#scheduled = true;
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    this.#scheduled = false;
    if (this.#settles.length === 0 || this.#failure) return;
    this.#busy = true;
    this.#inFlight = this.#settles;
    const bodies = this.#bodies.take();
    this.#worker.postMessage({ entries: this.#gathering, bodies } satisfies Batch, [bodies]);
    this.#settles = [];
    this.#gathering = [];
  }

  #onDone(done: BatchDone): void {
    const settles = this.#inFlight;
    this.#inFlight = [];
    this.#busy = false;
    this.#bodies.giveBack(done.bodies);
    this.#flush();
    for (let at = 0; at < settles.length; at += 1) {
      const failed = done.errors?.get(at);
      settles[at]?.(
        failed === undefined ? undefined : unavailable(failed),
        done.indexes[at] ?? -1,
        done.values?.[at],
      );
    }
    if (commitChannel.hasSubscribers) commitChannel.publish({ entries: settles.length });
    if (!this.#busy) this.#drained?.();
  }

  #fail(cause: unknown): void {
    if (this.#failure) return;
    this.#failure = unavailable('the writer thread ended', cause);
    for (const settle of [...this.#inFlight, ...this.#settles]) settle(this.#failure, -1, undefined);
    this.#inFlight = [];
    this.#settles = [];
    this.#gathering = [];
    this.#drained?.();
  }

  /** Commits what waits, then closes the store. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#settles.length > 0 || this.#busy)
      await new Promise<void>((resolve) => {
        this.#drained = resolve;
      });
    this.#worker.postMessage('close');
    await this.#exited;
  }
}

const unavailable = (detail: string, cause?: unknown): ServiceError =>
  new ServiceError('audit_unavailable', 'the answer could not be recorded, so there is none', {
    detail,
    ...(cause === undefined ? {} : { cause }),
  });
