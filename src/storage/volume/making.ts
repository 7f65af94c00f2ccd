import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { fromBase64, toBase64 } from '../../merkle/base64.ts';
import { parseCheckpoint } from '../../merkle/checkpoint.ts';
import { Frontier } from '../../merkle/frontier.ts';
import { isSame, leafHash } from '../../merkle/hashes.ts';
import { rootOf, TILE_WIDTH } from '../../merkle/tree.ts';
import type { Connection } from '../database.ts';
import { type Disk, makeFolder, syncFolder } from '../files.ts';
import { Heads } from '../log/heads.ts';
import { edgeOf, LogTrees } from '../log/tree.ts';
import { recordId, recordIndex, type TenantNo } from '../rows.ts';
import { endOfVolume, entriesFrame, MOST_PARTS_BYTES, VolumeFile } from './file.ts';
import { type VolumeRow, volumeFile, volumeFolder } from './volumes.ts';

/** Which records are to become a volume: from one on, as many as have so many bytes, and none that is not older. */
export interface VolumeWish {
  readonly no: TenantNo;
  readonly first: number;
  /** Of bodies and of what they have in common. */
  readonly maxBytes: number;
  /** Milliseconds since the epoch. */
  readonly olderThan: number;
  /** Whether it may end within a tile, which is served as one no more once a part of it is gone. */
  readonly isPartial: boolean;
}

/** What it will be, if the log says so in a checkpoint. */
export interface VolumePlan {
  readonly no: TenantNo;
  readonly first: number;
  readonly end: number;
  readonly root: Uint8Array;
}

/** What was made, but for what only the store decides. */
export type MadeVolume = Omit<VolumeRow, 'madeAt' | 'state' | 'place' | 'stateAt'>;

interface RunRow {
  readonly id: number;
  readonly heads: Uint8Array;
  readonly bodies: Uint8Array;
}

/** Makes volumes of what stands in the store. What it reads may be damaged, and then there is no volume. */
export class VolumeMaker {
  readonly #folder: string;
  readonly #disk: Disk;
  readonly #trees: LogTrees;
  readonly #heads;
  readonly #runs;
  readonly #parts;
  readonly #part;

