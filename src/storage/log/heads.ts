/**
 * What finds a record without reading it: fixed fields before the bytes, the same on the way to the writer's thread
 * and in the store. Little-endian, HEAD_BYTES a record:
 *
 * | at | |
 * |---|---|
 * | 0 | float64: milliseconds since the epoch |
 * | 8 | uint32: the tenant's number |
 * | 12 | uint32: where its body ends, among the bodies it stands with |
 * | 16, 20 | uint32 each: hashes of the subject and of the current actor, 0 for none |
 * | 24, 25 | uint8 each: places in `recordKinds` and `recordOutcomes` |
 */
export const HEAD_BYTES = 32;

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
    return this.#view.byteLength / HEAD_BYTES;
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
  ): void {
    const from = at * HEAD_BYTES;
    this.#view.setFloat64(from, time, true);
    this.#view.setUint32(from + 8, tenantNo, true);
    this.#view.setUint32(from + 12, end, true);
    this.#view.setUint32(from + 16, subject, true);
    this.#view.setUint32(from + 20, actor, true);
    this.#view.setUint8(from + 24, recordKinds.indexOf(kind));
    this.#view.setUint8(from + 25, recordOutcomes.indexOf(outcome));
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

  setEnd(at: number, end: number): void {
    this.#view.setUint32(at * HEAD_BYTES + 12, end, true);
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
