import type { GrantId, NamedRef, PrincipalRef } from '../../ids.ts';

/** What became of a request so far. What its time is over stays `pending` or `approved` until somebody comes upon it. */
export type ApprovalState = 'pending' | 'approved' | 'rejected' | 'cancelled' | 'expired' | 'used';

/** A request for approval, and what became of it. Times in milliseconds since the epoch. */
export interface ApprovalRow {
  /** Not to be guessed. */
  readonly id: string;
  readonly state: ApprovalState;
  /** SHA-256 of all that was asked, with its tenant and caller. */
  readonly digest: Uint8Array;
  /** Who asked, as records name callers, and alone may use it. */
  readonly caller: string;
  /** Who would act. */
  readonly requester: PrincipalRef;
  /** Whoever has a part in it: once one of them was disabled it is of no use. */
  readonly parties: readonly PrincipalRef[];
  /** Behind the token that was presented: once that has ended, the approval is of no use. */
  readonly grantId: GrantId | null;
  /** Of the token that all began with; empty for none: once it was killed, the approval is of no use. */
  readonly issuer: string;
  /** JSON: what was asked, as the approver sees it. */
  readonly question: string;
  /** How often it may be used, and for how long once it is approved. */
  readonly uses: number;
  readonly validMs: number;
  /** The requester's words. */
  readonly reason: string;
  /** The policy's name for how it is decided; empty for none. */
  readonly template: string;
  /** JSON: until when it is wanted at most (`until`, milliseconds since the epoch), and whether it is an `emergency`; null: nothing was said. */
  readonly requested: string | null;
  /** Of the denial. */
  readonly decisionId: string;
  /** JSON: whom to tell once it is decided; null for nobody. */
  readonly callback: string | null;
  readonly openedAt: number;
  /** Until when it may be decided. */
  readonly expiresAt: number;
  /** When it was decided or given up. */
  readonly settledAt: number | null;
  readonly approver: NamedRef | null;
  /** The approver's words. */
  readonly note: string;
  /** Until when it may be used. */
  readonly approvedUntil: number | null;
  readonly usesLeft: number;
}

/** What is opened. */
export type NewApproval = Omit<
  ApprovalRow,
  'state' | 'settledAt' | 'approver' | 'note' | 'approvedUntil' | 'usesLeft'
>;

/** By which a caller names a request again that it has sent (Idempotency-Key). Both SHA-256. */
export interface ApprovalKey {
  /** Of the caller and its key. */
  readonly name: Uint8Array;
  /** Of what was sent with it. */
  readonly body: Uint8Array;
}
