import { parseCheckpoint, type SignedCheckpoint } from '../../merkle/checkpoint.ts';
import { Frontier } from '../../merkle/frontier.ts';
import { HASH_BYTES, hashesIn, isSame, leafHash } from '../../merkle/hashes.ts';
import { rangeRoot, rootOf, TILE_WIDTH, type TileHashes } from '../../merkle/tree.ts';
import type { Connection } from '../database.ts';
import { Damaged } from '../faults.ts';
import { Unfiled } from '../journal/unfiled.ts';
import { RUN_RECORDS, recordId, recordIndex, type TenantNo } from '../rows.ts';
import { damagedCheckpoint, damagedRecords, damagedTree } from './damage.ts';
import { Heads } from './heads.ts';

/**
 * The Merkle tree over a log. Level 0 stands with the heads of its runs; of the levels above a hash is a row, written in
 * the commit that makes it final.
 */
export class LogTrees {
  readonly #heads;
  readonly #bodies;
  readonly #tiles;
  readonly #checkpoint;
  readonly #cosigned;
  readonly #unfiled: Unfiled;

  constructor(db: Connection) {
    this.#unfiled = Unfiled.of(db);
    this.#heads = db.prepare<[number, number], { id: number; heads: Uint8Array }>(
      'SELECT id, heads FROM runs WHERE id >= ? AND id < ? ORDER BY id',
    );
    this.#bodies = db.prepare<[number], Uint8Array>('SELECT bodies FROM runs WHERE id = ?').pluck();
    this.#tiles = db
      .prepare<[number, number, number, number], Uint8Array>(
        'SELECT hash FROM tiles WHERE tenant_no = ? AND level = ? AND at >= ? AND at < ? ORDER BY at',
      )
      .pluck();
    this.#cosigned = db.prepare<[number], Stored & { at: number }>(
      'SELECT size, note, at FROM cosigned WHERE tenant_no = ?',
    );
    this.#checkpoint = db.prepare<[number], Stored>('SELECT size, note FROM checkpoints WHERE tenant_no = ?');
  }

  /** What the log stated of itself last; undefined where it has not yet. Throws `Damaged`. */
  checkpoint(no: TenantNo): SignedCheckpoint | undefined {
    return parsed(no, this.#checkpoint.get(no));
  }

  /** The newest that witnesses have signed, and when; undefined where none has. Throws `Damaged`. */
  cosigned(no: TenantNo): (SignedCheckpoint & { readonly at: number }) | undefined {
    const row = this.#cosigned.get(no);
    const checkpoint = parsed(no, row);
    return row && checkpoint && { ...checkpoint, at: row.at };
  }

  /** What is not there, or not sound, throws `Damaged`. */
  tilesOf(no: TenantNo): TileHashes {
    return {
      read: (level, from, end) =>
        level === 0 ? this.#leaves(no, from, end) : this.#above(no, level, from, end),
    };
  }

  /**
   * The right edge of the tree at a size, and how many of its leaves the newest checkpoint is of. Throws `Damaged`, also
   * where they are not those that the checkpoint states.
   */
  edge(no: TenantNo, size: number): { frontier: Frontier; stated: number } {
    const tiles = this.tilesOf(no);
    const frontier = edgeOf(tiles, size);
    const checkpoint = this.checkpoint(no);
    if (!checkpoint) return { frontier, stated: 0 };
    const { size: stated, root } = checkpoint;
    if (stated > size) throw new Damaged(damagedTree(no, stated, `it ends with ${size}`));
    const found = stated === size ? frontier.root() : rootOf(tiles, stated);
    if (!isSame(root, found)) throw new Damaged(damagedTree(no, stated, 'its records are others'));
    return { frontier, stated };
  }

  #leaves(no: TenantNo, from: number, end: number): Uint8Array {
    const start = from - (from % RUN_RECORDS);
    const leaves = Buffer.alloc((end - from) * HASH_BYTES);
    let next = from;
    for (const { id, heads: bytes } of this.#runs(no, start, end)) {
      const first = recordIndex(id);
      const heads = Heads.stored(bytes);
      const last = Math.min(end, first + heads.capacity);
      if (last <= next) continue;
      if (first > next || !heads.isSound(id)) break;
      const [low, high] = [next - first, last - first];
      leaves.set(heads.leaves(low, high) ?? this.#hashed(id, heads, low, high), (next - from) * HASH_BYTES);
      next = last;
      if (next === end) return leaves;
    }
    throw new Damaged(damagedRecords(no, next, end));
  }

  *#runs(no: TenantNo, from: number, end: number): Generator<{ id: number; heads: Uint8Array }> {
    const unfiled = this.#unfiled.rows(no, from, end);
    yield* this.#heads.iterate(recordId(no, from), recordId(no, end));
    yield* unfiled;
  }

  /** Of a run that an older version wrote. What was damaged in it then has a hash that is no record's. */
  #hashed(id: number, heads: Heads, from: number, to: number): Uint8Array {
    const bodies = this.#bodies.get(id) ?? new Uint8Array();
    const leaves = Buffer.alloc((to - from) * HASH_BYTES);
    for (let at = from; at < to; at += 1) {
      const body = bodies.subarray(heads.start(at), heads.end(at));
      if (heads.isOf(at, body)) leaves.set(leafHash(body), (at - from) * HASH_BYTES);
    }
    return leaves;
  }

  #above(no: TenantNo, level: number, from: number, end: number): Uint8Array {
    const hashes = this.#tiles.all(no, level, from, end);
    const unit = TILE_WIDTH ** level;
    if (hashes.length !== end - from || hashes.some(({ length }) => length !== HASH_BYTES))
      throw new Damaged(damagedRecords(no, from * unit, end * unit));
    return Buffer.concat(hashes);
  }
}

