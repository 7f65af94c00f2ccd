import { createHash } from 'node:crypto';
import { setTimeout as pause, setImmediate as turn } from 'node:timers/promises';
import { ServiceError } from '../errors.ts';
import type { RecordStore, StoredRecord } from '../storage/log/records.ts';
import type { TenantNo } from '../storage/rows.ts';
import { commitChannel } from '../storage/writer.ts';
import { checkCount, MOST_LOGS } from './across.ts';
import type { NodeLog } from './logs.ts';

/** Records of one log in its order; and, after some of all of them, how far each was told. */
export type Tailed =
  | { readonly log: NodeLog; readonly records: readonly StoredRecord[] }
  | { readonly cursor: string };

export interface TailAcrossOptions {
  readonly store: Pick<RecordStore, 'read' | 'size'>;
  /** Those that are here now. */
  readonly logs: () => readonly NodeLog[];
  /** The verifier key of one: by it another authority knows the same log. */
  readonly keyOf: (log: NodeLog) => Promise<string>;
  /** Where it goes on. Empty: with what comes now. */
  readonly cursor: string;
  readonly signal: AbortSignal;
}

/** One log, and the index that is to be told next. */
interface Strand {
  log: NodeLog;
  readonly id: string;
  next: number;
}

/** How much of one log is read before the others have their turn. */
const PAGE = 256;
const PAGE_BYTES = 256 * 1024;
/** How long it is waited for a commit, and how long from one look at all logs to the next: more where they are many. */
const IDLE_MS = 5_000;
const LOOK_MS = 10;
const LOOK_EACH_MS = 0.1;
/** How many logs are looked at before others have their turn. */
const LOOKED_AT_ONCE = 64;

/**
 * All logs of a tenant from their places on, then as they grow, until the signal; one that is new joins from its beginning.
 * Of each in its own order, between them as they come. The first that it tells is where it begins. Throws `invalid_request`.
 */
export async function* tailAcross(options: TailAcrossOptions): AsyncGenerator<Tailed> {
  const { store, signal } = options;
  const strands = new Strands(options);
  const news = new News(signal);
  try {
    await strands.join();
    yield { cursor: strands.cursor };
    while (!signal.aborted) {
      news.begin();
      let looked = 0;
      let moved = false;
      for (const strand of strands) {
        if (signal.aborted) return;
        if ((looked += 1) % LOOKED_AT_ONCE === 0) await turn();
        if (store.size(strand.log.no) <= strand.next) continue;
        const { records, next } = store.read(strand.log.no, strand.next, PAGE, PAGE_BYTES);
        // What is damaged is passed by, and does not end it.
        moved ||= next > strand.next;
        strand.next = next;
        if (records.length > 0) yield { log: strand.log, records };
      }
      if (moved) yield { cursor: strands.cursor };
      else await news.come(LOOK_MS + looked * LOOK_EACH_MS);
      await strands.join();
    }
  } finally {
    news[Symbol.dispose]();
  }
}

/** The logs on their way through a tail. */
class Strands implements Iterable<Strand> {
  readonly #options: TailAcrossOptions;
  readonly #strands = new Map<TenantNo, Strand>();
  /** Places in logs that are not here, or not yet. */
  readonly #elsewhere: Map<string, number>;
  /** Whether what is not known begins at its beginning. */
  #isBegun: boolean;

  constructor(options: TailAcrossOptions) {
    this.#options = options;
    this.#isBegun = options.cursor !== '';
    this.#elsewhere = placesIn(options.cursor);
  }

  [Symbol.iterator](): Iterator<Strand> {
    return this.#strands.values();
  }

  /** Takes up what is here and was not. */
  async join(): Promise<void> {
    const { logs, keyOf, store } = this.#options;
    const all = logs();
    checkCount(all, 'a tail');
    for (const log of all) {
      const known = this.#strands.get(log.no);
      // It may be called otherwise since.
      if (known) known.log = log;
      else {
        const id = idOf(await keyOf(log));
        const size = store.size(log.no);
        const next = this.#elsewhere.get(id) ?? (this.#isBegun ? 0 : size);
        if (log.isOwn && next > size)
          throw new ServiceError('invalid_request', 'the cursor is ahead of the log here: it was put back');
        this.#elsewhere.delete(id);
        this.#strands.set(log.no, { log, id, next });
      }
    }
    this.#isBegun = true;
  }

  /** `t`, and a place in each log. What it has no room for is told from its beginning. */
  get cursor(): string {
    const here = Array.from(this.#strands.values(), ({ id, next }) => [id, next] as const);
    const pairs = [...here, ...this.#elsewhere].slice(0, MOST_LOGS);
    return ['t', ...pairs.map(([id, next]) => `${id}:${next.toString(36)}`)].join('.');
  }
}

/** 72 bits of the key's digest: the same at every authority that has the log, and another once it is begun anew. */
const idOf = (key: string): string =>
  createHash('sha256').update(key).digest('base64url').slice(0, ID_LENGTH);

const ID_LENGTH = 12;
/** Of the longest cursor, and of one that nothing was told of. */
const MOST_CHARACTERS = 1 + MOST_LOGS * (ID_LENGTH + 9);

/** Throws `invalid_request`. */
function placesIn(cursor: string): Map<string, number> {
  const places = new Map<string, number>();
  if (cursor === '') return places;
  const [sign, ...pairs] = cursor.length > MOST_CHARACTERS ? [] : cursor.split('.');
  for (const pair of pairs) {
    const [, id = '', at = ''] = /^([\w-]{12}):(0|[1-9a-z][0-9a-z]{0,6})$/.exec(pair) ?? [];
    if (id === '' || places.has(id)) throw notOne();
    places.set(id, Number.parseInt(at, 36));
  }
  if (sign !== 't' || pairs.length > MOST_LOGS) throw notOne();
  return places;
}

const notOne = (): ServiceError => new ServiceError('invalid_request', 'cursor is not one of a tail');

/** Whether something was committed since it was looked. */
class News implements Disposable {
  readonly #signal: AbortSignal;
  #isThere = false;
  #wake: () => void = () => undefined;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
    commitChannel.subscribe(this.#committed);
    signal.addEventListener('abort', this.#committed, { once: true });
  }

  readonly #committed = (): void => {
    this.#isThere = true;
    this.#wake();
  };

  /** What is committed from now on is news. */
  begin(): void {
    this.#isThere = false;
  }

  /** Resolves once there is some, or none has come for a while; not sooner than in so many milliseconds. */
  async come(leastMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    const idle = setTimeout(resolve, IDLE_MS).unref();
    if (this.#isThere) resolve();
    await promise;
    clearTimeout(idle);
    // Commits come by the hundred a second, and each may be another tenant's.
    await pause(leastMs, undefined, { signal: this.#signal, ref: false }).catch(() => undefined);
  }

  [Symbol.dispose](): void {
    commitChannel.unsubscribe(this.#committed);
    this.#signal.removeEventListener('abort', this.#committed);
  }
}
