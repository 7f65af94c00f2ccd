import { sign } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Clock } from '../../effects.ts';
import { describe, ServiceError } from '../../errors.ts';
import type { TenantId } from '../../ids.ts';
import { checkpointText } from '../../merkle/checkpoint.ts';
import type { SignerKey } from '../../merkle/keys.ts';
import { isNoteOf, signedNote } from '../../merkle/note.ts';
import { verifyConsistency } from '../../merkle/proofs.ts';
import { type RecordRow, recordIndex, type TenantNo } from '../../storage/rows.ts';
import type { VolumePlan, VolumeWish } from '../../storage/volume/making.ts';
import type { VolumeStore } from '../../storage/volume/store.ts';
import { MakingThread } from '../../storage/volume/thread.ts';
import { type VolumeRow, volumeFile } from '../../storage/volume/volumes.ts';
import type { Writer } from '../../storage/writer.ts';
import type { LogProofs } from '../proof/proofs.ts';
import type { Unsent } from '../sinks/unsent.ts';
import type { Archive } from './archive.ts';

/** How long records are kept here: what is older, or more than so much, is removed. */
export interface Retention {
  readonly days?: number | undefined;
  readonly mib?: number | undefined;
  /** What is not as old stays, however much it is. */
  readonly atLeastDays?: number | undefined;
}

/** A tenant whose log is kept. */
export interface KeptTenant {
  readonly id: TenantId;
  readonly no: TenantNo;
  readonly retention: Retention;
}

/** When records become a volume. */
export interface VolumeSettings {
  readonly maxMib: number;
  readonly maxDays: number;
}

export interface KeeperOptions {
  readonly folder: string;
  readonly writer: Writer;
  readonly store: VolumeStore;
  readonly proofs: Pick<LogProofs, 'newest' | 'consistency'>;
  readonly keyOf: (no: TenantNo) => Promise<SignerKey>;
  readonly tenants: () => Iterable<KeptTenant>;
  readonly settings: VolumeSettings;
  readonly archive: Archive | undefined;
  /** Volumes whose records are all older are archived. Undefined: only when somebody asks for it. */
  readonly archiveAfterDays: number | undefined;
  /** The record of what is done to a log. */
  readonly record: (
    tenant: Pick<KeptTenant, 'id' | 'no'>,
    caller: string,
    action: string,
    detail: Readonly<Record<string, unknown>>,
  ) => RecordRow;
  /** What of a log a sink has still to be sent: that neither goes to the archive nor is removed. */
  readonly unsent: (tenant: Pick<KeptTenant, 'id' | 'no'>) => Unsent | undefined;
  readonly clock: Clock;
  /** Hears of what went wrong; it is tried again. */
  readonly failed: (error: unknown) => void;
  readonly eachMs?: number;
}

type Ripe = Pick<VolumeWish, 'olderThan' | 'isPartial'>;

/** Whatever its age. */
const WHOLE: Ripe = { olderThan: Number.POSITIVE_INFINITY, isPartial: false };

const DAY_MS = 86_400_000;
const MIB = 1024 * 1024;
/** How often logs are looked at. */
const EACH_MS = 60_000;
/** How many runs are cleared in one commit, which takes some 5 ms of the writer, and how long others have their turn then. */
const CLEARED_RUNS = 16;
const PAUSE_MS = 50;
/** Of what is kept for so many days, a volume is made eight times in that time, so that it is not kept for much longer. */
const VOLUMES_OF_RETENTION = 8;
/** How many may wait for what is under way. */
const MOST_WAITING = 32;
/** What does this by itself. */
const CALLER = 'retention';

