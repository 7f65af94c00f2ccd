import { channel } from 'node:diagnostics_channel';
import { setTimeout as pause } from 'node:timers/promises';
import { type Clock, jittered } from '../effects.ts';
import { describe } from '../errors.ts';
import { type TenantId, tenantId } from '../ids.ts';
import type { Position } from '../storage/changes/commands.ts';
import type { ChangeStore } from '../storage/changes/store.ts';
import type { TenantNo } from '../storage/rows.ts';
import type { Writer } from '../storage/writer.ts';
import type { Heard } from '../tenancy/freshness.ts';
import { Replica, type ReplicaHooks } from './replica.ts';
import type { News } from './source.ts';

/** Published when an authority begins or ends to be followed: AuthorityNews. */
export const authorityChannel = channel('mandate:authority');

export interface AuthorityNews {
  readonly address: string;
  readonly what: 'followed' | 'lost';
  readonly why: string;
}

/** What an authority says first. */
export interface Welcomed {
  readonly baseUrl: string;
  readonly version: string;
}

/** A stream from an authority. */
export interface Authority {
  readonly address: string;
  /** Ends or throws when the connection does. Pings go the other way. */
  follow(
    positions: ReadonlyMap<string, Position>,
    pings: AsyncIterable<number>,
    signal: AbortSignal,
  ): AsyncIterable<News | { readonly welcome: Welcomed }>;
}

export interface FollowerOptions {
  /** Asked in turn, until one answers. */
  readonly authorities: readonly Authority[];
  readonly writer: Pick<Writer, 'runHere'>;
  readonly store: ChangeStore;
  readonly hooks: ReplicaHooks;
  readonly heard: Heard;
  readonly monotonic: Clock;
  /** What the outside calls the data plane; an authority of another one is not followed. */
  readonly baseUrl: string;
}

const PING_MS = 1_000;
/** For how long an authority may say nothing. */
const SILENT_MS = 5_000;
/** How soon a tenant that cannot go on from what it has is asked for as a whole. */
const COPY_AGAIN_MS = 10_000;
const FIRST_RETRY_MS = 100;
const MAX_RETRY_MS = 5_000;
/** How many changes may be on their way into the store before more is read. */
const MAX_OPEN = 512;

const isBroken = ({ isBroken: so }: Replica): boolean => so;

/** Follows an authority, and brings what it says into the store, for as long as it runs. */
export class Follower implements AsyncDisposable {
  readonly #options: FollowerOptions;
  readonly #stopping = new AbortController();
  readonly #replicas = new Map<TenantId, Replica>();
  #running: Promise<void> = Promise.resolve();
  #problem = 'no authority has answered yet';
  #isComplete = false;

  constructor(options: FollowerOptions) {
    this.#options = options;
  }

  /** Why no authority is followed; empty while one is. */
  get problem(): string {
    return this.#problem;
  }

  /** Whether it once had all that there is. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** What an operator should know of tenants, a line each. */
  problems(): string[] {
    return [...this.#replicas.values()].flatMap(({ id, problem }) =>
      problem === '' ? [] : [`tenant ${id}: ${problem}`],
    );
  }

  /** Serves what the store has, and begins to follow. */
  async begin(): Promise<void> {
    const { store } = this.#options;
    for (const { no, id } of store.tenants())
      if (store.manifest(no) !== undefined && store.at(no).version >= 0)
        await this.#replicaOf(tenantId(id), no).resume();
    this.#running = this.#run();
  }

