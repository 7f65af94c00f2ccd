import { crc32 } from 'node:zlib';
import type { Heads } from './heads.ts';
import { earlierKey } from './names.ts';

/**
 * What is in which records, by the segment. An index over the whole log would be one B-tree that every commit writes to
 * all over: with a million principals a commit of 400 records dirties 400 pages. A log only grows at its end, so once a
 * segment is full its principals are sorted once and kept as one small blob, beside its records' keys and the times
 * between which they lie; the records after the last full segment are looked at head by head.
 *
 * The blob of principals: a uint32 little-endian each for the hash of a principal, a resource, a grant or what names.ts has
 * and the record's place in the segment, sorted by both. That of the decisions: the key of each record, a uint32
 * little-endian, in the order of the records, since to go through all of them once takes less than to sort them. That of the
 * revisions, which are few: the hash of each, a uint16 little-endian, and the CRC-32 of all. All only narrow: whoever reads
 * compares what stands in the record.
 */
export const SEGMENT_RECORDS = 4_096;

const PAIR_BYTES = 8;
const KEY_BYTES = 4;

/** What the blob has beside principals: nothing where an older version sealed it, resources and grants, or all. */
export const SegmentNames = { none: 0, some: 1, all: 2 } as const;
export type SegmentNames = (typeof SegmentNames)[keyof typeof SegmentNames];

export interface Segment {
  readonly principals: Uint8Array;
  /** Undefined where a record has none: an older version wrote it. */
  readonly decisions: Uint8Array | undefined;
  readonly names: SegmentNames;
  /** Undefined where a record does not tell its own. */
  readonly revisions: Uint8Array | undefined;
  /** Milliseconds since the epoch, both inclusive. Time may go back within a log: the order of a log is its index. */
  readonly firstTime: number;
  readonly lastTime: number;
}

/** A full segment, given the heads of its runs in order. */
export function sealSegment(runs: readonly Heads[]): Segment {
  const principals = new Pairs(SEGMENT_RECORDS * 5);
  const decisions = Buffer.allocUnsafe(SEGMENT_RECORDS * KEY_BYTES);
  let hasKeys = true;
  let hasNames = true;
  const revisions = new Set<number>();
  let place = 0;
  let [firstTime, lastTime] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const heads of runs) {
    hasKeys &&= heads.isSealed;
    hasNames &&= heads.hasNames;
    for (let at = 0; at < heads.capacity; at += 1, place += 1) {
      const [subject, actor, time] = [heads.subject(at), heads.actor(at), heads.time(at)];
      if (subject !== 0) principals.add(subject, place);
      if (actor !== 0 && actor !== subject) principals.add(actor, place);
      const { resource, grant, earlier, revision } = heads.names(at);
      if (resource !== 0) principals.add(resource, place);
      if (grant !== 0) principals.add(grant, place);
      const key = earlierKey(earlier);
      if (key !== undefined) principals.add(key, place);
      revisions.add(revision);
      if (hasKeys) decisions.writeUInt32LE(heads.key(at), place * KEY_BYTES);
      if (time < firstTime) firstTime = time;
      if (time > lastTime) lastTime = time;
    }
  }
  return {
    principals: principals.sorted(),
    decisions: hasKeys ? decisions : undefined,
    firstTime: Math.floor(firstTime),
    lastTime: Math.ceil(lastTime),
    names: namesOf(hasNames, revisions),
    revisions: hasNames ? listOf(revisions) : undefined,
  };
}

/** Revisions are told with the earlier actors, or neither is. */
function namesOf(hasNames: boolean, revisions: ReadonlySet<number>): SegmentNames {
  if (!hasNames) return SegmentNames.none;
  return revisions.has(0) ? SegmentNames.some : SegmentNames.all;
}

function listOf(revisions: ReadonlySet<number>): Uint8Array | undefined {
  if (revisions.has(0)) return undefined;
  const list = Buffer.alloc(revisions.size * 2 + 4);
  let end = 0;
  for (const revision of revisions) end = list.writeUInt16LE(revision, end);
  list.writeUInt32LE(crc32(list.subarray(0, end)), end);
  return list;
}

/** Whether a revision of this hash is in the list; undefined where that is damaged. */
export function isListed(bytes: Uint8Array, revision: number): boolean | undefined {
  const list = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = list.length - 4;
  if (end < 0 || end % 2 !== 0 || list.readUInt32LE(end) !== crc32(list.subarray(0, end))) return undefined;
  for (let at = 0; at < end; at += 2) if (list.readUInt16LE(at) === revision) return true;
  return false;
}

export const sumOf = (blob: Uint8Array): number => crc32(blob);

class Pairs {
  /** 32 bits of hash and 12 of place fit a double. */
  readonly #pairs: Float64Array;
  #count = 0;

  constructor(most: number) {
    this.#pairs = new Float64Array(most);
  }

  add(hash: number, place: number): void {
    this.#pairs[this.#count++] = hash * SEGMENT_RECORDS + place;
  }

  sorted(): Uint8Array {
    const sorted = this.#pairs.subarray(0, this.#count).sort();
    const blob = Buffer.allocUnsafe(this.#count * PAIR_BYTES);
    for (let at = 0; at < this.#count; at += 1) {
      const pair = sorted[at] ?? 0;
      blob.writeUInt32LE(Math.floor(pair / SEGMENT_RECORDS), at * PAIR_BYTES);
      blob.writeUInt32LE(pair % SEGMENT_RECORDS, at * PAIR_BYTES + 4);
    }
    return blob;
  }
}

/** Places in the segment of records with this key, latest first. */
export function placesOfKey(blob: Uint8Array, key: number): number[] {
  const bytes = Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength);
  const places: number[] = [];
  for (let at = bytes.length - KEY_BYTES; at >= 0; at -= KEY_BYTES)
    if (bytes.readUInt32LE(at) === key) places.push(at / KEY_BYTES);
  return places;
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
