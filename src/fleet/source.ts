import type { Clock } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import type { TenantId } from '../ids.ts';
import type { Change, Position } from '../storage/changes/commands.ts';
import { type Copied, copyOf } from '../storage/changes/copy.ts';
import { type ChangeStore, changeStore } from '../storage/changes/store.ts';
import { openReader } from '../storage/reader.ts';
import type { TenantNo } from '../storage/rows.ts';
import type { Tenant, Tenants } from '../tenancy/tenants.ts';

/** What a follower is told, in this order for each tenant. */
export type News =
  | { readonly tenant: TenantId; readonly change: Change }
  | { readonly tenant: TenantId; readonly copy: 'begun' }
  | { readonly tenant: TenantId; readonly part: Copied }
  | { readonly tenant: TenantId; readonly ended: Position }
  | { readonly tenant: TenantId; readonly retired: true }
  /** All that was durable when this ping came has been told. */
  | { readonly heartbeat: number };

export interface ChangeSourceOptions {
  readonly store: ChangeStore;
  /** Of the store: copies are read beside all others. */
  readonly folder: string;
  readonly tenants: Tenants;
  readonly monotonic: Clock;
  /** Resolves once the store has all that there was when this was asked for. Left out: it always has. */
  readonly current?: (() => Promise<void>) | undefined;
}

export interface Following {
  /** Where the follower is with what it has. */
  readonly positions: ReadonlyMap<string, Position>;
  /** Whether it may follow the tenant. */
  readonly mayFollow: (tenant: Tenant) => Promise<boolean>;
  /** The newest ping; 0 before the first. */
  readonly ping: () => number;
  /** Aborted when the follower is gone, or the server stops. */
  readonly signal: AbortSignal;
}

/** How many may follow at once. */
const MAX_FOLLOWERS = 2_000;
/** How many of them are sent copies at once: each holds the write-ahead log for as long. */
const MAX_COPIES = 8;
/** How long a copy may take: a follower that reads slowly keeps the log from being emptied. */
const COPY_MS = 120_000;
/** How many bytes of changes are read at once. */
const READ_BYTES = 256 * 1024;

/** A follower, as its stream knows it. */
interface Stream {
  /** Of what it was sent. */
  readonly at: Map<TenantNo, { readonly id: TenantId; version: number }>;
  /** What may have changed since it was looked at. */
  readonly dirty: Set<TenantId>;
  wake: () => void;
}

/** Tells followers what changes: every change of each tenant, in its order, none twice. */
export class ChangeSource {
  readonly #options: ChangeSourceOptions;
  readonly #streams = new Set<Stream>();
  #copies = 0;

  constructor(options: ChangeSourceOptions) {
    this.#options = options;
  }

  /** Called once a change of the tenant is durable. */
  made(tenantNo: TenantNo): void {
    for (const stream of this.#streams) {
      const known = stream.at.get(tenantNo);
      if (known) this.#mark(stream, known.id);
    }
  }

  /** Where the tenant's state is in the store. */
  position(no: TenantNo): Position {
    return this.#options.store.at(no);
  }

  get followers(): number {
    return this.#streams.size;
  }

  /** Called when a tenant came, went or is another than before. */
  changed(tenant: TenantId): void {
    for (const stream of this.#streams) this.#mark(stream, tenant);
  }

  #mark(stream: Stream, tenant: TenantId): void {
    stream.dirty.add(tenant);
    stream.wake();
  }

  /** Throws `resource_exhausted`; ends when it is told to. */
  async *follow(following: Following): AsyncGenerator<News> {
    if (this.#streams.size >= MAX_FOLLOWERS)
      throw new ServiceError('resource_exhausted', `${MAX_FOLLOWERS} follow already`, {
        retryAfterMs: 5_000,
      });
    const { tenants } = this.#options;
    const stream: Stream = { at: new Map(), dirty: new Set(), wake: () => undefined };
    for (const { id } of tenants) stream.dirty.add(id);
    // Each is good once: what the follower has later is what it was sent.
    const positions = new Map(following.positions);
    for (const id of positions.keys()) stream.dirty.add(id as TenantId);
    const { signal } = following;
    const onEnd = (): void => stream.wake();
    signal.addEventListener('abort', onEnd);
    this.#streams.add(stream);
    try {
      let told = 0;
      while (!signal.aborted) {
        const { promise, resolve } = Promise.withResolvers<void>();
        stream.wake = resolve;
        // Read before what is dirty is looked for: what came before it is in there.
        const ping = following.ping();
        const isCurrent = ping === told || (await this.#isCurrent());
        for (const id of stream.dirty) {
          stream.dirty.delete(id);
          yield* this.#bring(stream, id, { ...following, positions });
          if (signal.aborted) return;
        }
        if (ping > told) {
          told = ping;
          if (isCurrent) yield { heartbeat: ping };
        }
        if (following.ping() === told && stream.dirty.size === 0) await promise;
      }
    } finally {
      this.#streams.delete(stream);
      signal.removeEventListener('abort', onEnd);
    }
  }

  async #isCurrent(): Promise<boolean> {
    try {
      await this.#options.current?.();
      return true;
    } catch {
      // Nobody is told that what is here is all that there is.
      return false;
    }
  }

  /** Wakes all streams: somebody has sent a ping. */
  pinged(): void {
    for (const stream of this.#streams) stream.wake();
  }

  async *#bring(
    stream: Stream,
    id: TenantId,
    following: Following & { readonly positions: Map<string, Position> },
  ): AsyncGenerator<News> {
    const begun = following.positions.get(id);
    following.positions.delete(id);
    const tenant = this.#options.tenants.find(id);
    const known = [...stream.at].find(([, each]) => each.id === id);
    if (!tenant || !(await following.mayFollow(tenant))) {
      if (known) stream.at.delete(known[0]);
      if (known || begun) yield { tenant: id, retired: true };
      return;
    }
    const { store } = this.#options;
    // Its log may have begun anew, under another number.
    if (known && known[0] !== tenant.no) stream.at.delete(known[0]);
    let at = stream.at.get(tenant.no);
    if (!at) {
      at = { id, version: begun && store.isSame(tenant.no, begun) ? begun.version : -1 };
      stream.at.set(tenant.no, at);
    }
    while (!following.signal.aborted) {
      const changes = store.after(tenant.no, at.version, READ_BYTES);
      if (!changes) {
        yield* this.#copy(tenant, at, following.signal);
        continue;
      }
      if (changes.length === 0) return;
      for (const change of changes) {
        yield { tenant: id, change };
        at.version = change.version;
      }
    }
  }

  /** All of it as it is at one moment. */
  async *#copy({ id, no }: Tenant, at: { version: number }, signal: AbortSignal): AsyncGenerator<News> {
    while (this.#copies >= MAX_COPIES && !signal.aborted) await pause(100);
    if (signal.aborted) return;
    this.#copies += 1;
    const db = openReader(this.#options.folder);
    try {
      const until = this.#options.monotonic() + COPY_MS;
      db.exec('BEGIN');
      const position = changeStore(db).at(no);
      yield { tenant: id, copy: 'begun' };
      for (const part of copyOf(db, no, false)) {
        yield { tenant: id, part };
        // Others have their turn between two parts.
        await pause(0);
        if (this.#options.monotonic() > until)
          throw new ServiceError('deadline_exceeded', 'the copy was not read in time');
      }
      yield { tenant: id, ended: position };
      at.version = position.version;
    } finally {
      this.#copies -= 1;
      db.close();
    }
  }
}

const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    if (ms === 0) setImmediate(resolve);
    else setTimeout(resolve, ms);
  });
