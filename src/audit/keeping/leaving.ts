import { rm } from 'node:fs/promises';
import path from 'node:path';
import { ServiceError } from '../../errors.ts';
import { recordIndex } from '../../storage/rows.ts';
import { type VolumeRow, volumeFile } from '../../storage/volume/volumes.ts';
import type { Archive } from './archive.ts';
import { DAY_MS, type KeeperOptions, type KeptLog, type KeptTenant, MIB } from './options.ts';

/** What does this by itself, as records name callers. */
const CALLER = 'retention';

/** Takes volumes away: to the archive, or for good. */
export class Leaving {
  readonly #options: KeeperOptions;
  readonly #signal: AbortSignal;
  readonly #tell: (why: string) => void;

  /** `tell` hears why a volume stays that should not. */
  constructor(options: KeeperOptions, signal: AbortSignal, tell: (why: string) => void) {
    this.#options = options;
    this.#signal = signal;
    this.#tell = tell;
  }

  /** What is as old as the operator has it archived. */
  async archiveOld(tenant: KeptTenant): Promise<void> {
    const { archive, archiveAfterDays, store, clock } = this.#options;
    if (!archive || archiveAfterDays === undefined) return;
    const before = clock() - archiveAfterDays * DAY_MS;
    for (const volume of store.list(tenant.no))
      if (!this.#signal.aborted && volume.state === 'here' && volume.lastTime < before) {
        if (this.#isWaiting(tenant, volume)) return;
        await this.archive(tenant, volume, archive, CALLER);
      }
  }

  /** Why a volume stays for now. */
  waits(tenant: KeptLog, { endId }: VolumeRow): string | undefined {
    // Sinks and authorities are sent what this server made itself.
    const unsent = tenant.other ? undefined : this.#options.unsent(tenant);
    const last = recordIndex(endId) - 1;
    if (!unsent || unsent.next > last) return undefined;
    return `records ${unsent.next} to ${last} of ${tenant.id} stay until the sink ${unsent.sink} has them, or is configured no more`;
  }

  #isWaiting(tenant: KeptTenant, volume: VolumeRow): boolean {
    const why = this.waits(tenant, volume);
    if (why !== undefined) this.#tell(why);
    return why !== undefined;
  }

  /** Undefined where it is not here any more. */
  async archive(
    tenant: KeptLog,
    volume: VolumeRow,
    archive: Archive,
    caller: string,
  ): Promise<VolumeRow | undefined> {
    const { folder, writer, clock, record, keyOf } = this.#options;
    const file = volumeFile(folder, volume);
    const origin = tenant.other?.origin ?? (await keyOf(tenant.no)).name;
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

  /** What is kept for no longer, unless the log is held. */
  async remove(tenant: KeptTenant): Promise<void> {
    const { folder, store, writer, clock, record } = this.#options;
    if (store.hold(tenant.other?.tenantNo ?? tenant.no)) return;
    for (const volume of await this.#beyond(tenant)) {
      if (this.#signal.aborted || this.#isWaiting(tenant, volume)) return;
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
}

const bytesHere = ({ state, bytes }: VolumeRow): number => (state === 'here' ? bytes : 0);

const rangeOf = ({ id, endId }: VolumeRow): object => ({
  first: recordIndex(id),
  last: recordIndex(endId) - 1,
});

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
