/**
 * What a revision is: `draft` until its tests are run, `validated` once its tests passed, `shadow` while it is asked beside the active one, `staged` while
 * it decides for some, `active` while it decides, `superseded` when it no longer does.
 */
export const revisionStates = ['draft', 'validated', 'shadow', 'staged', 'active', 'superseded'] as const;
export type RevisionState = (typeof revisionStates)[number];

/** A revision as it is kept. It never changes, but for its state. */
export interface RevisionRow {
  /** `sha256:<hex>`. */
  readonly revision: string;
  /** Of the tenant's, in the order in which they were made, from 1. */
  readonly number: number;
  readonly state: RevisionState;
  /** What was active when it was made; empty for the first. */
  readonly parent: string;
  /** The caller that brought it: a principal, an operator, `start` or `watch`. */
  readonly author: string;
  readonly message: string;
  /** JSON: what it was made from, see `policy/revisions/contents.ts`. */
  readonly contents: string;
  /** SHA-256 of that, as hex. */
  readonly digest: string;
  /** JSON: what its tests came to. */
  readonly tests: string;
  /** Milliseconds since the epoch. */
  readonly madeAt: number;
  /** When it was made active last; null: never. */
  readonly activatedAt: number | null;
}

export type NewRevision = Omit<RevisionRow, 'number' | 'state' | 'activatedAt'>;

/** A content that revisions name, once for each tenant. */
export interface KeptFile {
  /** SHA-256 of the content, as hex. */
  readonly digest: string;
  /** Deflated, without a header. */
  readonly body: Uint8Array;
}

/** What a tenant runs, as the store has it. */
export interface KeptPolicy {
  readonly active: string;
  /** The digest of what its folder held when it was taken last; empty where it never was. */
  readonly folder: string;
  /** What is asked beside it; empty where nothing is. */
  readonly shadow: string;
  /** Of which package alone it is asked, the others being what is active; empty: as it is. */
  readonly shadowPackage: string;
  /** What decides for some; empty where nothing does. */
  readonly staged: string;
  /** JSON of a Share, where something is staged. */
  readonly share: string;
}

/** For whom a staged revision decides. */
export interface Share {
  /** Of all principals, 0 to 100: always the same ones, and more of them as it grows. */
  readonly percent: number;
  /** And these, as `class:id`. */
  readonly principals: readonly string[];
}
