import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Frontier } from '../../src/merkle/frontier.ts';
import { type Hash, isSame } from '../../src/merkle/hashes.ts';
import {
  consistencyProof,
  inclusionProof,
  rangeRoot,
  rootOf,
  rootOfTile,
  tileRoots,
} from '../../src/merkle/tree.ts';
import { emptyRoot, noise, referenceTree } from './reference.ts';

/** Trees beside the reference of RFC 6962 section 2.1, by way of tiles that hold no more than their size does. */

const small = 1_300;
const large = 65_536 + 2 * 256 + 3;
const tree = referenceTree(large);

const size = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 1, max: small }) },
  // Around full tiles of level 0 and 1.
  { weight: 2, arbitrary: near(256, 250) },
  { weight: 1, arbitrary: fc.integer({ min: 65_536 - 2, max: large }) },
);

function near(width: number, most: number): fc.Arbitrary<number> {
  return fc
    .tuple(fc.integer({ min: 1, max: most }), fc.integer({ min: -1, max: 1 }))
    .map(([times, aside]) => times * width + aside);
}

/** A size, and a place in it with a liking for its ends. */
const place = size.chain((n) =>
  fc.oneof(fc.integer({ min: 0, max: n - 1 }), fc.constantFrom(0, n - 1)).map((m) => [m, n] as const),
);

describe('RFC 6962 2.1: the tree hash', () => {
  test('of every size to 1,300, of a frontier and of tiles', () => {
    const frontier = new Frontier();
    for (let n = 0; n <= small; n += 1) {
      const expected = tree.mth(0, n);
      expect(frontier.size).toBe(n);
      expect(isSame(frontier.root(), expected)).toBe(true);
      expect(isSame(rootOf(tree.tiles(n), n), expected)).toBe(true);
      frontier.append(tree.leaves[n] as Hash);
    }
  });

  test('of sizes around 65,536', () => {
    const frontier = new Frontier();
    for (const [at, leaf] of tree.leaves.entries()) {
      if (at >= 65_534) {
        expect(frontier.root()).toEqual(tree.mth(0, at));
        expect(rootOf(tree.tiles(at), at)).toEqual(tree.mth(0, at));
      }
      frontier.append(leaf);
    }
    expect(frontier.root()).toEqual(tree.mth(0, large));
  });

  test('of every subtree that a tree has', () => {
    const ranges = size.chain((n) =>
      fc.infiniteStream(fc.boolean()).map((turns) => {
        let [begin, end] = [0, n];
        for (const isLeft of turns) {
          if (end - begin < 2) break;
          let k = 1;
          while (k * 2 < end - begin) k *= 2;
          if (isLeft) end = begin + k;
          else begin += k;
          if (noise(begin + end)[0] === 0) break;
        }
        return [begin, end, n] as const;
      }),
    );
    fc.assert(
      fc.property(ranges, ([begin, end, n]) => {
        expect(rangeRoot(tree.tiles(n), begin, end)).toEqual(tree.mth(begin, end));
      }),
      { numRuns: 300 },
    );
  });

  test('a tile that is short, long or ragged is an error', () => {
    const bytes = Buffer.concat(tree.leaves.slice(0, 300));
    for (const change of [-32, -1, 1, 32, -96])
      expect(() =>
        rootOf({ read: (_, from, end) => bytes.subarray(from * 32, end * 32 + change) }, 3),
      ).toThrow();
    // One hash is no node of another.
    for (const length of [0, 1, 31, 33, 64])
      expect(() => rootOf({ read: () => bytes.subarray(0, length) }, 1)).toThrow();
  });
});

describe('RFC 6962 2.1.1: PATH', () => {
  test('of every leaf of every size to 70', () => {
    for (let n = 1; n <= 70; n += 1)
      for (let m = 0; m < n; m += 1) expect(inclusionProof(tree.tiles(n), m, n)).toEqual(tree.path(m, 0, n));
  });

  test('of leaves of trees of up to 66,000', () => {
    fc.assert(
      fc.property(place, ([m, n]) => {
        expect(inclusionProof(tree.tiles(n), m, n)).toEqual(tree.path(m, 0, n));
      }),
      { numRuns: 400 },
    );
  });

  test('there is none of what is not in the tree', () => {
    for (const [m, n] of [
      [0, 0],
      [1, 1],
      [-1, 5],
      [5, 5],
      [6, 5],
      [Number.NaN, 5],
      [0, Number.NaN],
      [Number.POSITIVE_INFINITY, 5],
    ] as const)
      expect(() => inclusionProof(tree.tiles(10), m, n)).toThrow(RangeError);
  });
});

