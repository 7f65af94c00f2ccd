import { stringBytes } from './layout.ts';

/** Names that were not chosen to collide never pass as many others of their bucket. */
const mostPassed = 16;

/**
 * Puts a member of an object into its bucket, where they stand in the order of their keys.
 * @param bucket the index of the bucket's word
 * @param key the address of a string whose bytes follow it, as those of the other keys do
 * @param member the member's address
 * @returns false if the bucket is crowded: then the work would grow with the square of the members
 */
export function insert(
  words: Int32Array,
  bytes: Uint8Array,
  bucket: number,
  key: number,
  member: number,
): boolean {
  let link = bucket;
  let next = words[link] as number;
  let passed = 0;
  while (next !== 0 && compare(words, bytes, key, words[next >>> 2] as number) > 0) {
    passed += 1;
    if (passed > mostPassed) return false;
    link = (next >>> 2) + 2;
    next = words[link] as number;
  }
  words[link] = member;
  words[member >>> 2] = key;
  words[(member >>> 2) + 2] = next;
  return true;
}

/** Strings stand in the order of their bytes. */
function compare(words: Int32Array, bytes: Uint8Array, a: number, b: number): number {
  const aLength = words[(a >>> 2) + 1] as number;
  const bLength = words[(b >>> 2) + 1] as number;
  const shorter = Math.min(aLength, bLength);
  for (let at = stringBytes; at < stringBytes + shorter; at += 1) {
    const difference = (bytes[a + at] as number) - (bytes[b + at] as number);
    if (difference !== 0) return difference;
  }
  return aLength - bLength;
}
