/**
 * How OPA's runtime lays values out in its memory (wasm/src/value.h), in words of 32 bits. The first byte of a value
 * is its kind. All parts begin at a multiple of four bytes.
 */

export const kind = {
  null: 1,
  boolean: 2,
  number: 3,
  string: 4,
  array: 5,
  object: 6,
  set: 7,
  /** Interned values are those that the runtime neither frees nor copies. */
  internedString: 8,
  internedBoolean: 9,
} as const;

/** The second byte of a number: an integer in place, or the text it was written as. */
export const numberForm = { integer: 1, text: 2 } as const;

/** Sizes in bytes, and what is where in words: a string is kind, length, address of its bytes. */
export const stringBytes = 12;
/** Kind, and from the third word on the integer of 64 bits, or the address and the length of the text and a flag. */
export const integerBytes = 16;
export const numberTextBytes = 20;
/** Kind, address of the elements, their number, room for how many; an element is its index and its value. */
export const arrayBytes = 16;
export const elementBytes = 8;
/**
 * Kind, address of the buckets, their number, the number of members; and the word before the buckets, which is where
 * the members stand in order (linking/scans.ts), or 0. In OPA's allocator it is unused while a block is. A set is alike.
 */
export const mapBytes = 20;
/** Where an object or a set says how many members it has. */
export const mapLength = 12;
/** In that word: the members themselves are in order, each behind the other. Else they are pairs of addresses. */
export const inPlace = 1;
/** The addresses of a key and a value. */
export const pairBytes = 8;
/** Key, value, address of the next member in the bucket. A member of a set has no key of its own. */
export const memberBytes = 12;
export const setMemberBytes = 8;

const fewestBuckets = 8;
const loadFactor = 0.7;

/** How many buckets an object has after that many insertions; it is seen in the order of its members. */
export function bucketsFor(members: number): number {
  let buckets = fewestBuckets;
  while (members > buckets * loadFactor) buckets *= 2;
  return buckets;
}

/** The hash of a string is FNV-1 of 32 bits: that of no bytes, and that of one byte more. */
export const emptyHash = 0x811c9dc5 | 0;
export const hashed = (hash: number, byte: number): number => Math.imul(hash, 0x01000193) ^ byte;

/** Up to a multiple of four. */
export const inWords = (size: number): number => (size + 3) & ~3;
