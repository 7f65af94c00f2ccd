import { Frontier } from './frontier.ts';
import { EMPTY_ROOT, HASH_BYTES, type Hash, hashesIn, nodeHash } from './hashes.ts';

/** Hashes of a tree as tiles keep them (C2SP tlog-tiles): those of heights that are a multiple of eight. */
export interface TileHashes {
  /** The hashes of a tile level from a place to before another, at most TILE_WIDTH of one tile, in a row. */
  read(level: number, from: number, end: number): Uint8Array;
}

export const TILE_WIDTH = 256;

/** The root of the tree of the first `size` leaves. */
export const rootOf = (tiles: TileHashes, size: number): Hash =>
  size === 0 ? EMPTY_ROOT : rangeRoot(tiles, 0, size);

/**
 * MTH(D[begin:end]) of RFC 6962 section 2.1, for ranges as its trees have them: `begin` is a multiple of the smallest
 * power of two that is not less than the length.
 */
export function rangeRoot(tiles: TileHashes, begin: number, end: number): Hash {
  const level = levelOf(end - begin);
  const unit = TILE_WIDTH ** level;
  const whole = Math.floor((end - begin) / unit);
  const first = begin / unit;
  const rest = begin + whole * unit;
  // Full subtrees of this level, then what is left, which is smaller than any of them.
  const frontier = new Frontier();
  for (const hash of hashesIn(tiles.read(level, first, first + whole))) frontier.append(hash);
  if (frontier.size !== whole) throw new Error('a tile has not as many hashes as the tree');
  return rest === end ? frontier.root() : frontier.rootWith(rangeRoot(tiles, rest, end));
}

/** The largest tile level of which a range this long holds a whole node, so that it holds less than a tile of them. */
function levelOf(length: number): number {
  let level = 0;
  while (TILE_WIDTH ** (level + 1) <= length) level += 1;
  return level;
}

/** PATH(index, D[size]) of RFC 6962 section 2.1.1, from the leaf's sibling up. */
export function inclusionProof(tiles: TileHashes, index: number, size: number): Hash[] {
  if (!(index >= 0 && index < size)) throw new RangeError('the index is not in the tree');
  const path: Hash[] = [];
  let [begin, end] = [0, size];
  while (end - begin > 1) {
    const middle = begin + splitOf(end - begin);
    const isLeft = index < middle;
    path.push(isLeft ? rangeRoot(tiles, middle, end) : rangeRoot(tiles, begin, middle));
    if (isLeft) end = middle;
    else begin = middle;
  }
  return path.toReversed();
}

/** PROOF(older, D[size]) of RFC 6962 section 2.1.2. */
export function consistencyProof(tiles: TileHashes, older: number, size: number): Hash[] {
  if (!(older >= 0 && older <= size)) throw new RangeError('the older tree is the larger one');
  if (older === 0 || older === size) return [];
  const proof: Hash[] = [];
  let [begin, end] = [0, size];
  let isWhole = true;
  while (older !== end) {
    const middle = begin + splitOf(end - begin);
    if (older <= middle) {
      proof.push(rangeRoot(tiles, middle, end));
      end = middle;
    } else {
      proof.push(rangeRoot(tiles, begin, middle));
      begin = middle;
      isWhole = false;
    }
  }
  if (!isWhole) proof.push(rangeRoot(tiles, begin, end));
  return proof.toReversed();
}

/** The largest power of two that is less than `length`. */
function splitOf(length: number): number {
  let split = 1;
  while (split * 2 < length) split *= 2;
  return split;
}

/** The hashes of the tile level above one, of full tiles in a row. */
export function tileRoots(hashes: Uint8Array): Uint8Array {
  const roots: Hash[] = [];
  const bytes = TILE_WIDTH * HASH_BYTES;
  for (let at = 0; at + bytes <= hashes.length; at += bytes)
    roots.push(rootOfTile(hashes.subarray(at, at + bytes)));
  return Buffer.concat(roots);
}

/** The root of a full tile: the hash that stands for it in the level above. */
export function rootOfTile(tile: Uint8Array): Hash {
  let hashes = [...hashesIn(tile)];
  if (hashes.length !== TILE_WIDTH) throw new Error('the tile is not full');
  while (hashes.length > 1)
    hashes = Array.from({ length: hashes.length / 2 }, (_, at) =>
      nodeHash(hashes[2 * at] as Hash, hashes[2 * at + 1] as Hash),
    );
  return hashes[0] as Hash;
}
