import { crc32 } from 'node:zlib';
import { HASH_BYTES, type Hash, isSame, leafHash } from '../../merkle/hashes.ts';

/**
 * What finds a record without reading it: fixed fields before the bytes, the same on the way to the writer's thread
 * and in the store but for one of them. Little-endian, HEAD_BYTES a record:
 *
 * | at | |
 * |---|---|
 * | 0 | float64: milliseconds since the epoch |
 * | 8 | uint32: the tenant's number; in the store the record's key, see `recordKey` |
 * | 12 | uint32: where its body ends, among the bodies it stands with |
 * | 16, 20 | uint32 each: hashes of the subject and of the current actor, 0 for none |
 * | 24, 25 | uint8 each: places in `recordKinds` and `recordOutcomes` |
 * | 26 | uint16: hash of the caller; 0 where an older version wrote it |
 * | 28 | uint32: the record's key |
 *
 * After the heads of a run stand the records' hashes as leaves of their log's tree (RFC 6962), HASH_BYTES each: level 0 of
 * its tiles. In the store two uint32 follow: a CRC-32 of all before, begun with the run's row id, so that neither they
 * nor their place change by accident unnoticed, and the FORM.
 *
 * Runs of older versions have no hashes, and a CRC-32 of the body at 28; after them stands the sum alone, or nothing,
 * and they are taken as they are.
 */
export const HEAD_BYTES = 32;
const SUM_BYTES = 4;
const TRAILER_BYTES = 8;
const FORM = 2;

/** In SQL, how many records a run has. */
export const RECORDS_IN_HEADS = `CASE length(heads) % ${HEAD_BYTES} WHEN ${TRAILER_BYTES} THEN (length(heads) - ${TRAILER_BYTES}) / ${HEAD_BYTES + HASH_BYTES} ELSE length(heads) / ${HEAD_BYTES} END`;

export const recordKinds = ['decision', 'exchange', 'introspection', 'revocation', 'administration'] as const;
export type RecordKind = (typeof recordKinds)[number];

export const recordOutcomes = ['allow', 'deny', 'challenge', 'done', 'error'] as const;
export type RecordOutcome = (typeof recordOutcomes)[number];

/** Heads in a row, one after the other, and the leaves of their records. */
export class Heads {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  /** How many there is room for. */
  readonly capacity: number;
  readonly #sumBytes: number;
  readonly #hasLeaves: boolean;

