/**
 * Who is in which records, by the segment. An index of principals over the whole log would be one B-tree that every
 * commit writes to all over: with a million principals a commit of 400 records dirties 400 pages. A log only grows at
 * its end, so once a segment is full its principals are sorted once and kept as one small blob; the records after the
 * last full segment are looked at one by one.
 *
 * The blob: a uint32 little-endian each for the hash of a principal and the record's place in the segment, sorted by
 * both. A hash only narrows: whoever reads compares the record's own columns.
 */
export const SEGMENT_RECORDS = 4_096;

const PAIR_BYTES = 8;

export interface Involved {
  readonly subject: string;
  readonly actor: string;
}

/** The blob of a full segment, its records in order. */
export function sealSegment(records: readonly Involved[]): Uint8Array {
  const keys: number[] = [];
  // 32 bits of hash and 12 of place fit a double.
  for (const [place, { subject, actor }] of records.entries())
    for (const principal of new Set([subject, actor]))
      if (principal !== '') keys.push(hashOf(principal) * SEGMENT_RECORDS + place);
  const sorted = Float64Array.from(keys).sort();
  const blob = Buffer.allocUnsafe(sorted.length * PAIR_BYTES);
  for (const [at, key] of sorted.entries()) {
    blob.writeUInt32LE(Math.floor(key / SEGMENT_RECORDS), at * PAIR_BYTES);
    blob.writeUInt32LE(key % SEGMENT_RECORDS, at * PAIR_BYTES + 4);
  }
  return blob;
}

/** Places in the segment that the principal may be at, latest first. */
export function placesOf(blob: Uint8Array, principal: string): number[] {
  const bytes = Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength);
  const hash = hashOf(principal);
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

/** FNV-1a, 32 bits, over UTF-16 units. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash >>> 0;
}
