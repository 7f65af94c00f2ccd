import path from 'node:path';
import { LRUCache } from 'lru-cache';
import { TILE_WIDTH } from '../../merkle/tree.ts';
import type { Connection } from '../database.ts';
import { reportFault } from '../faults.ts';
import { damagedVolume } from '../log/damage.ts';
import { recordId, recordIndex, recordTenant, type TenantNo } from '../rows.ts';
import { VolumeFile } from './file.ts';

/** Where a volume is: in the store's folder, where it was archived to, or removed, but for its hashes. */
export const volumeStates = ['here', 'archived', 'removed'] as const;
export type VolumeState = (typeof volumeStates)[number];

/** What the store says of a volume. */
export interface VolumeRow {
  /** Row ids of its first record and of the one after its last. */
  readonly id: number;
  readonly endId: number;
  /** Of the file. */
  readonly bytes: number;
  /** Of the records' bodies. */
  readonly bodyBytes: number;
  /** SHA-256 of the file, as hex. */
  readonly sha256: string;
  /** Milliseconds since the epoch, of its earliest and its latest record, and when it was made. */
  readonly firstTime: number;
  readonly lastTime: number;
  readonly madeAt: number;
  readonly state: VolumeState;
  /** Where it was archived; empty else. */
  readonly place: string;
  /** When it was archived or removed; 0 while it is here. */
  readonly stateAt: number;
}

export const VOLUME_COLUMNS = `id, end_id AS endId, bytes, body_bytes AS bodyBytes, sha256, first_time AS firstTime,
  last_time AS lastTime, made_at AS madeAt, state, place, state_at AS stateAt`;

/** A log's volumes stand in a folder that is called by its number: it keeps that when it is set aside. */
export const volumeFolder = (store: string, no: TenantNo): string => path.join(store, 'volumes', String(no));
export const volumeName = (first: number, end: number): string => `${first}-${end}.jsonl.zst`;

export const volumeFile = (store: string, { id, endId }: Pick<VolumeRow, 'id' | 'endId'>): string =>
  path.join(volumeFolder(store, recordTenant(id)), volumeName(recordIndex(id), recordIndex(endId)));

/** How many files are kept open, and how many frames unpacked: a page of a query mostly stays in one of each. */
const OPEN_FILES = 16;
const OPEN_MS = 60_000;
const KEPT_FRAMES = 8;

type Frame = ReturnType<VolumeFile['frameOf']>;

/** Why there is no body: it was archived or removed, or cannot be read, which was reported. */
export type NoEntry = Exclude<VolumeState, 'here'> | 'damaged';

/** Reads entries of logs that stand in volumes. */
export class Volumes {
  readonly #store: string;
  readonly #covering;
  readonly #removed;
  readonly #files = new LRUCache<number, VolumeFile>({
    max: OPEN_FILES,
    // One that was taken away keeps its room on the disk for as long as it is open.
    ttl: OPEN_MS,
    ttlAutopurge: true,
    dispose: (file) => file[Symbol.dispose](),
  });
  readonly #frames = new LRUCache<number, Frame>({ max: KEPT_FRAMES });

  constructor(db: Connection) {
    this.#store = path.dirname(db.name);
    this.#removed = db
      .prepare<[number, number], number | null>(
        "SELECT max(end_id) FROM volumes WHERE id >= ? AND id < ? AND state = 'removed'",
      )
      .pluck();
    this.#covering = db.prepare<[number], VolumeRow>(
      `SELECT ${VOLUME_COLUMNS} FROM volumes WHERE id <= ? ORDER BY id DESC LIMIT 1`,
    );
  }

  /** The volume that holds a record, wherever it is now. */
  covering(id: number): VolumeRow | undefined {
    const row = this.#covering.get(id);
    return row && id < row.endId ? row : undefined;
  }

  /** The index before which all records were removed. */
  removedEnd(no: TenantNo): number {
    const endId = this.#removed.get(recordId(no, 0), recordId((no + 1) as TenantNo, 0));
    return typeof endId === 'number' ? recordIndex(endId) : 0;
  }

  /** Undefined where no volume is to hold it. Whether it is the one that was written its hash tells. */
  entry(no: TenantNo, index: number): Uint8Array | NoEntry | undefined {
    const row = this.covering(recordId(no, index));
    if (!row) return undefined;
    if (row.state !== 'here') return row.state;
    const frame = this.#frames.get(frameKey(no, index));
    if (frame && index >= frame.first && index < frame.first + frame.entries.length)
      return frame.entries[index - frame.first];
    try {
      const read = this.#open(row).frameOf(index);
      this.#frames.set(frameKey(no, index), read);
      return read.entries[index - read.first];
    } catch (error) {
      this.#files.delete(row.id);
      reportFault(damagedVolume(row, (error as Error).message));
      return 'damaged';
    }
  }

  #open(row: VolumeRow): VolumeFile {
    const known = this.#files.get(row.id);
    if (known) return known;
    const file = new VolumeFile(volumeFile(this.#store, row));
    this.#files.set(row.id, file);
    return file;
  }
}

/** Of the tile that holds it: two volumes may hold a part of one, so whoever finds a frame looks whether it is there. */
const frameKey = (no: TenantNo, index: number): number => recordId(no, Math.floor(index / TILE_WIDTH));
