import { describe, ServiceError } from '../../errors.ts';
import type { TenantId } from '../../ids.ts';
import { decodeArgs } from '../../storage/changes/body.ts';
import { reachOf } from '../../storage/changes/reach.ts';
import type { ChangeStore } from '../../storage/changes/store.ts';
import type { RecordRow, TenantNo } from '../../storage/rows.ts';
import type { Ran } from '../../storage/writer.ts';
import { asUntried } from '../../storage/writing/errors.ts';
import type { Replica } from '../replica.ts';
import type { Asked, Journal, Ordered } from './journal.ts';

/** How many changes of a tenant are asked for in one statement, and how many are read in one. */
const MAX_BATCH = 256;
const MAX_READ = 500;

export interface Waiting extends Asked {
  /** What `record` says. */
  readonly row: RecordRow | undefined;
  readonly resolve: (ran: Ran<never>) => void;
  readonly reject: (error: unknown) => void;
}

export interface PartOptions {
  readonly id: TenantId;
  readonly no: TenantNo;
  /** What this server is called. */
  readonly node: string;
  readonly journal: Journal;
  readonly store: ChangeStore;
  readonly replica: Replica;
  /** It was begun with, and PostgreSQL has another history: whether this server may give up what it has. */
  readonly mayGiveUp: (error: ServiceError) => boolean;
  /** What is asked for may have its place although nobody was told: it is looked for. */
  readonly look: () => void;
}

const unordered = (cause: unknown): ServiceError =>
  new ServiceError('audit_unavailable', 'the change could not be ordered, so there is no answer', {
    cause,
    detail: describe(cause),
  });

const rowIn = (record: string, tenantNo: TenantNo): RecordRow => ({
  ...(decodeArgs(record) as RecordRow),
  tenantNo,
});

/** A change of one tenant could not be made here. */
export class Held extends Error {
  constructor(cause: unknown) {
    super(describe(cause), { cause });
  }
}

/** A tenant, as this server takes part in its order. */
export class Part {
  readonly id: TenantId;
  readonly no: TenantNo;
  readonly replica: Replica;
  readonly #options: PartOptions;
  /** Commands that wait for their place. */
  readonly #waiting: Waiting[] = [];
  /** Who waits for what has been given its place, by the ids. */
  readonly #own = new Map<string, Waiting>();
  #isOrdering = false;
  /** Up to which version its records were written here, before it was given up for another history or a copy. */
  #had = 0;
  /** What the change that was made last is called in the order; undefined where that has not been read. */
  #last: string | undefined;
  /** What is brought in, one after the other. */
  #turn: Promise<void> = Promise.resolve();

  constructor(options: PartOptions) {
    this.#options = options;
    this.id = options.id;
    this.no = options.no;
    this.replica = options.replica;
  }

  /** The version that is here; -1 while it is copied. */
  get version(): number {
    return this.#options.store.at(this.no).version;
  }

  /** What this server asks for itself it brings in without being told. */
  get isOrdering(): boolean {
    return this.#isOrdering;
  }

  /** What gathers while a batch is on its way goes with the next. */
  ask(waiting: Waiting): void {
    this.#waiting.push(waiting);
    if (!this.#isOrdering) void this.#orderAll();
  }

  /** Makes all changes up to a version, whoever asked for them. */
  bring(version: number): Promise<void> {
    return this.#inTurn(() => this.#brought(version));
  }

  /** The same, where it is known what the last of them is called: the same number may be of another history. */
  async meet(version: number, last: string): Promise<void> {
    if (this.version === version && this.#last === last) return;
    // Mostly what is here came since that was read.
    await this.#inTurn(async () => {
      if (this.version > version && this.version > (await this.#options.journal.version(this.id)))
        await this.#giveUp();
      if (this.version === version && this.#last !== last) await this.#verify();
      await this.#brought(version);
    });
  }

  /** What is wrong with this server's store is wrong for this tenant, and for no other. */
  async #inTurn(work: () => Promise<void>): Promise<void> {
    try {
      await this.#next(work);
      this.replica.release();
    } catch (error) {
      if (!(error instanceof Held)) throw error;
      await this.replica.hold(error.cause);
      throw error;
    }
  }

  async #orderAll(): Promise<void> {
    this.#isOrdering = true;
    try {
      while (this.#waiting.length > 0) {
        const batch = this.#waiting.splice(0, MAX_BATCH);
        for (const each of batch) this.#own.set(each.id, each);
        try {
          const { version, before } = await this.#options.journal.add(this.id, batch);
          await this.#inTurn(() => this.#brought(version, batch, before));
        } catch (cause) {
          // They may have their place all the same, and are made when that is seen.
          this.#refuseOwn(cause);
          this.#options.look();
        }
      }
    } finally {
      this.#isOrdering = false;
    }
  }

  /** After what was begun before. */
  #next(work: () => Promise<void>): Promise<void> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  /** `own`: the last of them are these, and `before` is what the one before them is called. */
  async #brought(version: number, own: readonly Asked[] = [], before?: string): Promise<void> {
    let at = this.version;
    if (at < 0) at = await this.#recopy();
    // What was asked for came to lie where something else is already.
    if (at > version - own.length && own.some(({ id }) => this.#own.has(id))) {
      await this.#giveUp();
      at = await this.#recopy();
    }
    while (at < version) {
      // Mostly nobody else came in between.
      const isNext = own.length > 0 && at === version - own.length && this.#last === before;
      const changes = isNext ? this.#placed(own, at) : await this.#following(at);
      if (this.version < 0) {
        at = await this.#recopy();
        continue;
      }
      const [first] = changes;
      if (!first) return;
      if (first.version !== at + 1) {
        at = await this.#recopy();
        continue;
      }
      at = await this.#make(changes);
    }
  }

  #placed(own: readonly Asked[], at: number): Ordered[] {
    const { node } = this.#options;
    return own.map(({ id, name, body, record }, nth) => ({
      version: at + nth + 1,
      name,
      body,
      node,
      id,
      record,
    }));
  }

