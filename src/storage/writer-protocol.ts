/**
 * What the writer's two halves say to each other. Entries travel as one flat array of primitives, ENTRY_WIDTH a
 * piece, because cloning thousands of small objects a second costs more than the inserts do:
 * command or null, tenantNo or NO_RECORD, time, kind, outcome, subject, actor, body.
 */
export const ENTRY_WIDTH = 8;

export const NO_RECORD = 0;

export interface Batch {
  readonly entries: readonly unknown[];
}

export interface EntryResult {
  /** Where the record stands in its tenant's log; -1 where none was appended. */
  readonly index: number;
  /** What the command answered; `undefined` when its condition did not hold, null without a command. */
  readonly value: unknown;
  readonly error?: string;
}

export interface BatchDone {
  readonly results: readonly EntryResult[];
}
