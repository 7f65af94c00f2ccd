import { describe, expect, test } from 'vitest';
import { Frontier } from '../../src/merkle/frontier.ts';
import { EMPTY_ROOT, type Hash, leafHash } from '../../src/merkle/hashes.ts';
import { verifyConsistency, verifyInclusion } from '../../src/merkle/proofs.ts';
import { consistencyProof, inclusionProof, rangeRoot, rootOf } from '../../src/merkle/tree.ts';
import { leafOf, ReferenceTree } from './reference.ts';

/**
 * The vectors of Certificate Transparency: certificate-transparency/python/ct/crypto/merkle_test.py, which are those of
 * github.com/transparency-dev/merkle (testonly/constants.go and proof/verify_test.go), too.
 */

const hex = (text: string): Buffer => Buffer.from(text, 'hex');

const entries = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f',
].map(hex);

/** By size. */
const roots = [
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
].map(hex);

const leaves = [
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  '96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7',
  '0298d122906dcfc10892cb53a73992fc5b9f493ea4c9badb27b791b4127a7fe7',
  '07506a85fd9dd2f120eb694f86011e5bb4662e5c415a62917033d4a9624487e7',
  'bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b',
  '4271a26be0d8a84f0bd54c8c302e7cb3a3b5d1fa6780a40bcce2873477dab658',
  'b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f',
  '46f6ffadd3d06a09ff3c5860d2755c8b9819db7df44251788c7d8e3180de8eb1',
].map(hex) as [Buffer, Buffer, Buffer, Buffer, Buffer, Buffer, Buffer, Buffer];

/** The subtrees of 2, and of 4, leaves. */
const pairs = [
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  '5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e',
  '0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a',
  'ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0',
].map(hex) as [Buffer, Buffer, Buffer, Buffer];
const quads = [
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4',
].map(hex) as [Buffer, Buffer];

const [leaf0, leaf1, , , leaf4, , leaf6] = leaves;
const tree = new ReferenceTree(leaves);

describe('RFC 6962 2.1: the trees of eight known entries', () => {
  test('the hashes of the entries', () => {
    expect(entries.map(leafHash)).toEqual(leaves);
  });

  test('an entry that is larger than those before it', () => {
    for (const length of [4_095, 4_096, 4_097, 65_535, 20]) {
      const entry = Buffer.alloc(length, 'a');
      expect(leafHash(entry)).toEqual(leafOf(entry));
    }
  });

  test('the roots, of a frontier and of tiles', () => {
    const frontier = new Frontier();
    expect(frontier.root()).toEqual(roots[0]);
    expect(EMPTY_ROOT).toEqual(roots[0]);
    for (const [at, entry] of entries.entries()) {
      frontier.append(leafHash(entry));
      expect(frontier.size).toBe(at + 1);
      expect(frontier.root()).toEqual(roots[at + 1]);
      expect(rootOf(tree.tiles(at + 1), at + 1)).toEqual(roots[at + 1]);
    }
  });

  test('the roots of subtrees', () => {
    const tiles = tree.tiles(8);
    expect([0, 2, 4, 6].map((at) => rangeRoot(tiles, at, at + 2))).toEqual(pairs);
    expect([0, 4].map((at) => rangeRoot(tiles, at, at + 4))).toEqual(quads);
  });

  test.each<[index: number, size: number, path: readonly Hash[]]>([
    [0, 1, []],
    [0, 8, [leaf1, pairs[1], quads[1]]],
    [5, 8, [leaf4, pairs[3], quads[0]]],
    [2, 3, [pairs[0]]],
    [1, 5, [leaf0, pairs[1], leaf4]],
  ])('RFC 6962 2.1.1: the path of %i in the tree of %i', (index, size, path) => {
    expect(inclusionProof(tree.tiles(size), index, size)).toEqual(path);
    expect(verifyInclusion(leaves[index] as Hash, index, size, path, roots[size] as Hash)).toBe(true);
  });

  test.each<[older: number, size: number, proof: readonly Hash[]]>([
    [1, 1, []],
    [1, 8, [leaf1, pairs[1], quads[1]]],
    [6, 8, [pairs[2], pairs[3], quads[0]]],
    [2, 5, [pairs[1], leaf4]],
    [6, 7, [pairs[2], leaf6, quads[0]]],
  ])('RFC 6962 2.1.2: the proof from %i to %i', (older, size, proof) => {
    expect(consistencyProof(tree.tiles(size), older, size)).toEqual(proof);
    expect(verifyConsistency(older, size, roots[older] as Hash, roots[size] as Hash, proof)).toBe(true);
  });
});

/** RFC 6962 section 2.1.3 has no hashes; its structure of seven leaves, by name. */
describe('RFC 6962 2.1.3: the example of seven leaves', () => {
  const seven = tree.tiles(7);
  const [a, b, c, d, , f, j] = leaves;
  const [g, h, i] = pairs;
  const [k] = quads;
  const l = rangeRoot(seven, 4, 7);

  test('the paths of d0, d3, d4 and d6', () => {
    expect(inclusionProof(seven, 0, 7)).toEqual([b, h, l]);
    expect(inclusionProof(seven, 3, 7)).toEqual([c, g, l]);
    expect(inclusionProof(seven, 4, 7)).toEqual([f, j, k]);
    expect(inclusionProof(seven, 6, 7)).toEqual([i, k]);
  });

  test('the proofs of hash0, hash1 and hash2', () => {
    expect(consistencyProof(seven, 3, 7)).toEqual([c, d, g, l]);
    expect(consistencyProof(seven, 4, 7)).toEqual([l]);
    expect(consistencyProof(seven, 6, 7)).toEqual([i, j, k]);
    expect(a).toEqual(rootOf(tree.tiles(1), 1));
  });
});
