import { EMPTY_ROOT, type Hash, isHash, isSame, nodeHash } from './hashes.ts';

/** RFC 9162 section 2.1.3.2: whether the leaf stands at `index` of the tree of that size and root. */
export function verifyInclusion(
  leaf: Hash,
  index: number,
  size: number,
  proof: readonly Hash[],
  root: Hash,
): boolean {
  if (!isPlace(index) || !isPlace(size) || index >= size) return false;
  if (![leaf, root, ...proof].every(isHash)) return false;
  let [fn, sn, hash] = [index, size - 1, leaf];
  for (const other of proof) {
    if (sn === 0) return false;
    if (isOdd(fn) || fn === sn) {
      hash = nodeHash(other, hash);
      while (!isOdd(fn) && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else hash = nodeHash(hash, other);
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 && isSame(hash, root);
}

/** RFC 9162 section 2.1.4.2: whether the tree of `size` is the one of `older` with leaves appended. */
export function verifyConsistency(
  older: number,
  size: number,
  olderRoot: Hash,
  root: Hash,
  proof: readonly Hash[],
): boolean {
  if (!isPlace(older) || !isPlace(size) || older > size) return false;
  if (![olderRoot, root, ...proof].every(isHash)) return false;
  if (older === 0 && !isSame(olderRoot, EMPTY_ROOT)) return false;
  if (older === size) return proof.length === 0 && isSame(olderRoot, root);
  if (older === 0) return proof.length === 0;
  const path = [...proof];
  // A tree that is perfect is its own first subtree.
  if (isPowerOfTwo(older)) path.unshift(olderRoot);
  const first = path.shift();
  if (!first) return false;
  let [fn, sn] = [older - 1, size - 1];
  while (isOdd(fn)) [fn, sn] = [half(fn), half(sn)];
  let [oldHash, hash] = [first, first];
  for (const other of path) {
    if (sn === 0) return false;
    if (isOdd(fn) || fn === sn) {
      oldHash = nodeHash(other, oldHash);
      hash = nodeHash(other, hash);
      while (!isOdd(fn) && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else hash = nodeHash(hash, other);
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 && isSame(oldHash, olderRoot) && isSame(hash, root);
}

const isPlace = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;
const isOdd = (value: number): boolean => value % 2 === 1;
const half = (value: number): number => Math.floor(value / 2);

function isPowerOfTwo(value: number): boolean {
  let rest = value;
  while (rest % 2 === 0) rest /= 2;
  return rest === 1;
}
