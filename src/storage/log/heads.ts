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
 * its tiles. After those stand NAME_BYTES a record: uint32 hashes of its resource and its grant, uint16 hashes of its action
 * and its first reason, 0 for none, and what names.ts has, a uint16 each: of the actors before the current one, and of the
 * revision. In the store two uint32 follow: a CRC-32 of all before, begun with the run's row id, so that neither they
 * nor their place change by accident unnoticed, and the FORM.
 *
 * Runs of older versions have no hashes, and a CRC-32 of the body at 28; after them stands the sum alone, or nothing,
 * and they are taken as they are.
 */
export const HEAD_BYTES = 32;
const NAME_BYTES = 16;
const RECORD_BYTES = HEAD_BYTES + HASH_BYTES + NAME_BYTES;
const SUM_BYTES = 4;
const TRAILER_BYTES = 8;
const FORM = 2;

/** In SQL, how many records a run has. */
export const RECORDS_IN_HEADS = `CASE WHEN length(heads) % ${HEAD_BYTES} IN (0, ${SUM_BYTES}) THEN length(heads) / ${HEAD_BYTES} ELSE (length(heads) - ${TRAILER_BYTES}) / ${RECORD_BYTES} END`;

/** In SQL, whether a run is of an older version, and has no hashes. */
export const IS_BARE = `length(heads) % ${HEAD_BYTES} IN (0, ${SUM_BYTES})`;

/** Stores hold their places: a kind is added at the end. */
export const recordKinds = [
  'decision',
  'exchange',
  'introspection',
  'revocation',
  'administration',
  'access',
  'read',
  'server',
  'key',
  'approval',
  'plan',
] as const;
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
    this.capacity = Math.floor((bytes.length - sumBytes) / (hasLeaves ? RECORD_BYTES : HEAD_BYTES));
  }

  /** Those of a run in the store. */
  static stored(bytes: Uint8Array): Heads {
    const rest = bytes.length % HEAD_BYTES;
    if (rest === 0 || rest === SUM_BYTES) return new Heads(bytes, rest, false);
    return new Heads(bytes, TRAILER_BYTES, true);
  }

  /** Room for as many as the bytes hold, on their way to the store. */
  static carried(bytes: Uint8Array): Heads {
    return new Heads(bytes, 0, true);
  }

  /** How many bytes so many take on their way. */
  static sizeOf(count: number): number {
    return count * RECORD_BYTES;
  }

  /** How many bytes so many take as a run in the store. */
  static storedSize(count: number): number {
    return count * RECORD_BYTES + TRAILER_BYTES;
  }

  /** A run of records that stand elsewhere, from one place to before another; bodies are said to end where `lay` says. */
  static run(parts: readonly { readonly heads: Heads; readonly from: number; readonly to: number }[]): Heads {
    let count = 0;
    for (const { from, to } of parts) count += to - from;
    const bytes = Buffer.alloc(Heads.storedSize(count));
    const run = new Heads(bytes, TRAILER_BYTES, true);
    let place = 0;
    for (const { heads, from, to } of parts) {
      const [first, last] = [heads.capacity * HEAD_BYTES, heads.#namesAt(0)];
      const own = heads.#bytes;
      bytes.set(own.subarray(from * HEAD_BYTES, to * HEAD_BYTES), place * HEAD_BYTES);
      bytes.set(
        own.subarray(first + from * HASH_BYTES, first + to * HASH_BYTES),
        count * HEAD_BYTES + place * HASH_BYTES,
      );
      bytes.set(own.subarray(last + from * NAME_BYTES, last + to * NAME_BYTES), run.#namesAt(place));
      place += to - from;
    }
    return run;
  }

  /** Those of another, that has room for as many at least. */
  copyTo(other: Heads): void {
    const { capacity } = this;
    other.#bytes.set(this.bytes(0, capacity));
    other.#bytes.set(this.leaves(0, capacity) ?? NONE, other.capacity * HEAD_BYTES);
    other.#bytes.set(this.#names(0, capacity), other.#namesAt(0));
  }

  /** All of them, as they are stored. */
  get all(): Uint8Array {
    return this.#bytes;
  }

  /** Whether they have sums: those of a run in the store do. */
  get isSealed(): boolean {
    return this.#sumBytes > 0;
  }

  /** What is left of a run whose records are removed: how many they were, and their hashes. Of one that has those. */
  removed(id: number): Heads {
    const bytes = Buffer.alloc(this.#bytes.length);
    const left = new Heads(bytes, this.#sumBytes, this.#hasLeaves);
    bytes.set(this.leaves(0, this.capacity) ?? NONE, this.capacity * HEAD_BYTES);
    left.seal(id);
    return left;
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

  #namesAt(at: number): number {
    return this.capacity * (HEAD_BYTES + HASH_BYTES) + at * NAME_BYTES;
  }

  #names(from: number, to: number): Uint8Array {
    return this.#bytes.subarray(this.#namesAt(from), this.#namesAt(to));
  }

  /** Whether what it names is known: an older version wrote none of it. */
  get hasNames(): boolean {
    return this.#hasLeaves;
  }

  putNames(at: number, { resource, grant, action, reason, earlier, revision }: NameHashes): void {
    const from = this.#namesAt(at);
    this.#view.setUint32(from, resource, true);
    this.#view.setUint32(from + 4, grant, true);
    this.#view.setUint16(from + 8, action, true);
    this.#view.setUint16(from + 10, reason, true);
    this.#view.setUint16(from + 12, earlier, true);
    this.#view.setUint16(from + 14, revision, true);
  }

  names(at: number): NameHashes {
    if (!this.#hasLeaves) return NOBODY;
    const from = this.#namesAt(at);
    return {
      resource: this.#view.getUint32(from, true),
      grant: this.#view.getUint32(from + 4, true),
      action: this.#view.getUint16(from + 8, true),
      reason: this.#view.getUint16(from + 10, true),
      earlier: this.#view.getUint16(from + 12, true),
      revision: this.#view.getUint16(from + 14, true),
    };
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

/** What a record names beside its principals, as hashes; each only narrows a search, and 0 is for none. The last two: names.ts. */
export interface NameHashes {
  readonly resource: number;
  readonly grant: number;
  readonly action: number;
  readonly reason: number;
  readonly earlier: number;
  readonly revision: number;
}

const NOBODY: NameHashes = { resource: 0, grant: 0, action: 0, reason: 0, earlier: 0, revision: 0 };
const NONE = new Uint8Array();

/** Of what is no principal: it is not found by the hash of one that is called so. */
export const nameHash = (kind: 'resource' | 'grant' | 'earlier', name: string): number =>
  fnv(fnv(0x811c9dc5, `${kind}=`), name) >>> 0 || 1;

/** In 16 bits: of a caller, an action, a reason. */
export function shortHash(name: string): number {
  const hash = fnv(0x811c9dc5, name);
  return (hash ^ (hash >>> 16)) & 0xffff || 1;
}

function fnv(from: number, text: string): number {
  let hash = from;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash;
}
