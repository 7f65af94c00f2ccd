import { describe } from '../errors.ts';
import type { TenantId } from '../ids.ts';
import type { Change, Position } from '../storage/changes/commands.ts';
import type { Copied } from '../storage/changes/copy.ts';
import type { ChangeStore } from '../storage/changes/store.ts';
import type { RecordRow, TenantNo } from '../storage/rows.ts';
import type { Writer } from '../storage/writer.ts';

/** What a replica is told. */
export type ReplicaNews =
  | { readonly change: Change }
  | { readonly copy: 'begun' }
  | { readonly part: Copied }
  | { readonly ended: Position };

/** Who is told what became of a tenant. */
export interface ReplicaHooks {
  /** What is kept in memory of who may do what is no more what the store has: called at once, before `refresh`. */
  stale(id: TenantId): void;
  /**
   * What decides is brought into line with the store. `changes`: the commands since; undefined: all may be other. Once it is
   * over nothing more is served of it.
   */
  refresh(
    id: TenantId,
    no: TenantNo,
    changes: ReadonlySet<string> | undefined,
    isOver: () => boolean,
  ): Promise<void>;
  /** All that decides knows the tenant's state up to this version. */
  reached(no: TenantNo, version: number): void;
  /** The same, where it was copied and may have gone back. */
  set(no: TenantNo, version: number): void;
  /** A change is durable here, whatever has been told of it: those who follow can have it. */
  durable?(no: TenantNo): void;
  /** Another server's count came into the store. */
  counted?(no: TenantNo): void;
  /** It is served no more. */
  retire(id: TenantId, no: TenantNo): Promise<void>;
}

export interface ReplicaOptions {
  readonly id: TenantId;
  readonly no: TenantNo;
  readonly writer: Pick<Writer, 'runHere'>;
  readonly hooks: ReplicaHooks;
  readonly store: ChangeStore;
}

const COUNTS: ReadonlySet<string> = new Set(['countUsage', 'leaseUsage', 'useApproval', 'grantApproved']);

/** How long until what decides is told once more, where it could not be. In milliseconds. */
const AGAIN_MS = 5_000;

/** What nobody keeps in memory: it is looked up in the store, or told of by `Pulse.ends`. */
const LOOKED_UP: ReadonlySet<string> = new Set([
  'insertGrant',
  'keepDraft',
  'validateRevision',
  'killCredential',
  'restoreCredential',
  'openTask',
  'revokeGrant',
  'capTask',
  'openApproval',
  'keepApprovalKey',
  'settleApproval',
  'expireApproval',
  'useApproval',
  'grantApproved',
  'takeOnce',
  'countUsage',
  'leaseUsage',
]);

/** One tenant as another server has it: its changes, made here in their order, and what decides told of each. */
export class Replica {
  readonly id: TenantId;
  readonly #options: ReplicaOptions;
  /** Of what is durable here. */
  #durable: number;
  /** The version that has to come next. */
  #next: number;
  /** What was changed since what decides was told; `all`: it may be anything. */
  #untold = new Set<string>();
  #all = true;
  /** While what decides is told. */
  #telling: Promise<void> = Promise.resolve();
  #isTelling = false;
  #open = 0;
  readonly #taken = new Set<Promise<void>>();
  #problem = '';
  #isBroken = false;
  #isCopying = false;
  /** A change could not be made now: what comes of the next try is not known yet. */
  #isHeld = false;
  /** How often it was copied. */
  #copies = 0;
  #isGone = false;

  constructor(options: ReplicaOptions) {
    this.#options = options;
    this.id = options.id;
    this.#durable = options.store.at(options.no).version;
    this.#next = this.#durable + 1;
  }

  /** How many changes are on their way into the store. */
  get open(): number {
    return this.#open;
  }

  /** What is wrong with it; empty for nothing. */
  get problem(): string {
    return this.#problem;
  }

  /** It cannot go on from what it has, and needs a copy. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** There is nothing yet that anybody had to be told of. */
  begin(): void {
    this.#all = false;
  }

  /** Serves what the store has. */
  async resume(): Promise<void> {
    this.#tell(undefined);
    await this.settled();
  }

