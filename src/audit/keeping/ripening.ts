import { sign } from 'node:crypto';
import { promisify } from 'node:util';
import { ServiceError } from '../../errors.ts';
import { checkpointText, parseCheckpoint } from '../../merkle/checkpoint.ts';
import { parseVkey } from '../../merkle/keys.ts';
import { isNoteOf, signedNote } from '../../merkle/note.ts';
import { verifyConsistency } from '../../merkle/proofs.ts';
import type { TenantNo } from '../../storage/rows.ts';
import type { VolumePlan, VolumeWish } from '../../storage/volume/making.ts';
import { MakingThread } from '../../storage/volume/thread.ts';
import { DAY_MS, type KeeperOptions, MIB, type Retention, sliced } from './options.ts';

type Ripe = Pick<VolumeWish, 'olderThan' | 'isPartial'>;

/** Whatever its age. */
const WHOLE: Ripe = { olderThan: Number.POSITIVE_INFINITY, isPartial: false };

/** Of what is kept for so many days, a volume is made eight times in that time, so that it is not kept for much longer. */
const VOLUMES_OF_RETENTION = 8;

const signed = promisify(sign);

/** Makes volumes of what is ripe. */
export class Ripening {
  readonly #options: KeeperOptions;
  readonly #signal: AbortSignal;

  constructor(options: KeeperOptions, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
  }

  /** All full tiles that a log has stated. Answers how many were made. */
  async whole(no: TenantNo): Promise<number> {
    await using thread = this.#thread();
    return await this.#makeOf(no, () => WHOLE, thread);
  }

  #thread(): MakingThread {
    return new MakingThread(this.#options.folder, this.#signal);
  }

  /** All that is old or much, of every log. `contained` hears of what failed, a log at a time. */
  async all(contained: (work: () => Promise<unknown>) => Promise<void>): Promise<void> {
    await using stack = new AsyncDisposableStack();
    let thread: MakingThread | undefined;
    const breathe = sliced();
    for (const { no, retention, other } of this.#options.tenants()) {
      if (this.#signal.aborted) return;
      await breathe();
      await contained(async () => {
        if (this.#ripe(no, retention) === undefined) return;
        thread ??= stack.use(this.#thread());
        if (other) await this.#makeOther(no, other.key, retention, thread);
        else await this.#makeOf(no, () => this.#ripe(no, retention), thread);
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
      const loose = this.#signal.aborted ? undefined : store.loose(no);
      const size = Math.min(loose?.size ?? 0, proofs.newest(no)?.size ?? 0);
      if (!loose || !wish || loose.first >= size) return made;
      const plan = await thread.plan({ no, first: loose.first, maxBytes, ...wish }, size);
      if (!plan) return made;
      const volume = await thread.make(plan, await this.#stated(plan));
      const { value } = await writer.run('putVolume', { volume, at: clock() });
      if (!value) return made;
    }
  }

  /** Of another server's log: up to a checkpoint that its own key has signed, as nobody else can sign one. */
  async #makeOther(no: TenantNo, key: string, retention: Retention, thread: MakingThread): Promise<void> {
    const { store, reached, writer, clock } = this.#options;
    const loose = this.#signal.aborted ? undefined : store.loose(no);
    if (!loose) return;
    const note = reached(no, loose.first, loose.bytes > this.#maxBytes(retention) ? 'first' : 'newest');
    if (note === undefined) return;
    const { size: end, root, note: signed } = parseCheckpoint(note);
    if (!isNoteOf(signed, parseVkey(key))) throw unfit(no, 'its checkpoint is not signed by its key');
    const volume = await thread.make({ no, first: loose.first, end, root }, note);
    await writer.run('putVolume', { volume, at: clock() });
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
}

const unfit = (no: TenantNo, why: string): ServiceError =>
  new ServiceError('unavailable', 'no volume was made', { detail: `log ${no}: ${why}` });
