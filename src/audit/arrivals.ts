import type { RecordStore } from '../storage/log/records.ts';
import type { TenantNo } from '../storage/rows.ts';
import { commitChannel } from '../storage/writer.ts';

/** How soon after a commit the logs that somebody waits for are looked at, and how soon without one, in milliseconds. */
const SOON_MS = 10;
const IDLE_MS = 5_000;

interface Sleeper {
  readonly next: number;
  readonly wake: () => void;
}

/**
 * Who waits for the next record of a log. A commit says nothing of whose records it holds, so the size of each log that
 * is waited for is looked up, once for all its sleepers and all commits of a moment; only those whose log has grown are
 * woken.
 */
export class Arrivals {
  readonly #store: Pick<RecordStore, 'size'>;
  readonly #sleepers = new Map<TenantNo, Set<Sleeper>>();
  #look: NodeJS.Timeout | undefined;
  #isSoon = false;

  constructor(store: Pick<RecordStore, 'size'>) {
    this.#store = store;
  }

  /** Resolves when the log holds a record of this index, or at the signal. */
  async after(tenantNo: TenantNo, next: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const woken = Promise.withResolvers<void>();
    const sleeper: Sleeper = { next, wake: woken.resolve };
    this.#add(tenantNo, sleeper);
    signal.addEventListener('abort', sleeper.wake, { once: true });
    // What was committed since the log was read was told to nobody.
    if (this.#store.size(tenantNo) > next) sleeper.wake();
    await woken.promise;
    signal.removeEventListener('abort', sleeper.wake);
    this.#remove(tenantNo, sleeper);
  }

  #add(tenantNo: TenantNo, sleeper: Sleeper): void {
    if (this.#sleepers.size === 0) {
      commitChannel.subscribe(this.#committed);
      this.#schedule(IDLE_MS);
    }
    const others = this.#sleepers.get(tenantNo);
    if (others) others.add(sleeper);
    else this.#sleepers.set(tenantNo, new Set([sleeper]));
  }

  #remove(tenantNo: TenantNo, sleeper: Sleeper): void {
    const others = this.#sleepers.get(tenantNo);
    others?.delete(sleeper);
    if (others?.size === 0) this.#sleepers.delete(tenantNo);
    if (this.#sleepers.size > 0) return;
    commitChannel.unsubscribe(this.#committed);
    clearTimeout(this.#look);
    this.#isSoon = false;
  }

  readonly #committed = (): void => {
    if (this.#isSoon) return;
    this.#isSoon = true;
    this.#schedule(SOON_MS);
  };

  #schedule(ms: number): void {
    clearTimeout(this.#look);
    this.#look = setTimeout(() => this.#wakeThose(), ms).unref();
  }

  /** A log that cannot be read wakes whoever waits for it, to meet that where somebody hears of it. */
  #sizeOf(tenantNo: TenantNo): number {
    try {
      return this.#store.size(tenantNo);
    } catch {
      return Number.POSITIVE_INFINITY;
    }
  }

  #wakeThose(): void {
    this.#isSoon = false;
    for (const [tenantNo, sleepers] of this.#sleepers) {
      const size = this.#sizeOf(tenantNo);
      for (const { next, wake } of sleepers) if (size > next) wake();
    }
    this.#schedule(IDLE_MS);
  }
}
