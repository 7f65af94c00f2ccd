import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { Clock } from '../../effects.ts';
import { describe, ServiceError } from '../../errors.ts';
import { type TenantId, tenantId } from '../../ids.ts';
import { decodeArgs, encodeArgs } from '../../storage/changes/body.ts';
import { orderedBody } from '../../storage/changes/commands.ts';
import { copyOf } from '../../storage/changes/copy.ts';
import { reachOf } from '../../storage/changes/reach.ts';
import { type ChangeStore, changeStore } from '../../storage/changes/store.ts';
import { openReader } from '../../storage/reader.ts';
import type { RecordRow, TenantNo } from '../../storage/rows.ts';
import type { Order, Ran, Writer } from '../../storage/writer.ts';
import { asUntried } from '../../storage/writing/errors.ts';
import type { Heard } from '../../tenancy/freshness.ts';
import { Replica, type ReplicaHooks } from '../replica.ts';
import { type Asked, Journal, type Ordered } from './journal.ts';

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

/** After what was begun before. */
function inTurn(part: Part, work: () => Promise<void>): Promise<void> {
  const turn = part.turn.then(work);
  part.turn = turn.catch(() => undefined);
  return turn;
}

const unordered = (cause: unknown): ServiceError =>
  new ServiceError('audit_unavailable', 'the change could not be ordered, so there is no answer', {
    cause,
    detail: describe(cause),
  });

function refuseOwn(part: Part, cause: unknown): void {
  for (const each of part.own.values()) each.reject(unordered(cause));
  part.own.clear();
}

const rowIn = (record: string, tenantNo: TenantNo): RecordRow => ({
  ...(decodeArgs(record) as RecordRow),
  tenantNo,
});

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
/** How many changes of a tenant are asked for in one statement, and how many are read in one. */
const MAX_BATCH = 256;
const MAX_READ = 500;
const COPY_EVERY = 20_000;
/** How many may wait for their place. */
const MAX_WAITING = 10_000;

interface Waiting extends Asked {
  /** What `record` says. */
  readonly row: RecordRow | undefined;
  readonly resolve: (ran: Ran<never>) => void;
  readonly reject: (error: unknown) => void;
}

