import { crc32 } from 'node:zlib';
import { Heads } from '../log/heads.ts';
import type { LaidRun } from '../log/laid.ts';
import { RUN_RECORDS, recordIndex, recordTenant } from '../rows.ts';

/**
 * A row of the journal: runs of several logs, side by side as one commit made them. `heads` and `bodies` are those of the
 * runs, one after the other, as they would stand in a row each. `places` says whose they are, little-endian, PLACE_BYTES a
 * run, and ends with a CRC-32 of itself, begun with the row's number:
 *
 * | at | |
 * |---|---|
 * | 0 | float64: row id of its first record |
 * | 8 | uint32: how many records it has |
 * | 12 | uint32: how many bytes their bodies have |
 */
export interface JournalRow {
  readonly seq: number;
  readonly places: Uint8Array;
  readonly heads: Uint8Array;
  readonly bodies: Uint8Array;
}

const PLACE_BYTES = 16;
const SUM_BYTES = 4;

/** Where a run stands in a row of the journal. */
export interface Place {
  readonly seq: number;
  /** Row id of its first record. */
  readonly id: number;
  readonly count: number;
  readonly headsAt: number;
  readonly bodiesAt: number;
  readonly bodyBytes: number;
}

export function packed(seq: number, runs: readonly LaidRun[]): { row: JournalRow; places: Place[] } {
  const bytes = Buffer.alloc(runs.length * PLACE_BYTES + SUM_BYTES);
  const places: Place[] = [];
  let [at, headsAt, bodiesAt] = [0, 0, 0];
  for (const { id, heads, bodies } of runs) {
    const [count, bodyBytes] = [heads.capacity, bodies.length];
    at = bytes.writeDoubleLE(id, at);
    at = bytes.writeUInt32LE(count, at);
    at = bytes.writeUInt32LE(bodyBytes, at);
    places.push({ seq, id, count, headsAt, bodiesAt, bodyBytes });
    headsAt += heads.all.length;
    bodiesAt += bodyBytes;
  }
  bytes.writeUInt32LE(sumOf(seq, bytes.subarray(0, at)), at);
  const row = {
    seq,
    places: bytes,
    heads: Buffer.concat(
      runs.map(({ heads }) => heads.all),
      headsAt,
    ),
    bodies: Buffer.concat(
      runs.map(({ bodies }) => bodies),
      bodiesAt,
    ),
  };
  return { row, places };
}

/** Undefined where they are not what was written. */
export function placesIn(seq: number, bytes: Uint8Array): Place[] | undefined {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = buffer.length - SUM_BYTES;
  if (end < 0 || end % PLACE_BYTES !== 0) return undefined;
  if (buffer.readUInt32LE(end) !== sumOf(seq, buffer.subarray(0, end))) return undefined;
  const places: Place[] = [];
  let [headsAt, bodiesAt] = [0, 0];
  for (let at = 0; at < end; at += PLACE_BYTES) {
    const id = buffer.readDoubleLE(at);
    const count = buffer.readUInt32LE(at + 8);
    const bodyBytes = buffer.readUInt32LE(at + 12);
    if (!isRun(id, count)) return undefined;
    places.push({ seq, id, count, headsAt, bodiesAt, bodyBytes });
    headsAt += Heads.storedSize(count);
    bodiesAt += bodyBytes;
  }
  return places;
}

/** Whoever made the sum may have made the rest. */
const isRun = (id: number, count: number): boolean =>
  Number.isSafeInteger(id) &&
  recordTenant(id) > 0 &&
  count > 0 &&
  (recordIndex(id) % RUN_RECORDS) + count <= RUN_RECORDS;

const sumOf = (seq: number, places: Uint8Array): number => crc32(places, seq >>> 0);

/** The heads of a run as they stand there; not sound where some of their bytes are missing. */
export const headsOf = (bytes: Uint8Array, count: number): Uint8Array =>
  bytes.length === Heads.storedSize(count) ? bytes : Buffer.alloc(Heads.storedSize(count));

/** A run as it stands there. */
export function laidIn({ heads, bodies }: JournalRow, place: Place): LaidRun {
  const { id, count, headsAt, bodiesAt, bodyBytes } = place;
  const own = heads.subarray(headsAt, headsAt + Heads.storedSize(count));
  return {
    id,
    heads: Heads.stored(headsOf(own, count)),
    bodies: bodies.subarray(bodiesAt, bodiesAt + bodyBytes),
  };
}

/** Whether it can be filed: what is in it is told by its hashes then. */
export function isWhole(row: JournalRow, place: Place): boolean {
  const { id, heads, bodies } = laidIn(row, place);
  return heads.isSound(id) && heads.end(heads.capacity - 1) === bodies.length;
}
