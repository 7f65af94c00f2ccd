/**
 * What the writer's two halves say to each other. Entries travel as one flat array of primitives, ENTRY_WIDTH a
 * piece, and record bodies as bytes of one buffer that changes hands: cloning thousands of objects and strings a
 * second costs more than the inserts do.
 *
 * An entry: command or null, tenantNo or NO_RECORD, time, kind, outcome, subject, actor, and where its body is:
 * offset and length in bytes.
 */
export const ENTRY_WIDTH = 9;

export const NO_RECORD = 0;

export interface Batch {
  readonly entries: readonly unknown[];
  /** Transferred, not copied. */
  readonly bodies: ArrayBuffer;
}

/** What became of a batch, an element an entry. */
export interface BatchDone {
  /** Where each record stands in its tenant's log; -1 where none was appended. One typed array: it clones as one copy. */
  readonly indexes: Float64Array;
  /** The batch's own, given back. */
  readonly bodies: ArrayBuffer;
  /** What each command answered, `undefined` when its condition did not hold; left out for a batch without commands. */
  readonly values?: readonly unknown[] | undefined;
  /** By position, what an entry failed with. */
  readonly errors?: ReadonlyMap<number, string> | undefined;
}
