import { crc32 } from 'node:zlib';

/**
 * What finds a record without reading it: fixed fields before the bytes, the same on the way to the writer's thread
 * and in the store but for two of them. Little-endian, HEAD_BYTES a record:
 *
 * | at | |
 * |---|---|
 * | 0 | float64: milliseconds since the epoch |
 * | 8 | uint32: the tenant's number; in the store the record's key, see `recordKey` |
 * | 12 | uint32: where its body ends, among the bodies it stands with |
 * | 16, 20 | uint32 each: hashes of the subject and of the current actor, 0 for none |
 * | 24, 25 | uint8 each: places in `recordKinds` and `recordOutcomes` |
 * | 28 | uint32: the record's key; in the store the CRC-32 of its body |
 *
 * In the store a uint32 follows the last of a run's heads: their CRC-32, begun with the run's row id, so that neither
 * they nor their place can change unnoticed, nor a body, whose own is among them. Runs of stores that an older version
 * wrote have no such sums, and are taken as they are.
 */
export const HEAD_BYTES = 32;
export const SUM_BYTES = 4;

export const recordKinds = ['decision', 'exchange', 'introspection', 'revocation', 'administration'] as const;
export type RecordKind = (typeof recordKinds)[number];

export const recordOutcomes = ['allow', 'deny', 'challenge', 'done', 'error'] as const;
export type RecordOutcome = (typeof recordOutcomes)[number];

/** Heads in a row, one after the other. */
export class Heads {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** How many there is room for. */
  get capacity(): number {
    return Math.floor(this.#view.byteLength / HEAD_BYTES);
  }

  /** Whether they have sums: those of a run in the store do. */
  get isSealed(): boolean {
    return this.#view.byteLength % HEAD_BYTES === SUM_BYTES;
  }

  /** Whether they are, all of them, what was sealed as the run of this row id. */
  isSound(id: number): boolean {
    const end = this.capacity * HEAD_BYTES;
    return this.#view.getUint32(end, true) === crc32(this.#bytes.subarray(0, end), id >>> 0);
  }

  /** Makes it the run of this row id: its keys and the sums of its bodies are in place. */
  seal(id: number): void {
    const end = this.capacity * HEAD_BYTES;
    this.#view.setUint32(end, crc32(this.#bytes.subarray(0, end), id >>> 0), true);
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
  ): void {
    const from = at * HEAD_BYTES;
    this.#view.setFloat64(from, time, true);
    this.#view.setUint32(from + 8, tenantNo, true);
    this.#view.setUint32(from + 12, end, true);
    this.#view.setUint32(from + 16, subject, true);
    this.#view.setUint32(from + 20, actor, true);
    this.#view.setUint8(from + 24, recordKinds.indexOf(kind));
    this.#view.setUint8(from + 25, recordOutcomes.indexOf(outcome));
    this.#view.setUint32(from + 28, key, true);
  }

  /** What it is in the store: its own key in the place of the tenant's number, and the sum of its body after it. */
  lay(at: number, end: number, body: Uint8Array): void {
    const from = at * HEAD_BYTES;
    this.#view.setUint32(from + 8, this.#view.getUint32(from + 28, true), true);
    this.#view.setUint32(from + 12, end, true);
    this.#view.setUint32(from + 28, crc32(body), true);
  }

  /** Of sealed heads. */
  key(at: number): number {
    return this.#view.getUint32(at * HEAD_BYTES + 8, true);
  }

  /** Whether a body is the one that was sealed. */
  isOf(at: number, body: Uint8Array): boolean {
    return this.#view.getUint32(at * HEAD_BYTES + 28, true) === crc32(body);
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

function fnv(from: number, text: string): number {
  let hash = from;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash;
}
