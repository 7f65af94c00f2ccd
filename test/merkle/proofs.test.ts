import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EMPTY_ROOT, type Hash } from '../../src/merkle/hashes.ts';
import { verifyConsistency, verifyInclusion } from '../../src/merkle/proofs.ts';
import { emptyRoot, noise, referenceTree, rootByPath, rootsByProof, splitOf } from './reference.ts';

/** What is proven is taken; what differs from it in anything at all is not. */

const tree = referenceTree(1_300);

interface Inclusion {
  readonly leaf: Hash;
  readonly index: number;
  readonly size: number;
  readonly proof: readonly Hash[];
  readonly root: Hash;
}

interface Consistency {
  readonly older: number;
  readonly size: number;
  readonly olderRoot: Hash;
  readonly root: Hash;
  readonly proof: readonly Hash[];
}

const included = ({ leaf, index, size, proof, root }: Inclusion) =>
  verifyInclusion(leaf, index, size, proof, root);
const consistent = ({ older, size, olderRoot, root, proof }: Consistency) =>
  verifyConsistency(older, size, olderRoot, root, proof);

const inclusion = (index: number, size: number): Inclusion => ({
  leaf: tree.leaves[index] as Hash,
  index,
  size,
  proof: tree.path(index, 0, size),
  root: tree.mth(0, size),
});

const consistency = (older: number, size: number): Consistency => ({
  older,
  size,
  olderRoot: tree.mth(0, older),
  root: tree.mth(0, size),
  proof: tree.proof(older, size),
});

const flipped = (bytes: Hash, bit: number): Hash => {
  const changed = Buffer.from(bytes);
  changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
  return changed;
};

/** Hashes of another length that begin, or end, like the one they are made of. */
const misshapen = (bytes: Hash): Hash[] => [
  new Uint8Array(0),
  bytes.slice(0, 31),
  bytes.slice(1),
  Buffer.concat([bytes, Buffer.of(0)]),
  Buffer.concat([Buffer.of(0), bytes]),
  Buffer.concat([bytes, bytes]),
];

/** Every list that differs from `proof` by one hash: a bit of it, its length, its place, its absence, one more. */
function* changesOf(proof: readonly Hash[], bits: readonly number[]): Generator<Hash[]> {
  for (const [at, hash] of proof.entries()) {
    for (const bit of bits) yield proof.with(at, flipped(hash, bit));
    for (const other of misshapen(hash)) yield proof.with(at, other);
    yield proof.toSpliced(at, 1);
    yield proof.toSpliced(at, 0, hash);
    yield proof.toSpliced(at, 0, noise('more'));
    if (at > 0 && Buffer.compare(hash, proof[at - 1] as Hash) !== 0)
      yield proof.with(at, proof[at - 1] as Hash).with(at - 1, hash);
  }
  yield [...proof, noise('more')];
  yield [...proof, new Uint8Array(0)];
  if (proof.length > 0) yield [];
  if (proof.length > 1) yield proof.toReversed();
}

const everyBit = Array.from({ length: 256 }, (_, bit) => bit);
const someBits = [0, 7, 8, 100, 255];
const notNumbers = [
  -1,
  0.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  2 ** 53,
  2 ** 64,
];

