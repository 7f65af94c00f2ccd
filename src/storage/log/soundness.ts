import { Frontier } from '../../merkle/frontier.ts';
import { hashesIn, isSame } from '../../merkle/hashes.ts';
import { TILE_WIDTH, type TileHashes } from '../../merkle/tree.ts';
import { Damaged, type StoreFault } from '../faults.ts';
import { recordId, recordIndex, recordTenant } from '../rows.ts';
import type { Volumes } from '../volume/volumes.ts';
import { damagedRecords } from './damage.ts';
import { Heads } from './heads.ts';
import type { LogTrees } from './tree.ts';

export interface RunRow {
  readonly id: number;
  readonly heads: Uint8Array;
  readonly bodies: Uint8Array;
}

/** Records that are damaged one after the other, told as one. */
export class Damages {
  readonly #tell: (fault: StoreFault) => void;
  #from = 0;
  #end = 0;

  constructor(tell: (fault: StoreFault) => void) {
    this.#tell = tell;
  }

  /** By row ids of records, the last one excluded. */
  add(from: number, end: number): void {
    if (from !== this.#end || recordIndex(from) === 0) this.flush();
    if (this.#end === 0) this.#from = from;
    this.#end = end;
  }

  flush(): void {
    if (this.#end === 0) return;
    const first = recordIndex(this.#from);
    this.#tell(damagedRecords(recordTenant(this.#from), first, first + this.#end - this.#from));
    this.#end = 0;
  }
}

/**
 * Looks whether a run is what was written, every record of it, and stands where the one before it ends. Answers the row
 * id of the record after its last.
 */
export function lookAt(
  { id, heads: bytes, bodies }: RunRow,
  expectedId: number,
  damages: Damages,
  volumes: Volumes,
): number {
  const heads = Heads.stored(bytes);
  const end = id + heads.capacity;
  if (id > expectedId) damages.add(expectedId, id);
  // One that stands within another, or holds nothing, was put there.
  if (id < expectedId || heads.capacity === 0) damages.add(id, Math.max(end, id + 1));
  else if (!heads.isSound(id)) damages.add(id, end);
  else
    for (let at = 0; at < heads.capacity; at += 1)
      if (!isSound(id + at, heads, at, bodies, volumes)) damages.add(id + at, id + at + 1);
  return Math.max(end, expectedId);
}

function isSound(id: number, heads: Heads, at: number, bodies: Uint8Array, volumes: Volumes): boolean {
  const body = bodies.subarray(heads.start(at), heads.end(at));
  if (bodies.length > 0) return heads.isOf(at, body);
  const entry = volumes.entry(recordTenant(id), recordIndex(id)) ?? body;
  return typeof entry === 'string' ? entry !== 'damaged' : heads.isOf(at, entry);
}

/**
 * Looks whether the hashes above full tiles that end at a row id are of what stands below them: a record may have been
 * changed with its own hash, and those are in another place. Throws `Damaged` where there are none.
 */
export function lookAbove(trees: LogTrees, endId: number, tell: (fault: StoreFault) => void): void {
  const no = recordTenant(endId - 1);
  const tiles = trees.tilesOf(no);
  let [unit, end] = [1, endId - recordId(no, 0)];
  for (let level = 0; end > 0 && end % TILE_WIDTH === 0; level += 1) {
    const below = level === 0 ? leavesThere(tiles, end) : tiles.read(level, end - TILE_WIDTH, end);
    if (!below) return;
    const frontier = new Frontier();
    for (const hash of hashesIn(below)) frontier.append(hash);
    const above = end / TILE_WIDTH;
    if (!isSame(frontier.root(), tiles.read(level + 1, above - 1, above)))
      tell(damagedRecords(no, (end - TILE_WIDTH) * unit, end * unit));
    [unit, end] = [unit * TILE_WIDTH, above];
  }
}

/** Of the tile that ends there; undefined where any is missing, which was told by who looked at its run. */
function leavesThere(tiles: TileHashes, end: number): Uint8Array | undefined {
  try {
    return tiles.read(0, end - TILE_WIDTH, end);
  } catch (error) {
    if (!(error instanceof Damaged)) throw error;
    return undefined;
  }
}