  /** Resolves once it is on its way into the store, in its order. */
  async take(news: ReplicaNews): Promise<void> {
    const { no: tenantNo, writer, hooks } = this.#options;
    if ('copy' in news) {
      // What is being told may wait for whoever waits for this.
      await this.written();
      this.#isCopying = true;
      this.#isBroken = false;
      await hooks.retire(this.id, tenantNo);
      return this.#enter(writer.runHere('beginCopy', { tenantNo }), -1);
    }
    // What follows what failed would fail as well, and say less.
    if (this.#isBroken) return;
    if ('part' in news) return this.#enter(writer.runHere('putCopied', { tenantNo, ...news.part }), -1);
    if ('ended' in news) {
      await Promise.all(this.#taken);
      if (this.#isBroken) return;
      this.#isCopying = false;
      const { version } = news.ended;
      this.#next = version + 1;
      this.#enter(writer.runHere('endCopy', { tenantNo, ...news.ended }), version, undefined, true);
      return;
    }
    const { change } = news;
    if (change.version !== this.#next)
      return this.#fail(new Error(`change ${change.version} came where ${this.#next} was to come`));
    this.#next += 1;
    this.#enter(writer.runHere('applyChange', { tenantNo, ...change }), change.version, change.name);
  }

  /**
   * Makes a change that has its place, with the record of it where there is one to be made here. `isOurs`: who asked for it
   * tells what decides itself. Rejects where it cannot be made now.
   */
  async make(
    change: Change,
    record: RecordRow | undefined,
    isOurs: boolean,
  ): Promise<{ value: unknown; index: number; version: number }> {
    const { no: tenantNo, writer, hooks } = this.#options;
    const { version, name, body } = change;
    const ran = await writer.runHere('applyChange', { tenantNo, version, name, body }, record);
    this.#durable = version;
    this.#next = version + 1;
    hooks.durable?.(tenantNo);
    if (isOurs) {
      if (!this.#isTelling && !this.#all && this.#untold.size === 0) hooks.reached(tenantNo, version);
    } else {
      if (COUNTS.has(name)) hooks.counted?.(tenantNo);
      this.#tell(name);
    }
    return { value: ran.value, index: ran.index, version };
  }

  /** A change could not be made here, and may be a revocation: the tenant is served no more until it is. */
  async hold(error: unknown): Promise<void> {
    this.#problem = `a change cannot be made: ${describe(error)}`;
    if (this.#isHeld) return;
    this.#isHeld = true;
    await this.#options.hooks.retire(this.id, this.#options.no);
  }

  /** All of them are made. */
  release(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.#problem = '';
    this.#tell(undefined);
  }

  /** Once what it was told is durable. */
  async written(): Promise<void> {
    while (this.#taken.size > 0) await Promise.all(this.#taken);
  }

  /** Once what it was told is durable, and what decides knows of it. */
  async settled(): Promise<void> {
    while (this.#taken.size > 0 || this.#isTelling) {
      await Promise.all(this.#taken);
      await this.#telling;
    }
  }

  async retire(): Promise<void> {
    this.#isGone = true;
    await this.settled();
    await this.#options.hooks.retire(this.id, this.#options.no);
  }

  #enter(written: Promise<unknown>, version: number, name?: string, isCopied = false): void {
    this.#open += 1;
    const taken = written
      .then(
        () => {
          if (this.#isBroken) return;
          this.#durable = version;
          this.#problem = '';
          if (isCopied) {
            this.#copies += 1;
            this.#options.hooks.set(this.#options.no, -1);
            this.#tell(undefined);
          } else if (name !== undefined) this.#tell(name);
        },
        (error: unknown) => this.#fail(error),
      )
      .finally(() => {
        this.#open -= 1;
        this.#taken.delete(taken);
      });
    this.#taken.add(taken);
  }

  /** What it misses may be a revocation: it is served no more until there is a copy. */
  async #fail(error: unknown): Promise<void> {
    // What was on its way behind it fails as well, and says less.
    if (this.#isBroken) return;
    this.#isBroken = true;
    this.#problem = `what the authority says cannot be taken: ${describe(error)}`;
    const { hooks, no } = this.#options;
    // What is being told serves nothing more of it, and is not waited for: it may wait for whoever waits for this.
    await hooks.retire(this.id, no);
  }

  #tell(name: string | undefined): void {
    if (name === undefined) this.#all = true;
    else if (!LOOKED_UP.has(name)) {
      this.#untold.add(name);
      // However long the rest takes: whoever was disabled is so from now on.
      this.#options.hooks.stale(this.id);
    }
    const { hooks, no } = this.#options;
    if (this.#isTelling) return;
    if (!this.#all && this.#untold.size === 0) return hooks.reached(no, this.#durable);
    this.#isTelling = true;
    this.#telling = this.#told();
  }

  #again(): void {
    if (this.#all && !this.#isOver()) this.#tell(undefined);
  }

  /** Nothing is served of it now. */
  #isOver(): boolean {
    return this.#isCopying || this.#isBroken || this.#isGone || this.#isHeld;
  }

  async #told(): Promise<void> {
    try {
      await this.#tellAll();
    } finally {
      this.#isTelling = false;
    }
  }

  async #tellAll(): Promise<void> {
    const { hooks, no } = this.#options;
    for (;;) {
      if (this.#isOver()) return;
      const version = this.#durable;
      const copies = this.#copies;
      const changes = this.#all ? undefined : this.#untold;
      this.#all = false;
      this.#untold = new Set();
      try {
        if (changes === undefined || changes.size > 0)
          await hooks.refresh(this.id, no, changes, () => this.#isOver());
        if (this.#isOver()) return;
        // What was told was of a state that was given up meanwhile.
        if (copies !== this.#copies) continue;
        this.#problem = '';
      } catch (error) {
        // It goes on with what it had, and does not say that it is further.
        this.#problem = describe(error);
        this.#all = true;
        setTimeout(() => this.#again(), AGAIN_MS).unref();
        return;
      }
      hooks.reached(no, version);
      if (version === this.#durable && this.#untold.size === 0 && !this.#all) return;
    }
  }
}