describe('RFC 9162 2.1.3.2: inclusion', () => {
  test('every leaf of every tree of up to 40 leaves, and no other place, leaf or tree', () => {
    for (let size = 1; size <= 40; size += 1)
      for (let index = 0; index < size; index += 1) {
        const proven = inclusion(index, size);
        expect(included(proven)).toBe(true);
        for (let other = 0; other <= 40; other += 1) {
          if (other !== index) expect(included({ ...proven, index: other })).toBe(false);
          if (other !== index && other < size)
            expect(included({ ...proven, leaf: tree.leaves[other] as Hash })).toBe(false);
          if (other !== size) expect(included({ ...proven, root: tree.mth(0, other) })).toBe(false);
        }
      }
  });

  test('a size is only taken for another where the path is the same in both', () => {
    for (let size = 1; size <= 40; size += 1)
      for (let index = 0; index < size; index += 1) {
        const proven = inclusion(index, size);
        for (let other = 0; other <= 80; other += 1) {
          const leadsTo = index < other ? rootByPath(proven.leaf, index, other, proven.proof) : undefined;
          const isSame = leadsTo !== undefined && Buffer.compare(leadsTo, proven.root) === 0;
          expect([index, size, other, included({ ...proven, size: other })]).toEqual([
            index,
            size,
            other,
            isSame,
          ]);
        }
      }
  });

  test.each([
    [0, 1],
    [0, 2],
    [1, 2],
    [2, 3],
    [6, 7],
    [5, 8],
    [255, 256],
    [256, 257],
    [600, 1_300],
  ])('each single bit of what proves %i of %i matters', (index, size) => {
    const proven = inclusion(index, size);
    expect(included(proven)).toBe(true);
    for (const bit of everyBit) {
      expect(included({ ...proven, leaf: flipped(proven.leaf, bit) })).toBe(false);
      expect(included({ ...proven, root: flipped(proven.root, bit) })).toBe(false);
    }
    for (const proof of changesOf(proven.proof, everyBit)) {
      // What was hashed last must not help what is too short.
      expect(included(proven)).toBe(true);
      expect(included({ ...proven, proof })).toBe(false);
    }
  });

  test('hashes are of 32 bytes', () => {
    for (const [index, size] of [
      [0, 1],
      [0, 2],
      [1, 2],
      [5, 8],
    ] as const) {
      const proven = inclusion(index, size);
      for (const leaf of misshapen(proven.leaf)) {
        expect(included({ ...proven, leaf })).toBe(false);
        expect(included({ ...proven, leaf, root: leaf })).toBe(false);
      }
      for (const root of misshapen(proven.root)) expect(included({ ...proven, root })).toBe(false);
    }
  });

  test('what is no whole number is no place and no size', () => {
    const proven = inclusion(0, 1);
    for (const number of notNumbers) {
      expect(included({ ...proven, index: number })).toBe(false);
      expect(included({ ...proven, size: number })).toBe(false);
      expect(included({ ...proven, index: number, size: number })).toBe(false);
    }
    expect(included({ ...proven, size: 0 })).toBe(false);
    expect(included({ leaf: EMPTY_ROOT, index: 0, size: 0, proof: [], root: EMPTY_ROOT })).toBe(false);
  });

  test('random places of trees of up to 1,300', () => {
    const places = fc
      .integer({ min: 1, max: 1_300 })
      .chain((size) => fc.tuple(fc.integer({ min: 0, max: size - 1 }), fc.constant(size)));
    fc.assert(
      fc.property(places, ([index, size]) => {
        const proven = inclusion(index, size);
        expect(included(proven)).toBe(true);
        for (const proof of changesOf(proven.proof, someBits))
          expect(included({ ...proven, proof })).toBe(false);
      }),
      { numRuns: 60 },
    );
  });

  test('trees of up to 2^53 - 1 leaves, which nobody has', () => {
    fc.assert(
      fc.property(farPlace, fc.nat(), ([index, size], seed) => {
        const leaf = noise(seed);
        const proof = Array.from({ length: depthOf(index, size) }, (_, at) => noise(`${seed} ${at}`));
        const root = rootByPath(leaf, index, size, proof);
        expect(root).toBeDefined();
        const proven = { leaf, index, size, proof, root: root as Hash };
        expect(included(proven)).toBe(true);
        if (proof.length > 0) expect(included({ ...proven, proof: proof.slice(1) })).toBe(false);
        expect(included({ ...proven, proof: [...proof, leaf] })).toBe(false);
        for (const bit of [0, 1, 20, 31, 32, 33, 40, 52]) {
          // The other way at one height, where the tree has two.
          const other = Number(BigInt(index) ^ (1n << BigInt(bit)));
          if (other < size) expect(included({ ...proven, index: other })).toBe(false);
        }
      }),
      { numRuns: 400 },
    );
  });
});

