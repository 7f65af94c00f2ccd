import { Worker } from 'node:worker_threads';
import { ServiceError } from '../../errors.ts';
import type { TenantNo } from '../../storage/rows.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import type { Replayable, ReplayTask } from './replays.ts';
import { type Counts, type Example, type Group, Tally } from './tally.ts';

export type ToShadow =
  | {
      readonly no: TenantNo;
      readonly candidate: Replayable;
      readonly base: Replayable | undefined;
      readonly limits: ReplayTask['limits'];
      /** The first record it is asked about; undefined: it goes on where it is. */
      readonly from: number | undefined;
    }
  | { readonly end: TenantNo }
  | 'close';

export type FromShadow =
  | {
      readonly no: TenantNo;
      readonly counts: Counts;
      readonly groups: readonly Group[];
      readonly examples: readonly Example[];
      /** Records that it has not come to. */
      readonly behind: number;
    }
  | { readonly no: TenantNo; readonly problem: string };

/** What a shadow would have decided otherwise, since it is one or the server has started. */
export interface Shadow {
  readonly revision: string;
  /** Of which package alone it is asked; empty: as it is. */
  readonly only: string;
  /** Milliseconds since the epoch. */
  readonly since: number;
  readonly tally: Tally;
  behind: number;
  /** Why it is asked no more; empty while it is. */
  problem: string;
}

interface Followed extends Shadow {
  readonly tenant: Tenant;
  /** What is asked: of a package alone it is another one than the revision. */
  readonly asked: string;
  /** What was recorded of it. */
  told: { replayed: number; changed: number };
}

export interface ShadowsOptions {
  /** The store's folder. */
  readonly folder: string;
  readonly clock: () => number;
  /** Whether the tenant is still served. */
  readonly isServed: (tenant: Tenant) => boolean;
  /** How many records a tenant's log holds. */
  readonly sizeOf: (tenantNo: TenantNo) => number;
  /** How many there may be; 64 if left out. */
  readonly most?: number;
  /** Writes what a shadow would have decided otherwise into its tenant's log. */
  readonly record: (tenant: Tenant, revision: string, detail: Readonly<Record<string, unknown>>) => void;
}

/** Each has one or two instances of its own. */
const MAX_SHADOWS = 64;
/** How often differences are recorded, where there are new ones. */
const RECORD_MS = 60_000;
const RECORDED_GROUPS = 10;

const full = (): ServiceError =>
  new ServiceError('resource_exhausted', 'as many tenants as may have a shadow already');

/**
 * Revisions that are asked what the active one was asked, beside it: a thread follows the log, so that answers and their
 * latency are what they are without. What is masked or sealed there cannot be asked.
 */
export class Shadows implements AsyncDisposable {
  readonly #options: ShadowsOptions;
  readonly #followed = new Map<TenantNo, Followed>();
  /** Tenants whose shadow is being written. One at a time of each. */
  readonly #reserved = new Set<TenantNo>();
  #worker: Worker | undefined;
  #ended: Promise<unknown> = Promise.resolve();
  readonly #timer: NodeJS.Timeout;

  constructor(options: ShadowsOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.#record(), RECORD_MS).unref();
  }

  /**
   * Keeps a place for a shadow of the tenant's, so that what is written is asked. To be disposed of once it is followed.
   * Throws `resource_exhausted`.
   */
  reserve({ no }: Tenant): Disposable {
    const places = new Set([...this.#followed.keys(), ...this.#reserved]);
    if (!places.has(no) && places.size >= (this.#options.most ?? MAX_SHADOWS)) throw full();
    this.#reserved.add(no);
    return { [Symbol.dispose]: () => void this.#reserved.delete(no) };
  }

  of(tenant: Tenant): Shadow | undefined {
    return this.#followed.get(tenant.no);
  }

  /** Asks a revision beside `base`, the active one; one that is asked already goes on. */
  follow(
    tenant: Tenant,
    {
      named: { revision, only },
      candidate,
      base,
      limits,
    }: Pick<ReplayTask, 'candidate' | 'base' | 'limits'> & {
      readonly named: Pick<Shadow, 'revision' | 'only'>;
    },
  ): void {
    const { no } = tenant;
    const { revision: asked } = candidate;
    const known = this.#followed.get(no);
    // One that is asked no more is asked anew.
    const isNew = known?.asked !== asked || known.revision !== revision || known.problem !== '';
    if (isNew) {
      this.end(tenant);
      if (this.#followed.size >= (this.#options.most ?? MAX_SHADOWS)) throw full();
      const told = { replayed: 0, changed: 0 };
      const since = this.#options.clock();
      const tally = new Tally();
      this.#followed.set(no, { tenant, revision, only, asked, since, tally, behind: 0, problem: '', told });
    }
    this.#worker ??= this.#start();
    this.#worker.postMessage({
      no,
      candidate: plain(candidate),
      base: base && plain(base),
      limits,
      from: isNew ? this.#options.sizeOf(no) : undefined,
    } satisfies ToShadow);
  }

  end({ no }: Tenant): void {
    const followed = this.#followed.get(no);
    if (!followed) return;
    this.#tell(followed);
    this.#followed.delete(no);
    this.#worker?.postMessage({ end: no } satisfies ToShadow);
  }

  #start(): Worker {
    const file = import.meta.url.endsWith('.ts') ? '../../shadow-thread.ts' : '../../shadow-thread.js';
    const worker = new Worker(new URL(file, import.meta.url), {
      name: 'mandate-shadows',
      env: {},
      workerData: { folder: this.#options.folder },
    });
    worker.unref();
    worker.on('message', (said: FromShadow) => this.#hear(said));
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#ended = promise;
    const end = (problem: string): void => {
      if (this.#worker === worker) this.#worker = undefined;
      for (const each of this.#followed.values()) each.problem ||= problem;
      resolve();
    };
    worker.on('error', ({ message }: Error) => end(message));
    worker.on('exit', () => end('the thread that asks shadows ended'));
    return worker;
  }

  #hear(said: FromShadow): void {
    const followed = this.#followed.get(said.no);
    if (!followed) return;
    if ('problem' in said) followed.problem = said.problem;
    else {
      followed.tally.add(said.counts, said.groups, said.examples);
      followed.behind = said.behind;
    }
  }

  #record(): void {
    for (const followed of this.#followed.values())
      if (this.#options.isServed(followed.tenant)) this.#tell(followed);
      else this.end(followed.tenant);
  }

  /** In the log once a minute where there is something new, and at the end. */
  #tell(followed: Followed): void {
    const { tenant, revision, only, since, tally, told } = followed;
    const { replayed, changed } = tally.counts;
    if (changed === told.changed) return;
    followed.told = { replayed, changed };
    this.#options.record(tenant, revision, {
      asked: replayed - told.replayed,
      changed: changed - told.changed,
      ...(only !== '' && { package: only }),
      since,
      groups: [...tally.groups.values()].sort((a, b) => b.count - a.count).slice(0, RECORDED_GROUPS),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.#record();
    this.#worker?.postMessage('close' satisfies ToShadow);
    await this.#ended;
  }
}

const plain = ({ revision, wasm, data }: Replayable): Replayable => ({ revision, wasm, data });