function parsed(no: TenantNo, row: Stored | undefined): SignedCheckpoint | undefined {
  if (row === undefined) return undefined;
  try {
    const checkpoint = parseCheckpoint(row.note);
    if (checkpoint.size === row.size) return checkpoint;
    throw new Error(`it stands as one of ${row.size} records`);
  } catch (cause) {
    throw new Damaged(damagedCheckpoint(no, (cause as Error).message));
  }
}

interface Stored {
  readonly size: number;
  readonly note: string;
}

/** The right edge of a tree of `size` leaves, by its largest subtrees. */
export function edgeOf(tiles: TileHashes, size: number): Frontier {
  const frontier = new Frontier();
  while (frontier.size < size) {
    const height = Math.floor(Math.log2(size - frontier.size));
    frontier.appendTree(Buffer.from(rangeRoot(tiles, frontier.size, frontier.size + 2 ** height)), height);
  }
  return frontier;
}

/** Writes what stands above level 0 of a log that has none of it yet. Throws `Damaged`. */
export function growTiles(db: Connection, no: TenantNo, size: number): void {
  const tiles = new LogTrees(db).tilesOf(no);
  const insert = tileWriter(db);
  const frontier = new Frontier();
  for (let from = 0; from < size; from += TILE_WIDTH)
    for (const leaf of hashesIn(tiles.read(0, from, Math.min(size, from + TILE_WIDTH))))
      frontier.append(leaf, (level, at, hash) => insert(no, level, at, hash));
}

export function tileWriter(
  db: Connection,
): (no: number, level: number, at: number, hash: Uint8Array) => void {
  const insert = db.prepare(
    'INSERT INTO tiles (tenant_no, level, at, hash) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING',
  );
  return (no, level, at, hash) => {
    if (insert.run(no, level, at, hash).changes === 1) return;
    // It was there before its records were.
    const unit = TILE_WIDTH ** level;
    throw new Damaged(damagedRecords(no as TenantNo, at * unit, (at + 1) * unit));
  };
}