describe('RFC 9162 2.1.4.2: consistency', () => {
  test('every pair of sizes to 40, and no other size or root', () => {
    for (let size = 1; size <= 40; size += 1)
      for (let older = 1; older <= size; older += 1) {
        const proven = consistency(older, size);
        expect(consistent(proven)).toBe(true);
        for (let other = 0; other <= 40; other += 1) {
          if (other !== older) {
            expect(consistent({ ...proven, olderRoot: tree.mth(0, other) })).toBe(false);
            expect(consistent({ ...proven, older: other })).toBe(false);
          }
          if (other !== size) expect(consistent({ ...proven, root: tree.mth(0, other) })).toBe(false);
        }
      }
  });

  test('a size is only taken for another where the proof is the same in both', () => {
    for (let size = 1; size <= 40; size += 1)
      for (let older = 1; older <= size; older += 1) {
        const proven = consistency(older, size);
        for (let other = older; other <= 80; other += 1) {
          const [first, last] = rootsByProof(proven.olderRoot, older, other, proven.proof) ?? [];
          const isSame =
            first !== undefined &&
            last !== undefined &&
            Buffer.compare(first, proven.olderRoot) === 0 &&
            Buffer.compare(last, proven.root) === 0;
          expect([older, size, other, consistent({ ...proven, size: other })]).toEqual([
            older,
            size,
            other,
            isSame,
          ]);
        }
      }
  });

  test.each([
    [1, 2],
    [1, 8],
    [2, 3],
    [3, 4],
    [6, 8],
    [6, 7],
    [4, 8],
    [255, 256],
    [256, 257],
    [257, 600],
    [512, 1_300],
  ])('each single bit of what proves %i in %i matters', (older, size) => {
    const proven = consistency(older, size);
    expect(consistent(proven)).toBe(true);
    for (const bit of everyBit) {
      expect(consistent({ ...proven, olderRoot: flipped(proven.olderRoot, bit) })).toBe(false);
      expect(consistent({ ...proven, root: flipped(proven.root, bit) })).toBe(false);
    }
    for (const proof of changesOf(proven.proof, everyBit)) {
      expect(consistent(proven)).toBe(true);
      expect(consistent({ ...proven, proof })).toBe(false);
    }
    expect(consistent({ ...proven, olderRoot: proven.root, root: proven.olderRoot })).toBe(false);
    expect(consistent({ ...proven, older: size, size: older })).toBe(false);
    for (const olderRoot of misshapen(proven.olderRoot))
      expect(consistent({ ...proven, olderRoot })).toBe(false);
    for (const root of misshapen(proven.root)) expect(consistent({ ...proven, root })).toBe(false);
  });

  test('a tree is the same as itself by its root alone', () => {
    for (const size of [1, 2, 7, 256]) {
      const proven = consistency(size, size);
      expect(proven.proof).toEqual([]);
      expect(consistent(proven)).toBe(true);
      expect(consistent({ ...proven, root: noise('other') })).toBe(false);
      expect(consistent({ ...proven, olderRoot: noise('other') })).toBe(false);
      expect(consistent({ ...proven, proof: [proven.root] })).toBe(false);
    }
  });

  test('everything is the empty tree with leaves appended, which has one root only', () => {
    const proven = { older: 0, size: 5, olderRoot: emptyRoot, root: tree.mth(0, 5), proof: [] };
    expect(consistent(proven)).toBe(true);
    expect(consistent({ ...proven, olderRoot: noise('other') })).toBe(false);
    expect(consistent({ ...proven, proof: [noise('more')] })).toBe(false);
    expect(consistent({ ...proven, size: 0, root: emptyRoot })).toBe(true);
    expect(consistent({ ...proven, size: 0 })).toBe(false);
    expect(consistent({ ...proven, size: 0, root: noise('x'), olderRoot: noise('x') })).toBe(false);
  });

  test('what is no whole number is no size', () => {
    const proven = consistency(1, 1);
    for (const number of notNumbers) {
      expect(consistent({ ...proven, older: number })).toBe(false);
      expect(consistent({ ...proven, size: number })).toBe(false);
      expect(consistent({ ...proven, older: number, size: number })).toBe(false);
    }
    expect(consistent({ ...proven, older: 1, size: 0 })).toBe(false);
  });

  test('random pairs of sizes to 1,300', () => {
    const pairs = fc
      .integer({ min: 1, max: 1_300 })
      .chain((size) => fc.tuple(fc.integer({ min: 1, max: size }), fc.constant(size)));
    fc.assert(
      fc.property(pairs, ([older, size]) => {
        const proven = consistency(older, size);
        expect(consistent(proven)).toBe(true);
        for (const proof of changesOf(proven.proof, someBits))
          expect(consistent({ ...proven, proof })).toBe(false);
      }),
      { numRuns: 60 },
    );
  });

  test('trees of up to 2^53 - 1 leaves, which nobody has', () => {
    fc.assert(
      fc.property(farPlace, fc.nat(), ([before, size], seed) => {
        const older = before + 1;
        const proof = Array.from({ length: stepsOf(older, size) }, (_, at) => noise(`${seed} ${at}`));
        const olderRoot = isPowerOfTwo(older)
          ? noise(seed)
          : (rootsByProof(emptyRoot, older, size, proof)?.[0] as Hash);
        const [first, root] = rootsByProof(olderRoot, older, size, proof) ?? [];
        expect(first).toEqual(olderRoot);
        const proven = { older, size, olderRoot, root: root as Hash, proof };
        expect(consistent(proven)).toBe(true);
        expect(consistent({ ...proven, proof: [...proof, noise('more')] })).toBe(false);
        if (proof.length > 0) expect(consistent({ ...proven, proof: proof.slice(1) })).toBe(false);
        if (older > 1) expect(consistent({ ...proven, older: older - 1 })).toBe(false);
      }),
      { numRuns: 400 },
    );
  });
});

/** A place in a tree of any size that a number can tell. */
const farPlace = fc
  .oneof(
    fc.maxSafeNat().map((size) => Math.max(size, 1)),
    fc
      .tuple(fc.integer({ min: 0, max: 52 }), fc.integer({ min: -1, max: 1 }))
      .map(([height, aside]) => Math.max(2 ** height + aside, 1)),
    fc.constant(Number.MAX_SAFE_INTEGER),
  )
  .chain((size) =>
    fc
      .oneof(
        fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }).map((part) => Math.floor(part * size)),
        fc.constantFrom(0, size - 1),
        fc.integer({ min: 0, max: 52 }).map((height) => Math.min(2 ** height - 1, size - 1)),
      )
      .map((index) => [index, size] as const),
  );

/** How long PATH(index, D[size]) is. */
const depthOf = (index: number, size: number): number => {
  if (size === 1) return 0;
  const k = splitOf(size);
  return 1 + (index < k ? depthOf(index, k) : depthOf(index - k, size - k));
};

/** How long PROOF(older, D[size]) is. */
const stepsOf = (older: number, size: number, isWhole = true): number => {
  if (older === size) return isWhole ? 0 : 1;
  const k = splitOf(size);
  return 1 + (older <= k ? stepsOf(older, k, isWhole) : stepsOf(older - k, size - k, false));
};

const isPowerOfTwo = (n: number): boolean => n === 1 || (n % 2 === 0 && isPowerOfTwo(n / 2));
