import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { Clock } from '../../effects.ts';
import { describe, ServiceError } from '../../errors.ts';
import { type TenantId, tenantId } from '../../ids.ts';
import { encodeArgs } from '../../storage/changes/body.ts';
import { orderedBody } from '../../storage/changes/commands.ts';
import { copyOf } from '../../storage/changes/copy.ts';
import { reachOf } from '../../storage/changes/reach.ts';
import { type ChangeStore, changeStore } from '../../storage/changes/store.ts';
import { openReader } from '../../storage/reader.ts';
import type { RecordRow, TenantNo } from '../../storage/rows.ts';
import type { Order, Ran, Writer } from '../../storage/writer.ts';
import type { Heard } from '../../tenancy/freshness.ts';
import { Replica, type ReplicaHooks } from '../replica.ts';
import { Journal } from './journal.ts';
import { Held, Part } from './part.ts';

export interface OrderingOptions {
  readonly url: string;
  readonly node: string;
  readonly writer: Writer;
  readonly store: ChangeStore;
  readonly hooks: ReplicaHooks;
  readonly heard: Heard;
  readonly monotonic: Clock;
  readonly failed: (error: unknown) => void;
  /** Of the store. */
  readonly folder: string;
  /** After how many changes of a tenant there is a copy of its state once more. */
  readonly copyEvery?: number | undefined;
}

/** How many tenants are begun with at once. */
const AT_ONCE = 16;

/** So many at once, each worker taking the next. */
function inTurns<T>(all: readonly T[], atOnce: number, work: (each: T) => Promise<unknown>): Promise<void>[] {
  const next = all.values();
  return Array.from({ length: atOnce }, async () => {
    for (const each of next) await work(each);
  });
}

/** How often it is looked for what no notice told of. In milliseconds. */
const LOOK_MS = 1_000;
const LOOK_GAP_MS = 50;
const COPY_EVERY = 20_000;
/** How many may wait for their place. */
const MAX_WAITING = 10_000;

/**
 * Several authorities with one state: PostgreSQL gives each command its place, and every authority makes all of them in that
 * order in its own store, so that a command does the same everywhere. What a command answers is known where it was made; its
 * record is written by who asked for it, also if that one was killed in between, once it is there again.
 */
export class Ordering implements AsyncDisposable {
  readonly #options: OrderingOptions;
  readonly #journal: Journal;
  readonly #parts = new Map<TenantId, Promise<Part>>();
  readonly #names = new Map<TenantNo, TenantId>();
  readonly #stopping = new AbortController();
  #waiting = 0;
  #looking: Promise<void> = Promise.resolve();
  #lookers: (() => void)[] = [];
  #wake: () => void = () => undefined;
  readonly #failed: PromiseWithResolvers<ServiceError>;
  /** Whether anybody may be under way. */
  #isOpen = false;
  #problem = '';
  /** Tenants of which a change cannot be made here, and why. */
  readonly #heldBy = new Map<TenantId, string>();
  #copying: Promise<void> | undefined;
  readonly #copyEvery: number;

  private constructor(
    options: OrderingOptions,
    journal: Journal,
    failed: PromiseWithResolvers<ServiceError>,
  ) {
    this.#options = options;
    this.#failed = failed;
    this.#copyEvery = options.copyEvery ?? COPY_EVERY;
    this.#journal = journal;
  }

