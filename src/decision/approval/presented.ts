import { timingSafeEqual } from 'node:crypto';
import type { ApprovalUse } from '../../storage/approvals/commands.ts';
import type { ApprovalRow } from '../../storage/approvals/rows.ts';
import type { ApprovalStore } from '../../storage/approvals/store.ts';
import { storedJson } from '../../storage/faults.ts';
import type { Caller } from '../../tenancy/callers.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import type { Reason } from '../../verdict.ts';
import { digestOf, type Question } from './question.ts';

/** An approval that holds for what is asked, as a policy sees it; nobody else can say so. */
export interface HeldApproval {
  readonly id: string;
  readonly approver: { readonly class: string; readonly id: string };
  /** RFC 3339. */
  readonly approved_at: string;
  readonly expires_at: string;
  /** The approver's words. */
  readonly reason: string;
}

/** What became of an approval that was presented. */
export type Presented =
  | { readonly held: HeldApproval; readonly use: ApprovalUse }
  /** `lapsed`: its time is over, which is to be noted. */
  | { readonly why: Unheld; readonly lapsed?: ApprovalRow | undefined };

/** Why an approval does not hold, in the words of the profile where it has some. */
export const unheldReasons = {
  approval_unverifiable: 'there is no such approval of yours',
  approval_pending: 'the request is not decided yet',
  approval_expired: 'the approval is over: used, ended, rejected or too late',
  approval_out_of_scope: 'the approval is for something else than what is asked',
} as const;
export type Unheld = keyof typeof unheldReasons;

export const unheldReason = (why: Unheld): Reason => ({ code: why, message: unheldReasons[why] });

/** Of an id, in characters. */
export const MAX_APPROVAL_ID = 64;

/**
 * Looks at an approval that a caller presents with a question. Somebody else's is as one that is not there. That it still
 * stands when it is used, the store sees to.
 */
export function presentedTo(
  store: Pick<ApprovalStore, 'find'>,
  tenant: Tenant,
  caller: Caller,
  id: string,
  ask: (bound: readonly string[]) => Question,
  now: number,
): Presented {
  const row = id.length <= MAX_APPROVAL_ID ? store.find(tenant.no, id) : undefined;
  if (!row || row.caller !== caller.id) return { why: 'approval_unverifiable' };
  const { bound } = storedJson(row.question) as Pick<Question, 'bound'>;
  const digest = digestOf(tenant.id, caller.id, ask(bound));
  if (!timingSafeEqual(digest, row.digest)) return { why: 'approval_out_of_scope' };
  const { state, settledAt, approver, approvedUntil } = row;
  if (state === 'pending')
    return row.expiresAt > now ? { why: 'approval_pending' } : { why: 'approval_expired', lapsed: row };
  if (state !== 'approved' || settledAt === null || approver === null || approvedUntil === null)
    return { why: 'approval_expired' };
  if (approvedUntil <= now) return { why: 'approval_expired', lapsed: row };
  return {
    held: {
      id,
      approver,
      approved_at: new Date(settledAt).toISOString(),
      expires_at: new Date(approvedUntil).toISOString(),
      reason: row.note,
    },
    use: { id, digest, caller: caller.id, usesLeft: row.usesLeft, at: now },
  };
}

/** JSON members of the record of whatever uses it, each with a leading comma. */
export const usedMembers = ({ id, usesLeft }: ApprovalUse): string =>
  `,"approval":${JSON.stringify({ id, uses_left: { before: usesLeft, after: usesLeft - 1 } })}`;