/** A tenant, as this server takes part in its order. */
interface Part {
  readonly id: TenantId;
  readonly no: TenantNo;
  readonly replica: Replica;
  /** Commands that wait for their place. */
  waiting: Waiting[];
  /** Who waits for what has been given its place, by the ids. */
  readonly own: Map<string, Waiting>;
  isOrdering: boolean;
  /** Up to which version its records were written here, before it was given up for another history or a copy. */
  had: number;
  /** What is brought in, one after the other. */
  turn: Promise<void>;
}

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
  readonly #failed = Promise.withResolvers<ServiceError>();
  /** Whether anybody may be under way. */
  #isOpen = false;
  #problem = '';
  #copying: Promise<void> | undefined;
  readonly #copyEvery: number;

  private constructor(options: OrderingOptions, journal: Journal) {
    this.#options = options;
    this.#copyEvery = options.copyEvery ?? COPY_EVERY;
    this.#journal = journal;
  }

  /** Serves what the order has come to, and takes part in it from then on. Throws `config_invalid`. */
  static async open(options: OrderingOptions): Promise<Ordering> {
    let ordering: Ordering | undefined;
    const journal = await Journal.open({
      ...options,
      onNotice: (tenant, version) => void ordering?.noticed(tenant, version),
    }).catch((cause: unknown) => {
      if (cause instanceof ServiceError) throw cause;
      throw new ServiceError('config_invalid', `store: PostgreSQL: ${describe(cause)}`, { cause });
    });
    ordering = new Ordering(options, journal);
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

  /** Resolves when PostgreSQL has another history than this server: what is here is given up by the next start. */
  get failed(): Promise<ServiceError> {
    return this.#failed.promise;
  }

  /** Why the order cannot be had; empty while it can. */
  get problem(): string {
    return this.#problem;
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
      part.waiting.push({
        id: randomUUID(),
        name,
        body: orderedBody(args),
        record: record ? encodeArgs(record) : null,
        row: record,
        resolve,
        reject,
      });
      if (!part.isOrdering) void this.#orderAll(part);
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
    const { writer, hooks, store } = this.#options;
    const { value } = await writer.runHere('putTenant', { id });
    const replica = new Replica({ id, no: value.no, writer, hooks, store });
    this.#names.set(value.no, id);
    const part: Part = {
      id,
      no: value.no,
      replica,
      waiting: [],
      own: new Map(),
      isOrdering: false,
      had: 0,
      turn: Promise.resolve(),
    };
    if (store.manifest(value.no) === undefined) replica.begin();
    else await replica.resume();
    return part;
  }

  /** What gathers while a batch is on its way goes with the next. */
  async #orderAll(part: Part): Promise<void> {
    part.isOrdering = true;
    try {
      while (part.waiting.length > 0) {
        const batch = part.waiting.splice(0, MAX_BATCH);
        for (const each of batch) part.own.set(each.id, each);
        try {
          const version = await this.#journal.add(part.id, batch);
          await this.#bring(part, version, batch);
        } catch (cause) {
          // They may have their place all the same, and are made when that is seen.
          refuseOwn(part, cause);
          this.#wake();
        }
      }
    } finally {
      part.isOrdering = false;
    }
  }

  /** Makes all changes up to a version, whoever asked for them. */
  #bring(part: Part, version: number, own: readonly Asked[] = []): Promise<void> {
    return inTurn(part, () => this.#brought(part, version, own));
  }

  /** What is here had its place there, unless PostgreSQL was restored: what is here is read first. */
  async #compare(part: Part): Promise<void> {
    const at = this.#options.store.at(part.no).version;
    if (at > (await this.#journal.version(part.id))) await this.#giveUp(part);
  }

  async #brought(part: Part, version: number, own: readonly Asked[]): Promise<void> {
    const { store, node } = this.#options;
    let at = store.at(part.no).version;
    if (at < 0) at = await this.#recopy(part);
    while (at < version) {
      // Mostly nobody else came in between.
      const isNext = own.length > 0 && at === version - own.length;
      const changes: Ordered[] = isNext
        ? own.map(
            ({ id, name, body, record }, nth): Ordered => ({
              version: at + nth + 1,
              name,
              body,
              node,
              id,
              record,
            }),
          )
        : await this.#following(part, at);
      if (store.at(part.no).version < 0) {
        at = await this.#recopy(part);
        continue;
      }
      const [first] = changes;
      if (!first) return;
      if (first.version !== at + 1) {
        at = await this.#recopy(part);
        continue;
      }
      const made: Promise<void>[] = [];
      for (const { id, record, ...change } of changes) {
        const waiting = part.own.get(id);
        part.own.delete(id);
        const isOurs = change.node === node;
        const isRecorded = isOurs && record !== null && change.version > part.had;
        const row = waiting?.row ?? (isRecorded ? rowIn(record, part.no) : undefined);
        made.push(
          part.replica.make(change, row, waiting !== undefined).then(
            (ran) => waiting?.resolve(ran as Ran<never>),
            (error: unknown) => {
              waiting?.reject(error);
              throw error;
            },
          ),
        );
      }
      const settled = await Promise.allSettled(made);
      const failed = settled.find((each) => each.status === 'rejected');
      // What could not be made, for want of room or for a disk that fails, is tried again: nothing comes before it.
      if (failed) throw failed.reason;
      at = changes.at(-1)?.version ?? at;
    }
  }

  async noticed(id: TenantId, version: number): Promise<void> {
    try {
      const part = await this.#part(id);
      // What this server asks for itself it brings in without being told.
      if (!part.isOrdering && this.#options.store.at(part.no).version < version)
        await this.#bring(part, version);
    } catch (error) {
      this.#options.failed(error);
    }
  }

  /** The changes after a version that is here. Another history than this one is told by the change that led here. */
  async #following(part: Part, at: number): Promise<Ordered[]> {
    const [before, ...changes] = await this.#journal.from(part.id, at, MAX_READ + 1);
    if (before?.version !== at) return before ? [before, ...changes] : [];
    if (this.#options.store.isOurs(part.no, before)) return changes;
    await this.#giveUp(part);
    return [];
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

  /** All that has its place when this begins. */
  async #look(): Promise<void> {
    const { monotonic, heard, store } = this.#options;
    const began = monotonic();
    const versions = await this.#journal.versions();
    await Promise.all(inTurns([...versions], AT_ONCE, ([id]) => this.#part(id)));
    for (const [id, { version, copied }] of versions) {
      const part = await this.#part(id);
      const at = store.at(part.no).version;
      // Mostly since that was read.
      if (at > version) await inTurn(part, () => this.#compare(part));
      if (at !== version) await this.#bring(part, version);
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

  /**
   * Whoever waits for a change may keep what is told of another one from its end (`Turns`), and what is told has to come to
   * its end before a copy is taken.
   */
  #refuseAll(part: Part): void {
    const cause = new Error('the state is taken from a copy');
    refuseOwn(part, cause);
    for (const each of part.waiting.splice(0)) each.reject(asUntried(unordered(cause)));
  }

  /** What is here is of another history: it goes, and what it recorded is not recorded again. */
  async #giveUp(part: Part): Promise<void> {
    if (this.#isOpen) {
      const error = new ServiceError(
        'unavailable',
        `PostgreSQL has another history of ${part.id} than this server`,
        {
          detail: 'it was restored: the next start takes what is there for what is so',
        },
      );
      this.#failed.resolve(error);
      throw error;
    }
    this.#refuseAll(part);
    part.had = Math.max(part.had, this.#options.store.at(part.no).version);
    await part.replica.take({ copy: 'begun' });
    await part.replica.written();
  }

  /** Begins with a copy, where the changes that follow what is here are kept no more. Answers the version that it is of. */
  async #recopy(part: Part): Promise<number> {
    const { id, no, replica } = part;
    this.#refuseAll(part);
    part.had = Math.max(part.had, this.#options.store.at(no).version);
    const copy = (await this.#journal.copy(id)) ?? {
      position: { version: 0, chain: new Uint8Array() },
      parts: [],
    };
    await replica.take({ copy: 'begun' });
    for (const part of copy.parts) await replica.take({ part });
    await replica.take({ ended: copy.position });
    await replica.written();
    if (replica.isBroken) throw new Error(replica.problem);
    return copy.position.version;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    this.#wake();
    await this.#looking;
    await this.#copying;
    await this.#journal[Symbol.asyncDispose]();
  }
}
