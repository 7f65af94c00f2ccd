import { hash } from 'node:crypto';

/** RFC 6962 section 2.1, with SHA-256: a leaf and a node are told apart by their first byte. */
export const HASH_BYTES = 32;

/** A hash: HASH_BYTES bytes. */
export type Hash = Uint8Array;

const LEAF = 0x00;
const NODE = 0x01;

const node = new Uint8Array(1 + 2 * HASH_BYTES);
node[0] = NODE;

/** Grows with the largest entry, so that most need no memory of their own. */
let leaf = Buffer.alloc(4_096);

export function leafHash(entry: Uint8Array): Hash {
  if (entry.length >= leaf.length) leaf = Buffer.alloc(entry.length * 2);
  leaf[0] = LEAF;
  leaf.set(entry, 1);
  return sha256(leaf.subarray(0, entry.length + 1));
}

export function nodeHash(left: Hash, right: Hash): Hash {
  // What is too short would be filled up from the node before, what is too long be cut by its neighbour.
  if (!isHash(left) || !isHash(right)) throw new RangeError(`a hash is of ${HASH_BYTES} bytes`);
  node.set(left, 1);
  node.set(right, 1 + HASH_BYTES);
  return sha256(node);
}

/** As text and back: a Buffer that Node makes for a digest takes longer than hashing what is short. */
function sha256(bytes: Uint8Array): Hash {
  const text = hash('sha256', bytes, 'binary');
  // Not of Node's pool: one that is kept would keep the pool.
  const digest = Buffer.alloc(HASH_BYTES);
  for (let at = 0; at < HASH_BYTES; at += 1) digest[at] = text.charCodeAt(at);
  return digest;
}

/** The root of a tree without leaves. */
export const EMPTY_ROOT: Hash = sha256(new Uint8Array());

export const isHash = (bytes: Uint8Array): boolean => bytes.length === HASH_BYTES;

export const isSame = (a: Hash, b: Hash): boolean => Buffer.compare(a, b) === 0;

/** The hashes that stand one after the other. */
export function* hashesIn(bytes: Uint8Array): Generator<Hash> {
  if (bytes.length % HASH_BYTES !== 0) throw new RangeError(`a hash is of ${HASH_BYTES} bytes`);
  for (let at = 0; at < bytes.length; at += HASH_BYTES) yield bytes.subarray(at, at + HASH_BYTES);
}
