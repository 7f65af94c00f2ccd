import type { Clock } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import { bundleOf } from '../../merkle/bundle.ts';
import type { SignedCheckpoint } from '../../merkle/checkpoint.ts';
import type { Hash } from '../../merkle/hashes.ts';
import { proofText } from '../../merkle/proof-file.ts';
import type { TileName } from '../../merkle/tile-path.ts';
import { consistencyProof, inclusionProof, TILE_WIDTH } from '../../merkle/tree.ts';
import type { Connection } from '../../storage/database.ts';
import { Damaged, reportFault } from '../../storage/faults.ts';
import { type RecordStore, recordStore } from '../../storage/log/records.ts';
import { LogTrees } from '../../storage/log/tree.ts';
import { recordIndex, type TenantNo } from '../../storage/rows.ts';
import { isoTime } from '../../time.ts';

/** How soon a new record is covered by a checkpoint, at most, where not many logs grow at once. */
const COVERED_MS = 1_000;

/** How long what witnesses have signed is shown though the log has grown: those that do not answer hide nothing. */
const STALE_MS = 300_000;

/** What proves a log to strangers: checkpoints, tiles, entries and receipts, read from the store. */
export class LogProofs {
  readonly #clock: Clock;
  readonly #trees: LogTrees;
  readonly #records: RecordStore;

  constructor(reader: Connection, clock: Clock) {
    this.#clock = clock;
    this.#trees = new LogTrees(reader);
    this.#records = recordStore(reader);
  }

  /** Undefined where there is none yet. */
  newest(no: TenantNo): SignedCheckpoint | undefined {
    return readable(() => this.#trees.checkpoint(no));
  }

  /** What strangers are shown: the newest that witnesses have signed, or else the newest. Throws as below. */
  shown(no: TenantNo): SignedCheckpoint {
    const newest = this.checkpoint(no);
    const cosigned = readable(() => this.#trees.cosigned(no));
    if (!cosigned || (cosigned.size < newest.size && this.#clock() - cosigned.at > STALE_MS)) return newest;
    return cosigned;
  }

  /** That the newer tree is the older one with leaves appended. */
  consistency(no: TenantNo, older: number, size: number): Hash[] {
    return readable(() => consistencyProof(this.#trees.tilesOf(no), older, size));
  }

  /** Throws `not_found` where there is none yet, and `unavailable` where the store is damaged, as all below do. */
  checkpoint(no: TenantNo): SignedCheckpoint {
    const checkpoint = this.newest(no);
    if (!checkpoint)
      throw new ServiceError('not_found', 'the log has no checkpoint yet; the first record makes one');
    return checkpoint;
  }

  /** A tile or bundle of the tree of the newest checkpoint, as it is served. Throws `not_found` beyond it. */
  tile(no: TenantNo, { level, at, width }: TileName): Uint8Array {
    const { size } = this.checkpoint(no);
    const unit = level === 'entries' ? 1 : TILE_WIDTH ** level;
    const first = at * TILE_WIDTH;
    if (first + width > Math.floor(size / unit))
      throw new ServiceError(
        'not_found',
        `the log's newest checkpoint, of ${size} entries, has no such tile`,
      );
    if (level === 'entries') return bundleOf(this.#entries(no, first, width));
    return readable(() => this.#trees.tilesOf(no).read(level, first, first + width));
  }

  /** One file that proves an entry: C2SP tlog-proof, with the entry as its extra data. Throws `not_found` too. */
  receipt(no: TenantNo, index: number): string {
    const newest = this.newest(no);
    const size = newest?.size ?? 0;
    if (index >= size && index < this.#records.size(no))
      throw new ServiceError(
        'unavailable',
        'the next checkpoint will cover the record; ask again in a second',
        {
          retryAfterMs: COVERED_MS,
        },
      );
    if (!newest || index >= size) throw new ServiceError('not_found', `the log has no record ${index}`);
    // One that witnesses have signed proves more, where it is there yet.
    const shown = this.shown(no);
    const checkpoint = index < shown.size ? shown : newest;
    const [entry] = this.#entries(no, index, 1);
    const path = readable(() => inclusionProof(this.#trees.tilesOf(no), index, checkpoint.size));
    return proofText({ extra: entry, index, path, checkpoint });
  }

  /** What is damaged is not handed out: the record store left it out, and said so. */
  #entries(no: TenantNo, first: number, count: number): Uint8Array[] {
    const records = this.#records.range(no, first, count);
    const missing = Array.from({ length: count }, (_, at) => first + at).find(
      (index, at) => records[at]?.index !== index,
    );
    if (missing === undefined) return records.map(({ body }) => body);
    refuseGone(this.#records, no, missing);
    throw new ServiceError('unavailable', 'the store cannot be read', {
      detail: `record ${missing} is damaged`,
    });
  }
}

/** Throws `gone` where it was archived or removed. */
function refuseGone(records: RecordStore, no: TenantNo, index: number): void {
  const volume = records.volume(no, index);
  if (!volume || volume.state === 'here') return;
  const [from, to] = [recordIndex(volume.id), recordIndex(volume.endId) - 1];
  throw new ServiceError(
    'gone',
    volume.state === 'archived'
      ? `records ${from} to ${to} were archived on ${isoTime(volume.stateAt)}: ${volume.place}`
      : `records ${from} to ${to} were removed on ${isoTime(volume.stateAt)}, as the tenant's retention has it; their hashes are kept`,
  );
}

function readable<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof Damaged)) throw error;
    reportFault(error.fault);
    throw new ServiceError('unavailable', 'the store cannot be read', {
      cause: error,
      detail: error.message,
    });
  }
}
