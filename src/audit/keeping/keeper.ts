import { readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, ServiceError } from '../../errors.ts';
import type { TenantNo } from '../../storage/rows.ts';
import { type VolumeRow, volumeFile } from '../../storage/volume/volumes.ts';
import { Leaving } from './leaving.ts';
import { type KeeperOptions, type KeptLog, sliced } from './options.ts';
import { Ripening } from './ripening.ts';

/** How often logs are looked at. */
const EACH_MS = 60_000;
/** How many runs are cleared in one commit, which takes some 5 ms of the writer, and how long others have their turn then. */
const CLEARED_RUNS = 16;
const PAUSE_MS = 50;
/** How many may wait for what is under way. */
const MOST_WAITING = 32;

/**
 * Keeps logs: makes volumes of what is old or much, archives and removes them as the operator and the tenants want it. One
 * thing after the other, in turns that nobody waits for.
 */
export class Keeper implements AsyncDisposable {
  readonly #options: KeeperOptions;
  /** What is under way, one after the other. */
  #work: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #timer: NodeJS.Timeout | undefined;
  readonly #ending = new AbortController();
  /** What went wrong in this turn, and in the one before. */
  #met = '';
  #problem = '';
  readonly #ripening: Ripening;
  readonly #leaving: Leaving;

  constructor(options: KeeperOptions) {
    this.#options = options;
    const { signal } = this.#ending;
    this.#ripening = new Ripening(options, signal);
    this.#leaving = new Leaving(options, signal, (why) => {
      this.#met ||= why;
    });
  }

  /** Why not all is done that should be; empty if it is. */
  get problem(): string {
    return this.#problem;
  }

  begin(): void {
    void this.#next(() => this.#tidy()).catch(() => undefined);
    this.#schedule();
  }

  #schedule(): void {
    this.#timer = setTimeout(() => {
      void this.turn()
        .catch(this.#failed)
        .finally(() => {
          if (!this.#isEnded) this.#schedule();
        });
    }, this.#options.eachMs ?? EACH_MS).unref();
  }

  get #isEnded(): boolean {
    return this.#ending.signal.aborted;
  }

  /** Looks at all logs once. What fails is told, and left for the next time. */
  turn(): Promise<void> {
    return this.#next(async () => {
      this.#met = '';
      await this.#contained(() => this.#all());
      this.#problem = this.#met;
    });
  }

  async #all(): Promise<void> {
    await this.#ripening.all((work) => this.#contained(work));
    await this.#contained(() => this.#clear());
    const breathe = sliced();
    for (const tenant of this.#options.tenants()) {
      if (this.#isEnded) return;
      await breathe();
      await this.#contained(() => this.#leaving.archiveOld(tenant));
      await this.#contained(() => this.#leaving.remove(tenant));
    }
    await this.#contained(() => this.#clear());
  }

  /**
   * Moves the volumes of a log to the archive; those whose records are all older than a time, in milliseconds since the
   * epoch. Answers each as it is done. Throws `unimplemented` without an archive, `unavailable` where it fails.
   */
  async *archive(tenant: KeptLog, olderThan: number, caller: string): AsyncGenerator<VolumeRow> {
    const { archive, store } = this.#options;
    if (!archive)
      throw new ServiceError('unimplemented', 'no archive is configured; see archive in the configuration');
    for (const volume of store.list(tenant.no)) {
      if (volume.state !== 'here' || volume.lastTime >= olderThan) continue;
      const waits = this.#leaving.waits(tenant, volume);
      if (waits !== undefined) throw new ServiceError('unavailable', waits);
      const done = await this.#next(() => this.#leaving.archive(tenant, volume, archive, caller));
      if (done) yield done;
    }
  }

  /** Makes volumes of all full tiles that a log has stated. Answers how many were made. */
  async make(no: TenantNo): Promise<number> {
    return this.#next(async () => {
      const made = await this.#ripening.whole(no);
      await this.#clear();
      return made;
    });
  }

  /** Nothing of the log is removed until it is released. Answers whether it was not held before. */
  async hold(tenant: KeptLog, reason: string, caller: string): Promise<boolean> {
    const { writer, record, clock } = this.#options;
    const { value } = await writer.run(
      'putHold',
      { tenantNo: tenant.no, reason, caller, at: clock() },
      record(tenant, caller, 'log.hold', { reason }),
    );
    return value === true;
  }

  /** Answers whether it was held. */
  async release(tenant: KeptLog, caller: string): Promise<boolean> {
    const { writer, record } = this.#options;
    const { value } = await writer.run(
      'dropHold',
      { tenantNo: tenant.no },
      record(tenant, caller, 'log.release', {}),
    );
    return value === true;
  }

  /** One after the other, whoever asks. Rejects with `resource_exhausted` where too much waits. */
  #next<T>(work: () => Promise<T>): Promise<T> {
    if (this.#waiting >= MOST_WAITING)
      return Promise.reject(
        new ServiceError('resource_exhausted', 'logs are being kept already; ask again in a while'),
      );
    this.#waiting += 1;
    const done = this.#work.then(work).finally(() => {
      this.#waiting -= 1;
    });
    this.#work = done.catch(this.#failed);
    return done;
  }

  /** What ends with the server has not failed. */
  readonly #failed = (error: unknown): void => {
    if (this.#isEnded) return;
    this.#met ||= describe(error);
    this.#options.failed(error);
  };

  async #contained(work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#failed(error);
    }
  }

  /**
   * Takes away what was being made, and what was archived or removed. A file that the store does not know has records that
   * it has itself, unless the store is older than the file: then it was put back, and the file stays.
   */
  async #tidy(): Promise<void> {
    const { folder, store } = this.#options;
    const rows = new Map(store.all().map((row) => [volumeFile(folder, row), row]));
    const above = path.join(folder, 'volumes');
    const names = await readdir(above, { recursive: true, withFileTypes: true }).catch(() => []);
    for (const each of names) {
      const file = path.join(each.parentPath, each.name);
      if (!each.isFile() || rows.get(file)?.state === 'here') continue;
      const [, end] = /^\d+-(\d+)\.jsonl\.zst$/.exec(each.name) ?? [];
      const isKnown = rows.has(file) || each.name.endsWith('.part');
      const no = Number(path.basename(each.parentPath)) as TenantNo;
      if (isKnown || (end !== undefined && Number(end) <= store.size(no))) await rm(file, { force: true });
      else this.#failed(new Error(`${file} is of no log of this store, and stays`));
    }
  }

  /** What stands in volumes, or was removed, is taken out of the database, a little at a time. */
  async #clear(): Promise<void> {
    while (!this.#isEnded) {
      const { value: isMore } = await this.#options.writer.run('clearRuns', { runs: CLEARED_RUNS });
      if (!isMore) return;
      await sleep(PAUSE_MS, undefined, { signal: this.#ending.signal }).catch(() => undefined);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    clearTimeout(this.#timer);
    await this.#work;
  }
}