  constructor(db: Connection, folder: string, disk: Disk = fs) {
    this.#folder = folder;
    this.#disk = disk;
    this.#trees = new LogTrees(db);
    this.#heads = db.prepare<[number, number], { id: number; heads: Uint8Array; bytes: number }>(
      'SELECT id, heads, length(bodies) AS bytes FROM runs WHERE id >= ? AND id < ? ORDER BY id',
    );
    this.#runs = db.prepare<[number, number], RunRow>(
      'SELECT id, heads, bodies FROM runs WHERE id >= ? AND id < ? ORDER BY id',
    );
    this.#parts = db.prepare<[number, number], { lastId: number; bytes: number }>(
      'SELECT last_id AS lastId, length(body) AS bytes FROM parts WHERE tenant_no = ? AND last_id >= ? ORDER BY last_id',
    );
    this.#part = db
      .prepare<[number, string], string>('SELECT body FROM parts WHERE tenant_no = ? AND digest = ?')
      .pluck();
  }

  /** Undefined where there is nothing to be made: too little that is old, or an older version wrote it. */
  plan({ no, first, maxBytes, olderThan, isPartial }: VolumeWish, size: number): VolumePlan | undefined {
    const parts = this.#parts.all(no, recordId(no, first));
    let [end, bytes] = [first, 0];
    for (const { id, heads: stored, bytes: more } of this.#heads.iterate(
      recordId(no, first),
      recordId(no, size),
    )) {
      const heads = Heads.stored(stored);
      const next = recordIndex(id) + heads.capacity;
      if (!heads.hasNames || heads.time(heads.capacity - 1) >= olderThan || next > size) break;
      bytes += more;
      while ((parts[0]?.lastId ?? Infinity) < recordId(no, next)) bytes += parts.shift()?.bytes ?? 0;
      // A tile at least, however large.
      if (bytes > maxBytes && end - (end % TILE_WIDTH) > first) break;
      end = next;
    }
    const whole = end - (end % TILE_WIDTH);
    if (whole > first || !isPartial) end = Math.max(first, whole);
    if (end === first) return undefined;
    return { no, first, end, root: rootOf(this.#trees.tilesOf(no), end) };
  }

  /**
   * Writes the file, reads it again, and answers what is to stand in the store for it: the file is on the disk then.
   * Throws where the entries are not those of the checkpoint, and leaves nothing.
   */
  make({ no, first, end }: VolumePlan, checkpoint: string): MadeVolume {
    const name = volumeFile(this.#folder, { id: recordId(no, first), endId: recordId(no, end) });
    const part = `${name}.part`;
    makeFolder(volumeFolder(this.#folder, no), this.#disk);
    try {
      const made = this.#written(part, no, first, end, checkpoint);
      using file = new VolumeFile(part);
      provenVolume(file);
      this.#disk.renameSync(part, name);
      syncFolder(volumeFolder(this.#folder, no), this.#disk);
      return made;
    } catch (error) {
      fs.rmSync(part, { force: true });
      throw error;
    }
  }

  #written(part: string, no: TenantNo, first: number, end: number, checkpoint: string): MadeVolume {
    const at = this.#disk.openSync(part, 'w', 0o600);
    try {
      const out = new Output(at, this.#disk);
      const frames = [0];
      const digests = new Set<string>();
      let [bodyBytes, firstTime, lastTime] = [0, Infinity, -Infinity];
      for (const { entries, times } of this.#tiles(no, first, end)) {
        for (const entry of entries) {
          bodyBytes += entry.length;
          for (const digest of partsNamedIn(entry)) digests.add(digest);
        }
        for (const time of times)
          [firstTime, lastTime] = [Math.min(firstTime, time), Math.max(lastTime, time)];
        out.write(entriesFrame(entries));
        frames.push(out.bytes);
      }
      const { origin } = parseCheckpoint(checkpoint);
      const before = edgeOf(this.#trees.tilesOf(no), first).roots.map(toBase64);
      out.write(
        endOfVolume({ v: 1, origin, first, end, frames, before, checkpoint }, this.#partsOf(no, digests)),
      );
      this.#disk.fsyncSync(at);
      return {
        id: recordId(no, first),
        endId: recordId(no, end),
        bytes: out.bytes,
        bodyBytes,
        sha256: out.sha256,
        firstTime: Math.floor(firstTime),
        lastTime: Math.ceil(lastTime),
      };
    } finally {
      this.#disk.closeSync(at);
    }
  }

  /** The entries of each tile, or of the part of one that is in the range, with their times. */
  *#tiles(no: TenantNo, first: number, end: number): Generator<{ entries: Uint8Array[]; times: number[] }> {
    let entries: Uint8Array[] = [];
    let times: number[] = [];
    let next = first;
    for (const { id, heads: stored, bodies } of this.#runs.iterate(recordId(no, first), recordId(no, end))) {
      const heads = Heads.stored(stored);
      if (recordIndex(id) !== next) throw new Error(`record ${next} is missing`);
      for (let at = 0; at < heads.capacity; at += 1, next += 1) {
        entries.push(bodies.subarray(heads.start(at), heads.end(at)));
        times.push(heads.time(at));
      }
      if (next % TILE_WIDTH !== 0 && next < end) continue;
      yield { entries, times };
      [entries, times] = [[], []];
    }
    if (next !== end) throw new Error(`record ${next} is missing`);
  }

  #partsOf(no: TenantNo, digests: ReadonlySet<string>): string[] {
    let bytes = 0;
    return [...digests].map((digest) => {
      const body = this.#part.get(no, digest);
      if (body === undefined) throw new Error(`what records have in common under ${digest} is missing`);
      bytes += Buffer.byteLength(body) + 1;
      if (bytes > MOST_PARTS_BYTES) throw new Error('its records have too much in common');
      return body;
    });
  }
}

/** Bytes on their way to a file, counted and hashed. */
class Output {
  readonly #at: number;
  readonly #disk: Disk;
  readonly #hash = createHash('sha256');
  bytes = 0;

  constructor(at: number, disk: Disk) {
    this.#at = at;
    this.#disk = disk;
  }

  write(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) done += this.#disk.writeSync(this.#at, bytes, done);
    this.#hash.update(bytes);
    this.bytes += bytes.length;
  }

  /** Called once, at the end. */
  get sha256(): string {
    return this.#hash.digest('hex');
  }
}

/**
 * Hashes every entry of a volume, and shows that they are those of its checkpoint, and that the parts they name are
 * there. Who signed the checkpoint is not looked at. Throws, in its reader's words; `each` hears of every entry.
 */
export function provenVolume(file: VolumeFile, each: (done: number) => void = () => {}): void {
  const { first, end, before, origin, checkpoint: source } = file.index;
  const checkpoint = parseCheckpoint(source);
  if (checkpoint.origin !== origin) throw new Error(`its checkpoint is of the log ${checkpoint.origin}`);
  if (checkpoint.size !== end)
    throw new Error(`its checkpoint is of ${checkpoint.size} entries, and it ends with ${end}`);
  const frontier = Frontier.of(
    first,
    before.map((text) => fromBase64(text) ?? new Uint8Array()),
  );
  const parts = new Set(file.parts().map((body) => createHash('sha256').update(body).digest('hex')));
  for (let at = first; at < end; ) {
    const { entries } = file.frameOf(at);
    for (const entry of entries) {
      frontier.append(leafHash(entry));
      for (const digest of partsNamedIn(entry))
        if (!parts.has(digest)) throw new Error(`what entry ${at} has in common with others is missing`);
      at += 1;
    }
    each(at - first);
  }
  if (!isSame(frontier.root(), checkpoint.root))
    throw new Error(`entries ${first} to ${end - 1} are not those of its checkpoint`);
}

const NAMED = Buffer.from('"input_parts"');

/** The digests of what an entry has in common with others. Of what is no record there is none. */
function partsNamedIn(entry: Uint8Array): string[] {
  const bytes = Buffer.from(entry.buffer, entry.byteOffset, entry.byteLength);
  if (!bytes.includes(NAMED)) return [];
  try {
    const { input_parts: parts = {} } = JSON.parse(bytes.toString()) as {
      input_parts?: Record<string, unknown>;
    };
    return Object.values(parts).filter((each) => typeof each === 'string');
  } catch {
    return [];
  }
}
