import { hash } from 'node:crypto';
import type { Hash } from '../../src/merkle/hashes.ts';
import type { TileHashes } from '../../src/merkle/tree.ts';

/** RFC 6962 section 2.1 as it is written, recursively and without a thought for speed; nothing here is of src/merkle. */

const sha256 = (...parts: readonly Uint8Array[]): Hash => hash('sha256', Buffer.concat(parts), 'buffer');

export const leafOf = (entry: Uint8Array): Hash => sha256(Buffer.of(0), entry);
export const nodeOf = (left: Hash, right: Hash): Hash => sha256(Buffer.of(1), left, right);
export const emptyRoot = sha256();

/** The hash that stands for nothing in particular. */
export const noise = (seed: string | number): Hash => sha256(Buffer.from(`${seed}`));

/** k: "the largest power of two smaller than n". */
export const splitOf = (n: number): number => {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
};

export class ReferenceTree {
  readonly leaves: readonly Hash[];
  /** Subtrees are the same in every tree that has them. */
  readonly #known = new Map<number, Hash>();

  constructor(leaves: readonly Hash[]) {
    this.leaves = leaves;
  }

  /** MTH(D[begin:end]). */
  mth(begin: number, end: number): Hash {
    if (begin === end) return emptyRoot;
    if (end - begin === 1) return this.leaves[begin] as Hash;
    const key = begin * 2 ** 24 + end;
    const known = this.#known.get(key);
    if (known) return known;
    const middle = begin + splitOf(end - begin);
    const made = nodeOf(this.mth(begin, middle), this.mth(middle, end));
    this.#known.set(key, made);
    return made;
  }

  /** PATH(m, D[begin:end]), m counted from `begin`. */
  path(m: number, begin: number, end: number): Hash[] {
    if (end - begin === 1) return [];
    const k = splitOf(end - begin);
    return m < k
      ? [...this.path(m, begin, begin + k), this.mth(begin + k, end)]
      : [...this.path(m - k, begin + k, end), this.mth(begin, begin + k)];
  }

  /** PROOF(m, D[n]). */
  proof = (m: number, n: number): Hash[] => this.#subproof(m, 0, n, true);

  #subproof(m: number, begin: number, end: number, isWhole: boolean): Hash[] {
    if (m === end - begin) return isWhole ? [] : [this.mth(begin, end)];
    const k = splitOf(end - begin);
    return m <= k
      ? [...this.#subproof(m, begin, begin + k, isWhole), this.mth(begin + k, end)]
      : [...this.#subproof(m - k, begin + k, end, false), this.mth(begin, begin + k)];
  }

  /** The n-th hash of a tile level, by the formula of C2SP tlog-tiles. */
  tileHash = (level: number, n: number): Hash => this.mth(n * 256 ** level, (n + 1) * 256 ** level);

  /** Only what the tiles of the tree of that size have, and only in the way that TileHashes promises to ask. */
  tiles(size: number): TileHashes {
    return {
      read: (level, from, end) => {
        if (!(from >= 0 && from < end && end <= Math.floor(size / 256 ** level)))
          throw new Error(`the tree of ${size} has no hashes ${from} to ${end} of level ${level}`);
        if (Math.floor(from / 256) !== Math.floor((end - 1) / 256))
          throw new Error(`${from} to ${end} are of two tiles`);
        return Buffer.concat(Array.from({ length: end - from }, (_, at) => this.tileHash(level, from + at)));
      },
    };
  }
}

export const referenceTree = (size: number): ReferenceTree =>
  new ReferenceTree(Array.from({ length: size }, (_, at) => noise(at)));

/** The root that PATH(m, D[n]) leads to; undefined where it is not as long as one. */
export function rootByPath(leaf: Hash, m: number, n: number, path: readonly Hash[]): Hash | undefined {
  if (n === 1) return path.length === 0 ? leaf : undefined;
  const last = path.at(-1);
  const k = splitOf(n);
  const below = rootByPath(leaf, m < k ? m : m - k, m < k ? k : n - k, path.slice(0, -1));
  if (!last || !below) return undefined;
  return m < k ? nodeOf(below, last) : nodeOf(last, below);
}

/** Both roots that PROOF(m, D[n]) leads to, from the older one. */
export function rootsByProof(
  older: Hash,
  m: number,
  n: number,
  proof: readonly Hash[],
  isWhole = true,
): readonly [older: Hash, newer: Hash] | undefined {
  const last = proof.at(-1);
  if (m === n) {
    const rest = isWhole ? older : last;
    return rest && proof.length === (isWhole ? 0 : 1) ? [rest, rest] : undefined;
  }
  const k = splitOf(n);
  const isLeft = m <= k;
  const below = rootsByProof(
    older,
    isLeft ? m : m - k,
    isLeft ? k : n - k,
    proof.slice(0, -1),
    isWhole && isLeft,
  );
  if (!last || !below) return undefined;
  return isLeft ? [below[0], nodeOf(below[1], last)] : [nodeOf(last, below[0]), nodeOf(last, below[1])];
}