  /** Serves what the order has come to, and takes part in it from then on. Throws `config_invalid`. */
  static async open(options: OrderingOptions): Promise<Ordering> {
    let ordering: Ordering | undefined;
    const failed = Promise.withResolvers<ServiceError>();
    const journal = await Journal.open({
      ...options,
      onNotice: (tenant, version) => void ordering?.noticed(tenant, version),
      onTaken: (error) => failed.resolve(error),
    }).catch((cause: unknown) => {
      if (cause instanceof ServiceError) throw cause;
      throw new ServiceError('config_invalid', `store: PostgreSQL: ${describe(cause)}`, { cause });
    });
    ordering = new Ordering(options, journal, failed);
    options.writer.orderBy(ordering.order);
    try {
      await ordering.#look();
      for (const part of ordering.#parts.values()) await (await part).replica.settled();
    } catch (error) {
      await ordering[Symbol.asyncDispose]();
      throw new ServiceError('config_invalid', `store: ${describe(error)}`, { cause: error });
    }
    ordering.#isOpen = true;
    ordering.#looking = ordering.#lookOn();
    return ordering;
  }

  /**
   * Resolves when PostgreSQL has another history than this server, which is given up by the next start, and when another
   * process has this one's name.
   */
  get failed(): Promise<ServiceError> {
    return this.#failed.promise;
  }

  /** Why the order cannot be had; empty while it can. */
  get problem(): string {
    return this.#problem;
  }

  /** What of it cannot be made here. */
  ofTenants(): string[] {
    return Array.from(this.#heldBy, ([id, why]) => `tenant ${id}: a change cannot be made here: ${why}`);
  }

  /** Resolves once all that had its place when this was asked for is known here. Rejects where that cannot be had. */
  async current(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#lookers.push(resolve);
    this.#wake();
    await promise;
    if (this.#problem !== '') throw new ServiceError('unavailable', this.#problem);
  }

  readonly order: Order = (name, args, record) => {
    if (reachOf(name) === 'node') return undefined;
    return this.#ordered(name, args, record);
  };

  async #ordered(name: string, args: object, record: RecordRow | undefined): Promise<Ran<never>> {
    if (this.#waiting >= MAX_WAITING)
      throw new ServiceError('resource_exhausted', 'too many changes wait for their place', {
        retryAfterMs: 200,
      });
    const part = await this.#part(this.#tenantOf(args));
    this.#waiting += 1;
    return new Promise<Ran<never>>((resolve, reject) => {
      part.ask({
        id: randomUUID(),
        name,
        body: orderedBody(args),
        record: record ? encodeArgs(record) : null,
        row: record,
        resolve,
        reject,
      });
    }).finally(() => {
      this.#waiting -= 1;
    });
  }

  #tenantOf(args: { tenantNo?: TenantNo; tenant?: string }): TenantId {
    if (args.tenantNo === undefined) return tenantId(args.tenant ?? '');
    const known = this.#names.get(args.tenantNo);
    if (known) return known;
    for (const { no, id } of this.#options.store.tenants()) this.#names.set(no, tenantId(id));
    const found = this.#names.get(args.tenantNo);
    if (!found) throw new ServiceError('tenant_unknown', 'no such tenant');
    return found;
  }

  #part(id: TenantId): Promise<Part> {
    const known = this.#parts.get(id);
    if (known) return known;
    const made = this.#made(id);
    this.#parts.set(id, made);
    made.catch(() => this.#parts.delete(id));
    return made;
  }

  async #made(id: TenantId): Promise<Part> {
    const { writer, hooks, store, node } = this.#options;
    const { value } = await writer.runHere('putTenant', { id });
    const replica = new Replica({ id, no: value.no, writer, hooks, store });
    this.#names.set(value.no, id);
    const part = new Part({
      id,
      no: value.no,
      node,
      journal: this.#journal,
      store,
      replica,
      mayGiveUp: (error) => {
        if (this.#isOpen) this.#failed.resolve(error);
        return !this.#isOpen;
      },
      look: () => this.#wake(),
    });
    if (store.manifest(value.no) === undefined) replica.begin();
    else await replica.resume();
    return part;
  }

  async noticed(id: TenantId, version: number): Promise<void> {
    try {
      const part = await this.#part(id);
      if (!part.isOrdering && part.version < version) await part.bring(version);
    } catch (error) {
      // What cannot be made here is told by who looks.
      if (!(error instanceof Held)) this.#options.failed(error);
    }
  }

  async #lookOn(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      if (this.#lookers.length === 0)
        await Promise.race([
          promise,
          pause(LOOK_MS, undefined, { signal, ref: false }).catch(() => undefined),
        ]);
      if (signal.aborted) break;
      const lookers = this.#lookers.splice(0);
      try {
        await this.#look();
        this.#problem = '';
      } catch (error) {
        const problem = `store: PostgreSQL: ${describe(error)}`;
        if (this.#problem === '')
          this.#options.failed(new ServiceError('unavailable', problem, { cause: error }));
        this.#problem = problem;
        // Who has to be told is told no sooner than it may be otherwise.
        await pause(LOOK_MS / 4, undefined, { signal, ref: false }).catch(() => undefined);
      }
      for (const tell of lookers) tell();
      // However many ask whether all is here, it is looked for so often and no more.
      if (this.#lookers.length > 0)
        await pause(LOOK_GAP_MS, undefined, { signal, ref: false }).catch(() => undefined);
    }
    for (const tell of this.#lookers.splice(0)) tell();
  }

  /** Told once, and seen for as long as it lasts. */
  #held({ id }: Part, error: Held): void {
    if (!this.#heldBy.has(id)) this.#options.failed(error.cause);
    this.#heldBy.set(id, error.message);
  }

  /** All that has its place when this begins. */
  async #look(): Promise<void> {
    const { monotonic, heard } = this.#options;
    const began = monotonic();
    const versions = await this.#journal.versions();
    await Promise.all(inTurns([...versions], AT_ONCE, ([id]) => this.#part(id)));
    for (const [id, { version, last, copied }] of versions) {
      const part = await this.#part(id);
      try {
        await part.meet(version, last);
      } catch (error) {
        if (!(error instanceof Held)) throw error;
        this.#held(part, error);
        continue;
      }
      this.#heldBy.delete(id);
      if (version - copied >= this.#copyEvery) this.#copy(part);
    }
    heard.heard(began);
  }

  /** Beside everything else, one at a time. */
  #copy({ id, no }: Part): void {
    this.#copying ??= this.#copied(id, no)
      .catch((error: unknown) => this.#options.failed(error))
      .finally(() => {
        this.#copying = undefined;
      });
  }

  async #copied(id: TenantId, no: TenantNo): Promise<void> {
    const db = openReader(this.#options.folder);
    try {
      db.exec('BEGIN');
      const position = changeStore(db).at(no);
      await this.#journal.keepCopy(id, position, copyOf(db, no, true), Math.ceil(this.#copyEvery / 4));
    } finally {
      db.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    this.#wake();
    await this.#looking;
    await this.#copying;
    await this.#journal[Symbol.asyncDispose]();
  }
}
