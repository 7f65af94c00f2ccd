import { Heads } from './heads.ts';

/**
 * Who is in which records, by the segment. An index of principals over the whole log would be one B-tree that every
 * commit writes to all over: with a million principals a commit of 400 records dirties 400 pages. A log only grows at
 * its end, so once a segment is full its principals are sorted once and kept as one small blob; the records after the
 * last full segment are looked at head by head.
 *
 * The blob: a uint32 little-endian each for the hash of a principal and the record's place in the segment, sorted by
 * both. A hash only narrows: whoever reads compares the names in the record.
 */
export const SEGMENT_RECORDS = 4_096;

const PAIR_BYTES = 8;

/** The blob of a full segment, given the heads of its runs in order. */
export function sealSegment(runs: readonly Uint8Array[]): Uint8Array {
  const keys = new Float64Array(SEGMENT_RECORDS * 2);
  let count = 0;
  let place = 0;
  for (const bytes of runs) {
    const heads = new Heads(bytes);
    for (let at = 0; at < heads.capacity; at += 1, place += 1) {
      const [subject, actor] = [heads.subject(at), heads.actor(at)];
      // 32 bits of hash and 12 of place fit a double.
      if (subject !== 0) keys[count++] = subject * SEGMENT_RECORDS + place;
      if (actor !== 0 && actor !== subject) keys[count++] = actor * SEGMENT_RECORDS + place;
    }
  }
  const sorted = keys.subarray(0, count).sort();
  const blob = Buffer.allocUnsafe(count * PAIR_BYTES);
  for (let at = 0; at < count; at += 1) {
    const key = sorted[at] ?? 0;
    blob.writeUInt32LE(Math.floor(key / SEGMENT_RECORDS), at * PAIR_BYTES);
    blob.writeUInt32LE(key % SEGMENT_RECORDS, at * PAIR_BYTES + 4);
  }
  return blob;
}

/** Places in the segment of records that name a principal of this hash, latest first. */
export function placesOf(blob: Uint8Array, hash: number): number[] {
  const bytes = Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength);
  let [low, high] = [0, bytes.length / PAIR_BYTES];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (bytes.readUInt32LE(middle * PAIR_BYTES) < hash) low = middle + 1;
    else high = middle;
  }
  const places: number[] = [];
  for (let at = low * PAIR_BYTES; at < bytes.length && bytes.readUInt32LE(at) === hash; at += PAIR_BYTES)
    places.push(bytes.readUInt32LE(at + 4));
  return places.toReversed();
}