  private constructor(bytes: Uint8Array, sumBytes: number, hasLeaves: boolean) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#sumBytes = sumBytes;
    this.#hasLeaves = hasLeaves;
    this.capacity = Math.floor((bytes.length - sumBytes) / (HEAD_BYTES + (hasLeaves ? HASH_BYTES : 0)));
  }

  /** Those of a run in the store. */
  static stored(bytes: Uint8Array): Heads {
    const rest = bytes.length % HEAD_BYTES;
    return new Heads(bytes, rest === TRAILER_BYTES || rest === SUM_BYTES ? rest : 0, rest === TRAILER_BYTES);
  }

  /** Room for as many as the bytes hold, on their way to the store. */
  static carried(bytes: Uint8Array): Heads {
    return new Heads(bytes, 0, true);
  }

  /** How many bytes so many take on their way. */
  static sizeOf(count: number): number {
    return count * (HEAD_BYTES + HASH_BYTES);
  }

  /** The run of this row id, its heads as they are laid and its leaves given; bodies are said to end where `lay` says. */
  static run(heads: readonly Uint8Array[], leaves: readonly Uint8Array[]): Heads {
    return new Heads(Buffer.concat([...heads, ...leaves, Buffer.alloc(TRAILER_BYTES)]), TRAILER_BYTES, true);
  }

  /** All of them, as they are stored. */
  get all(): Uint8Array {
    return this.#bytes;
  }

  /** Whether they have sums: those of a run in the store do. */
  get isSealed(): boolean {
    return this.#sumBytes > 0;
  }

  /** Whether they are, all of them, what was sealed as the run of this row id; those without sums are taken as they are. */
  isSound(id: number): boolean {
    if (!this.isSealed) return true;
    const end = this.#bytes.length - this.#sumBytes;
    if (this.#hasLeaves && this.#view.getUint32(end + SUM_BYTES, true) !== FORM) return false;
    return this.#view.getUint32(end, true) === crc32(this.#bytes.subarray(0, end), id >>> 0);
  }

  /** Makes it the run of this row id: its keys and leaves are in place. */
  seal(id: number): void {
    const end = this.#bytes.length - this.#sumBytes;
    this.#view.setUint32(end, crc32(this.#bytes.subarray(0, end), id >>> 0), true);
    this.#view.setUint32(end + SUM_BYTES, FORM, true);
  }

  /** The hashes of records as leaves, in a row; undefined of a run that an older version wrote. */
  leaves(from: number, to: number): Uint8Array | undefined {
    if (!this.#hasLeaves) return undefined;
    const first = this.capacity * HEAD_BYTES;
    return this.#bytes.subarray(first + from * HASH_BYTES, first + to * HASH_BYTES);
  }

  putLeaf(at: number, leaf: Hash): void {
    this.#bytes.set(leaf, this.capacity * HEAD_BYTES + at * HASH_BYTES);
  }

  bytes(from: number, to: number): Uint8Array {
    return this.#bytes.subarray(from * HEAD_BYTES, to * HEAD_BYTES);
  }

  put(
    at: number,
    time: number,
    tenantNo: number,
    end: number,
    subject: number,
    actor: number,
    kind: RecordKind,
    outcome: RecordOutcome,
    key: number,
    caller = 0,
  ): void {
    const from = at * HEAD_BYTES;
    this.#view.setFloat64(from, time, true);
    this.#view.setUint32(from + 8, tenantNo, true);
    this.#view.setUint32(from + 12, end, true);
    this.#view.setUint32(from + 16, subject, true);
    this.#view.setUint32(from + 20, actor, true);
    this.#view.setUint8(from + 24, recordKinds.indexOf(kind));
    this.#view.setUint8(from + 25, recordOutcomes.indexOf(outcome));
    this.#view.setUint16(from + 26, caller, true);
    this.#view.setUint32(from + 28, key, true);
  }

  /** What it is in the store: its own key in the place of the tenant's number. */
  lay(at: number, end: number): void {
    const from = at * HEAD_BYTES;
    this.#view.setUint32(from + 8, this.#view.getUint32(from + 28, true), true);
    this.#view.setUint32(from + 12, end, true);
  }

  /** Whether the record may be of a caller of this hash. */
  mayBeOf(at: number, caller: number): boolean {
    const own = this.#view.getUint16(at * HEAD_BYTES + 26, true);
    return own === caller || own === 0;
  }

  /** Of sealed heads. */
  key(at: number): number {
    return this.#view.getUint32(at * HEAD_BYTES + 8, true);
  }

  /** Whether a body is the one that was written; what the oldest version wrote does not tell. */
  isOf(at: number, body: Uint8Array): boolean {
    const leaf = this.leaves(at, at + 1);
    if (leaf) return isSame(leaf, leafHash(body));
    return !this.isSealed || this.#view.getUint32(at * HEAD_BYTES + 28, true) === crc32(body);
  }

  time(at: number): number {
    return this.#view.getFloat64(at * HEAD_BYTES, true);
  }

  tenantNo(at: number): number {
    return this.#view.getUint32(at * HEAD_BYTES + 8, true);
  }

  /** Where the body begins: where the one before it ends. */
  start(at: number): number {
    return at === 0 ? 0 : this.end(at - 1);
  }

  end(at: number): number {
    return this.#view.getUint32(at * HEAD_BYTES + 12, true);
  }

  subject(at: number): number {
    return this.#view.getUint32(at * HEAD_BYTES + 16, true);
  }

  actor(at: number): number {
    return this.#view.getUint32(at * HEAD_BYTES + 20, true);
  }

  kind(at: number): RecordKind | undefined {
    return recordKinds[this.#view.getUint8(at * HEAD_BYTES + 24)];
  }

  outcome(at: number): RecordOutcome | undefined {
    return recordOutcomes[this.#view.getUint8(at * HEAD_BYTES + 25)];
  }
}

/** What finds a record by its decision id: the last 32 bits of the UUID, which are random. Whoever reads compares all. */
export const recordKey = (decisionId: string): number => Number.parseInt(decisionId.slice(-8), 16);

/**
 * A principal as heads name it: FNV-1a, 32 bits, over the UTF-16 units of `class:id`. It only narrows a search; whoever
 * reads compares the names in the record.
 */
export function principalHash(
  principal: { readonly class: string; readonly id: string } | undefined,
): number {
  if (!principal) return 0;
  const hash = fnv(fnv(fnv(0x811c9dc5, principal.class), ':'), principal.id) >>> 0;
  // 0 says that there is nobody.
  return hash === 0 ? 1 : hash;
}

/** A caller as heads name it, in 16 bits. It only narrows too. */
export function callerHash(caller: string): number {
  const hash = fnv(0x811c9dc5, caller);
  return (hash ^ (hash >>> 16)) & 0xffff || 1;
}

function fnv(from: number, text: string): number {
  let hash = from;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash;
}
