import { EMPTY_ROOT, type Hash, isHash, nodeHash } from './hashes.ts';

/** Hears of each hash of a tile above level 0 that is final: its tile level, its place in the level, the hash. */
export type OnTile = (level: number, at: number, hash: Hash) => void;

/**
 * The right edge of a growing tree: the roots of its perfect subtrees, largest first. It is all that is needed to append
 * and to tell the root; on average a leaf costs one more hash.
 */
export class Frontier {
  #size = 0;
  readonly #roots: Hash[] = [];

  /** That of a tree whose perfect subtrees have these roots, largest first. Throws where there are not as many. */
  static of(size: number, roots: readonly Hash[]): Frontier {
    const frontier = new Frontier();
    for (const root of roots) {
      const height = Math.floor(Math.log2(size - frontier.size));
      if (!isHash(root) || frontier.size >= size) throw new Error('the roots are not of a tree of this size');
      frontier.appendTree(root, height);
    }
    if (frontier.size !== size) throw new Error('the roots are not of a tree of this size');
    return frontier;
  }

  get size(): number {
    return this.#size;
  }

  /** The roots of its perfect subtrees, largest first. */
  get roots(): readonly Hash[] {
    return this.#roots;
  }

  /** Appends the hash of a leaf. */
  append(leaf: Hash, onTile?: OnTile): void {
    let [hash, height] = [leaf, 0];
    for (let rest = this.#size; rest % 2 === 1; rest = (rest - 1) / 2) {
      const left = this.#roots.pop();
      if (!left) throw new Error('the frontier is not of its size');
      hash = nodeHash(left, hash);
      height += 1;
      if (onTile && height % 8 === 0) onTile(height / 8, Math.floor(this.#size / 2 ** height), hash);
    }
    this.#roots.push(hash);
    this.#size += 1;
  }

  /** Appends a perfect subtree of 2^height leaves, which must stand at a multiple of that. */
  appendTree(root: Hash, height: number): void {
    const leaves = 2 ** height;
    if (this.#size % leaves !== 0) throw new Error('a subtree stands at a multiple of its size');
    let hash = root;
    for (let rest = this.#size / leaves; rest % 2 === 1; rest = (rest - 1) / 2) {
      const left = this.#roots.pop();
      if (!left) throw new Error('the frontier is not of its size');
      hash = nodeHash(left, hash);
    }
    this.#roots.push(hash);
    this.#size += leaves;
  }

  root(): Hash {
    const [last, ...before] = this.#roots.toReversed();
    return last ? before.reduce((right, left) => nodeHash(left, right), last) : EMPTY_ROOT;
  }

  /** The root with one more subtree at the end, smaller than any that this one is made of. */
  rootWith(last: Hash): Hash {
    return this.#roots.reduceRight((right, left) => nodeHash(left, right), last);
  }

  copy(): Frontier {
    const copy = new Frontier();
    copy.#size = this.#size;
    copy.#roots.push(...this.#roots);
    return copy;
  }
}