  /** Answers the version of the last. */
  async #make(changes: readonly Ordered[]): Promise<number> {
    const made: Promise<void>[] = [];
    let unknown: string | undefined;
    for (const { id, record, ...change } of changes) {
      if (reachOf(change.name) === 'node') {
        unknown = change.name;
        break;
      }
      const waiting = this.#own.get(id);
      this.#own.delete(id);
      const isOurs = change.node === this.#options.node;
      const isRecorded = isOurs && record !== null && change.version > this.#had;
      const row = waiting?.row ?? (isRecorded ? rowIn(record, this.no) : undefined);
      made.push(
        this.replica.make(change, row, waiting !== undefined).then(
          (ran) => waiting?.resolve(ran as Ran<never>),
          (error: unknown) => {
            waiting?.reject(error);
            throw error;
          },
        ),
      );
    }
    this.#last = undefined;
    const settled = await Promise.allSettled(made);
    const failed = settled.find((each) => each.status === 'rejected');
    // What could not be made, for want of room or for a disk that fails, is tried again: nothing comes before it.
    if (failed) throw new Held(failed.reason);
    if (unknown !== undefined)
      throw new Held(
        new Error(`${unknown} is a change that this version does not know: upgrade Mandate here`),
      );
    this.#last = changes.at(-1)?.id;
    return changes.at(-1)?.version ?? this.version;
  }

  /** The changes after a version that is here. Another history than this one is told by the change that led here. */
  async #following(at: number): Promise<Ordered[]> {
    const { journal, store } = this.#options;
    const [before, ...changes] = await journal.from(this.id, at, MAX_READ + 1);
    if (before?.version !== at) return before ? [before, ...changes] : [];
    if (store.isOurs(this.no, before)) {
      this.#last = before.id;
      return changes;
    }
    await this.#giveUp();
    return [];
  }

  /** Whether the newest that is here is what is there under its number. Afterwards it is, or nothing is here. */
  async #verify(): Promise<void> {
    const { journal, store } = this.#options;
    const at = this.version;
    const [there] = await journal.from(this.id, at, 1);
    if (there?.version !== at) return;
    if (store.isOurs(this.no, there)) this.#last = there.id;
    else await this.#giveUp();
  }

  #refuseOwn(cause: unknown): void {
    for (const each of this.#own.values()) each.reject(unordered(cause));
    this.#own.clear();
  }

  /**
   * Whoever waits for a change may keep what is told of another one from its end (`Turns`), and what is told has to come to
   * its end before a copy is taken.
   */
  #refuseAll(): void {
    const cause = new Error('the state is taken from a copy');
    this.#refuseOwn(cause);
    for (const each of this.#waiting.splice(0)) each.reject(asUntried(unordered(cause)));
  }

  /** What is here is of another history: it goes, and what it recorded is not recorded again. */
  async #giveUp(): Promise<void> {
    const error = new ServiceError(
      'unavailable',
      `PostgreSQL has another history of ${this.id} than this server`,
      { detail: 'it was restored: the next start takes what is there for what is so' },
    );
    if (!this.#options.mayGiveUp(error)) throw error;
    this.#leave();
    await this.replica.take({ copy: 'begun' });
    await this.replica.written();
  }

  #leave(): void {
    this.#refuseAll();
    this.#had = Math.max(this.#had, this.version);
    this.#last = undefined;
  }

  /** Begins with a copy, where the changes that follow what is here are kept no more. Answers the version that it is of. */
  async #recopy(): Promise<number> {
    this.#leave();
    const copy = (await this.#options.journal.copy(this.id)) ?? {
      position: { version: 0, chain: new Uint8Array() },
      parts: [],
    };
    await this.replica.take({ copy: 'begun' });
    for (const part of copy.parts) await this.replica.take({ part });
    await this.replica.take({ ended: copy.position });
    await this.replica.written();
    if (this.replica.isBroken) throw new Held(new Error(this.replica.problem));
    return copy.position.version;
  }
}