  #replicaOf(id: TenantId, no: TenantNo): Replica {
    const known = this.#replicas.get(id);
    if (known) return known;
    const { writer, hooks, store } = this.#options;
    const made = new Replica({ id, no, writer, hooks, store });
    this.#replicas.set(id, made);
    return made;
  }

  async #run(): Promise<void> {
    const { authorities } = this.#options;
    const { signal } = this.#stopping;
    let waitMs = FIRST_RETRY_MS;
    for (let turn = 0; !signal.aborted; turn += 1) {
      const authority = authorities[turn % authorities.length];
      if (!authority) return;
      try {
        await this.#follow(authority, () => {
          waitMs = FIRST_RETRY_MS;
        });
        this.#lost(authority, 'it ended the stream');
      } catch (error) {
        if (signal.aborted) return;
        this.#lost(authority, describe(error));
      }
      // A fleet that lost its authority does not come back all at once.
      await pause(jittered(waitMs), undefined, { signal }).catch(() => undefined);
      waitMs = Math.min(waitMs * 2, MAX_RETRY_MS);
    }
  }

  #lost({ address }: Authority, why: string): void {
    if (this.#problem === '' || this.#problem !== why)
      authorityChannel.publish({ address, what: 'lost', why } satisfies AuthorityNews);
    this.#problem = why;
  }

  async #follow(authority: Authority, answered: () => void): Promise<void> {
    const { monotonic, heard, store, baseUrl } = this.#options;
    const ending = new AbortController();
    const signal = AbortSignal.any([ending.signal, this.#stopping.signal]);
    const begunMs = monotonic();
    let lastMs = begunMs;
    /** When each ping was sent. */
    const sent = new Map<number, number>();
    const watch = setInterval(() => {
      if (monotonic() - lastMs > SILENT_MS) ending.abort(new Error('it says nothing any more'));
    }, PING_MS / 2).unref();
    async function* pings(): AsyncGenerator<number> {
      for (let number = 1; !signal.aborted; number += 1) {
        sent.set(number, monotonic());
        yield number;
        await pause(PING_MS, undefined, { signal, ref: false }).catch(() => undefined);
      }
    }
    const positions = new Map<string, Position>();
    for (const { no, id } of store.tenants()) {
      const at = store.at(no);
      if (at.version > 0 && this.#replicas.get(tenantId(id))?.isBroken !== true) positions.set(id, at);
    }
    try {
      for await (const news of authority.follow(positions, pings(), signal)) {
        lastMs = monotonic();
        if ('welcome' in news) {
          if (news.welcome.baseUrl !== baseUrl)
            throw new Error(
              `it is called ${news.welcome.baseUrl}, and base_url here is ${baseUrl || 'not set'}: they have to be the same, as issuers begin with it`,
            );
          answered();
          authorityChannel.publish({
            address: authority.address,
            what: 'followed',
            why: '',
          } satisfies AuthorityNews);
          this.#problem = '';
        } else if ('heartbeat' in news) {
          // All that was sent before it is to be known first.
          await this.#settled();
          const at = sent.get(news.heartbeat);
          for (const each of sent.keys()) if (each <= news.heartbeat) sent.delete(each);
          if (at !== undefined) heard.heard(at);
          this.#isComplete = true;
          if (monotonic() - begunMs > COPY_AGAIN_MS && [...this.#replicas.values()].some(isBroken))
            throw new Error('what is broken here is asked for once more');
        } else await this.#take(news);
      }
      signal.throwIfAborted();
    } finally {
      clearInterval(watch);
      ending.abort();
    }
  }

  async #settled(): Promise<void> {
    await Promise.all([...this.#replicas.values()].map((each) => each.settled()));
  }

  async #take(news: Exclude<News, { heartbeat: number }>): Promise<void> {
    const id = tenantId(news.tenant);
    const known = this.#replicas.get(id);
    if ('retired' in news) {
      await known?.retire();
      this.#replicas.delete(id);
      return;
    }
    const replica = known ?? this.#replicaOf(id, await this.#numberOf(id));
    await replica.take(news);
    if (replica.open >= MAX_OPEN) await replica.settled();
  }

  async #numberOf(id: TenantId): Promise<TenantNo> {
    const { value } = await this.#options.writer.runHere('putTenant', { id });
    return value.no;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    await this.#settled();
  }
}