describe('RFC 6962 2.1.2: PROOF', () => {
  test('of every pair of sizes to 70', () => {
    for (let n = 1; n <= 70; n += 1)
      for (let m = 1; m <= n; m += 1) expect(consistencyProof(tree.tiles(n), m, n)).toEqual(tree.proof(m, n));
  });

  test('of trees of up to 66,000', () => {
    fc.assert(
      fc.property(place, ([less, n]) => {
        const m = less + 1;
        expect(consistencyProof(tree.tiles(n), m, n)).toEqual(tree.proof(m, n));
      }),
      { numRuns: 400 },
    );
  });

  test('from the empty tree and to the same one it is empty; to a smaller one there is none', () => {
    expect(consistencyProof(tree.tiles(9), 0, 9)).toEqual([]);
    expect(consistencyProof(tree.tiles(0), 0, 0)).toEqual([]);
    expect(consistencyProof(tree.tiles(9), 9, 9)).toEqual([]);
    for (const [m, n] of [
      [2, 1],
      [1, 0],
      [-1, 4],
      [Number.NaN, 4],
      [1, Number.NaN],
    ] as const)
      expect(() => consistencyProof(tree.tiles(10), m, n)).toThrow(RangeError);
  });
});

describe('a frontier', () => {
  test('tells each hash of a tile above level 0 once, in order, when it is final', () => {
    const told: [number, number, string][] = [];
    const expected: [number, number, string][] = [];
    const frontier = new Frontier();
    for (const [at, leaf] of tree.leaves.entries()) {
      frontier.append(leaf, (level, n, hash) => told.push([level, n, Buffer.from(hash).toString('hex')]));
      for (const level of [1, 2])
        if ((at + 1) % 256 ** level === 0) {
          const n = (at + 1) / 256 ** level - 1;
          expected.push([level, n, Buffer.from(tree.tileHash(level, n)).toString('hex')]);
        }
      if (told.length !== expected.length) break;
    }
    expect(told).toEqual(expected);
    expect(told.length).toBe(258 + 1);
  });

  test('that is copied goes its own way', () => {
    const frontier = new Frontier();
    for (const leaf of tree.leaves.slice(0, 7)) frontier.append(leaf);
    const copy = frontier.copy();
    for (const leaf of tree.leaves.slice(7, 20)) copy.append(leaf);
    expect([frontier.size, copy.size]).toEqual([7, 20]);
    expect(frontier.root()).toEqual(tree.mth(0, 7));
    expect(copy.root()).toEqual(tree.mth(0, 20));
    frontier.append(tree.leaves[7] as Hash);
    expect(frontier.root()).toEqual(tree.mth(0, 8));
    expect(copy.root()).toEqual(tree.mth(0, 20));
  });

  test('made of perfect subtrees is the one made of their leaves', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 12 }), (heights) => {
        const frontier = new Frontier();
        for (const height of heights) {
          const end = frontier.size + 2 ** height;
          if (end > small) break;
          if (frontier.size % 2 ** height !== 0) {
            expect(() => frontier.appendTree(emptyRoot, height)).toThrow();
            continue;
          }
          frontier.appendTree(tree.mth(frontier.size, end), height);
        }
        expect(frontier.root()).toEqual(tree.mth(0, frontier.size));
        const next = tree.leaves[frontier.size] as Hash;
        frontier.append(next);
        expect(frontier.root()).toEqual(tree.mth(0, frontier.size));
      }),
    );
  });

  test('with a smaller subtree at its end', () => {
    for (let n = 2; n <= 300; n += 1) {
      let k = 1;
      while (k * 2 < n) k *= 2;
      const frontier = new Frontier();
      frontier.appendTree(tree.mth(0, k), Math.log2(k));
      expect(frontier.rootWith(tree.mth(k, n))).toEqual(tree.mth(0, n));
    }
    expect(new Frontier().rootWith(noise('x'))).toEqual(noise('x'));
  });

  test('takes no leaf that is no hash', () => {
    for (const length of [0, 31, 33, 64]) {
      const frontier = new Frontier();
      frontier.append(noise(0));
      expect(() => frontier.append(Buffer.alloc(length))).toThrow();
    }
  });
});

describe('C2SP tlog-tiles: full tiles', () => {
  const row = (from: number, end: number) => Buffer.concat(tree.leaves.slice(from, end));

  test('the hash that stands for one in the level above', () => {
    for (const n of [0, 1, 255]) expect(rootOfTile(row(n * 256, n * 256 + 256))).toEqual(tree.tileHash(1, n));
  });

  test('what is not full has none', () => {
    for (const width of [0, 1, 255, 257, 512]) expect(() => rootOfTile(row(0, width))).toThrow();
    expect(() => rootOfTile(row(0, 257).subarray(0, 8_193))).toThrow();
    expect(() => rootOfTile(row(0, 256).subarray(0, 8_191))).toThrow();
  });

  test('those of several in a row; what is left over has none', () => {
    for (const [width, roots] of [
      [0, 0],
      [255, 0],
      [256, 1],
      [600, 2],
      [65_536, 256],
    ] as const)
      expect(tileRoots(row(0, width))).toEqual(
        Buffer.concat(Array.from({ length: roots }, (_, n) => tree.tileHash(1, n))),
      );
    const level1 = tileRoots(row(0, 65_536));
    expect(tileRoots(level1)).toEqual(tree.tileHash(2, 0));
  });
});