const signed = promisify(sign);

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

  constructor(options: KeeperOptions) {
    this.#options = options;
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
    await this.#makeAll();
    await this.#clear();
    for (const tenant of this.#options.tenants()) {
      if (this.#isEnded) return;
      await this.#contained(() => this.#archiveOld(tenant));
      await this.#contained(() => this.#remove(tenant));
    }
    await this.#clear();
  }

  /**
   * Moves the volumes of a log to the archive; those whose records are all older than a time, in milliseconds since the
   * epoch. Answers each as it is done. Throws `unimplemented` without an archive, `unavailable` where it fails.
   */
  async *archive(
    tenant: Pick<KeptTenant, 'id' | 'no'>,
    olderThan: number,
    caller: string,
  ): AsyncGenerator<VolumeRow> {
    const { archive, store } = this.#options;
    if (!archive)
      throw new ServiceError('unimplemented', 'no archive is configured; see archive in the configuration');
    for (const volume of store.list(tenant.no)) {
      if (volume.state !== 'here' || volume.lastTime >= olderThan) continue;
      const waits = this.#waits(tenant, volume);
      if (waits !== undefined) throw new ServiceError('unavailable', waits);
      const done = await this.#next(() => this.#archiveOne(tenant, volume, archive, caller));
      if (done) yield done;
    }
  }

  /** Makes volumes of all full tiles that a log has stated. Answers how many were made. */
  async make(no: TenantNo): Promise<number> {
    return this.#next(async () => {
      await using thread = this.#thread();
      const made = await this.#makeOf(no, () => WHOLE, thread);
      await this.#clear();
      return made;
    });
  }

  /** Nothing of the log is removed until it is released. Answers whether it was not held before. */
  async hold(tenant: Pick<KeptTenant, 'id' | 'no'>, reason: string, caller: string): Promise<boolean> {
    const { writer, record, clock } = this.#options;
    const { value } = await writer.run(
      'putHold',
      { tenantNo: tenant.no, reason, caller, at: clock() },
      record(tenant, caller, 'log.hold', { reason }),
    );
    return value === true;
  }

  /** Answers whether it was held. */
  async release(tenant: Pick<KeptTenant, 'id' | 'no'>, caller: string): Promise<boolean> {
    const { writer, record } = this.#options;
    const { value } = await writer.run(
      'dropHold',
      { tenantNo: tenant.no },
      record(tenant, caller, 'log.release', {}),
    );
    return value === true;
  }

  #thread(): MakingThread {
    return new MakingThread(this.#options.folder, this.#ending.signal);
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

  async #makeAll(): Promise<void> {
    await using stack = new AsyncDisposableStack();
    let thread: MakingThread | undefined;
    for (const { no, retention } of this.#options.tenants()) {
      if (this.#isEnded) return;
      await this.#contained(async () => {
        if (this.#ripe(no, retention) === undefined) return;
        thread ??= stack.use(this.#thread());
        await this.#makeOf(no, () => this.#ripe(no, retention), thread);
      });
    }
  }

  /** What is to become a volume now; undefined where it is not time for one. */
  #ripe(no: TenantNo, retention: Retention): Ripe | undefined {
    const { settings, store, clock } = this.#options;
    const loose = store.loose(no);
    if (!loose) return undefined;
    const days = Math.min(settings.maxDays, (retention.days ?? Infinity) / VOLUMES_OF_RETENTION);
    if (loose.firstTime < clock() - days * DAY_MS) return { olderThan: clock(), isPartial: true };
    return loose.bytes >= this.#maxBytes(retention) ? WHOLE : undefined;
  }

  #maxBytes({ mib = Infinity }: Retention): number {
    return Math.min(this.#options.settings.maxMib, mib / VOLUMES_OF_RETENTION) * MIB;
  }

  /** `ripe` is asked before each. */
  async #makeOf(no: TenantNo, ripe: () => Ripe | undefined, thread: MakingThread): Promise<number> {
    const { store, proofs, writer, clock } = this.#options;
    const maxBytes = this.#options.settings.maxMib * MIB;
    for (let made = 0; ; made += 1) {
      const wish = ripe();
      const loose = this.#isEnded ? undefined : store.loose(no);
      const size = Math.min(loose?.size ?? 0, proofs.newest(no)?.size ?? 0);
      if (!loose || !wish || loose.first >= size) return made;
      const plan = await thread.plan({ no, first: loose.first, maxBytes, ...wish }, size);
      if (!plan) return made;
      const volume = await thread.make(plan, await this.#stated(plan));
      const { value } = await writer.run('putVolume', { volume, at: clock() });
      if (!value) return made;
    }
  }

  /** Signs what the log was when it had so many entries. It must be a part of what it stated last. */
  async #stated({ no, end, root }: VolumePlan): Promise<string> {
    const { proofs, keyOf } = this.#options;
    const key = await keyOf(no);
    const newest = proofs.newest(no);
    if (!newest || !isNoteOf(newest.note, key)) throw unfit(no, 'its checkpoint is not signed by its key');
    const proof = proofs.consistency(no, end, newest.size);
    if (!verifyConsistency(end, newest.size, root, newest.root, proof))
      throw unfit(no, `its first ${end} records are not those that it stated`);
    const text = checkpointText({ origin: key.name, size: end, root });
    return signedNote(text, key, await signed(null, Buffer.from(text), key.privateKey));
  }

  /** What stands in volumes, or was removed, is taken out of the database, a little at a time. */
  async #clear(): Promise<void> {
    while (!this.#isEnded) {
      const { value: isMore } = await this.#options.writer.run('clearRuns', { runs: CLEARED_RUNS });
      if (!isMore) return;
      await sleep(PAUSE_MS, undefined, { signal: this.#ending.signal }).catch(() => undefined);
    }
  }

  async #archiveOld(tenant: KeptTenant): Promise<void> {
    const { archive, archiveAfterDays, store, clock } = this.#options;
    if (!archive || archiveAfterDays === undefined) return;
    const before = clock() - archiveAfterDays * DAY_MS;
    for (const volume of store.list(tenant.no))
      if (!this.#isEnded && volume.state === 'here' && volume.lastTime < before) {
        if (this.#isWaiting(tenant, volume)) return;
        await this.#archiveOne(tenant, volume, archive, CALLER);
      }
  }

  /** Why a volume stays for now. */
  #waits(tenant: Pick<KeptTenant, 'id' | 'no'>, { endId }: VolumeRow): string | undefined {
    const unsent = this.#options.unsent(tenant);
    const last = recordIndex(endId) - 1;
    if (!unsent || unsent.next > last) return undefined;
    return `records ${unsent.next} to ${last} of ${tenant.id} stay until the sink ${unsent.sink} has them, or is configured no more`;
  }

  #isWaiting(tenant: KeptTenant, volume: VolumeRow): boolean {
    const why = this.#waits(tenant, volume);
    if (why !== undefined) this.#met ||= why;
    return why !== undefined;
  }

  async #archiveOne(
    tenant: Pick<KeptTenant, 'id' | 'no'>,
    volume: VolumeRow,
    archive: Archive,
    caller: string,
  ): Promise<VolumeRow | undefined> {
    const { folder, writer, clock, record, keyOf } = this.#options;
    const file = volumeFile(folder, volume);
    const { name: origin } = await keyOf(tenant.no);
    const place = await archived(archive, file, `${origin}/${path.basename(file)}`, volume.sha256);
    const at = clock();
    const { value } = await writer.run(
      'endVolume',
      { id: volume.id, state: 'archived', place, at },
      record(tenant, caller, 'log.archive', { ...rangeOf(volume), place, sha256: volume.sha256 }),
    );
    if (!value) return undefined;
    await rm(file, { force: true });
    return { ...volume, state: 'archived', place, stateAt: at };
  }

  async #remove(tenant: KeptTenant): Promise<void> {
    const { folder, store, writer, clock, record } = this.#options;
    if (store.hold(tenant.no)) return;
    for (const volume of await this.#beyond(tenant)) {
      if (this.#isEnded || this.#isWaiting(tenant, volume)) return;
      const { value } = await writer.run(
        'endVolume',
        { id: volume.id, state: 'removed', place: '', at: clock() },
        record(tenant, CALLER, 'log.remove', { ...rangeOf(volume), retention: tenant.retention }),
      );
      if (!value) return;
      await rm(volumeFile(folder, volume), { force: true });
    }
  }

  /** The oldest ones that are kept for no longer, oldest first. */
  async #beyond({ no, retention: { days, mib, atLeastDays = 0 } }: KeptTenant): Promise<VolumeRow[]> {
    const { store, writer, clock } = this.#options;
    if (days === undefined && mib === undefined) return [];
    const kept = store.list(no).filter(({ state }) => state !== 'removed');
    const now = clock();
    const before = days === undefined ? Number.NEGATIVE_INFINITY : now - days * DAY_MS;
    let bytes = mib === undefined ? 0 : (await writer.run('logBytes', { tenantNo: no })).value;
    const isBeyond = (volume: VolumeRow): boolean => {
      const isTooMuch =
        mib !== undefined && bytes > mib * MIB && volume.lastTime < now - atLeastDays * DAY_MS;
      const found = volume.lastTime < before || isTooMuch;
      bytes -= bytesHere(volume);
      return found;
    };
    const end = kept.findIndex((volume) => !isBeyond(volume));
    return end === -1 ? kept : kept.slice(0, end);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    clearTimeout(this.#timer);
    await this.#work;
  }
}

const bytesHere = ({ state, bytes }: VolumeRow): number => (state === 'here' ? bytes : 0);

const rangeOf = ({ id, endId }: VolumeRow): object => ({
  first: recordIndex(id),
  last: recordIndex(endId) - 1,
});

const unfit = (no: TenantNo, why: string): ServiceError =>
  new ServiceError('unavailable', 'no volume was made', { detail: `log ${no}: ${why}` });

async function archived(archive: Archive, file: string, key: string, sha256: string): Promise<string> {
  try {
    return await archive.put(file, key, sha256);
  } catch (cause) {
    throw new ServiceError('unavailable', 'the archive did not take a volume', {
      cause,
      detail: `${archive.name}: ${(cause as Error).message}`,
    });
  }
}
