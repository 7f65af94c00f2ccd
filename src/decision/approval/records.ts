import { buildRecord } from '../../audit/record.ts';
import type { Clock, Random } from '../../effects.ts';
import { type NamedRef, uuidv7 } from '../../ids.ts';
import type { ApprovalRow, NewApproval } from '../../storage/approvals/rows.ts';
import { storedJson } from '../../storage/faults.ts';
import type { RecordRow } from '../../storage/rows.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import type { Reason } from '../../verdict.ts';
import type { AskedOfApproval } from './asked.ts';
import type { Question } from './question.ts';

export type ApprovalEvent = 'request' | 'approve' | 'reject' | 'cancel' | 'expire';

/** What happened to an approval. */
export interface ApprovalStep {
  readonly event: ApprovalEvent;
  /** As records name callers. */
  readonly caller: string;
  readonly approval: ApprovalRow | NewApproval;
  /** Undefined where it is new. */
  readonly before: object | undefined;
  /** Undefined where nothing was changed: it was denied. */
  readonly after: object | undefined;
  /** Who decided. */
  readonly by?: NamedRef | undefined;
  readonly reasons?: readonly Reason[] | undefined;
  readonly revision?: string | undefined;
  /** Of whoever decides: how the policy was asked, and by which rules it answered. */
  readonly ruled?: Ruled | undefined;
}

export interface Ruled {
  readonly decisionId: string;
  readonly rules: readonly string[];
  readonly asked: AskedOfApproval | undefined;
}

/**
 * The record of a step. Of what was asked it has the names alone: all of it stands in the record of the decision that
 * is named in it, as far as the tenant lets it.
 */
export function approvalRecord(
  tenant: Tenant,
  step: ApprovalStep,
  { clock, random }: { clock: Clock; random: Random },
): RecordRow {
  const { event, caller, approval, before = null, after = null, by, reasons, revision, ruled } = step;
  const { subject, actors, action, resource } = storedJson(approval.question) as Question;
  const time = clock();
  const detail = {
    approval: approval.id,
    decision_id: approval.decisionId,
    requested_by: approval.caller,
    asked: { action: action.name, resource: { type: resource.type, id: resource.id } },
    ...(by && { by }),
    before,
    after,
  };
  return buildRecord({
    tenantNo: tenant.no,
    time,
    kind: 'approval',
    outcome: step.after ? 'done' : 'deny',
    decisionId: ruled?.decisionId ?? uuidv7(time, random(10)),
    caller,
    subject,
    // Who decided finds it as well.
    actor: by ?? actors[0],
    reason: reasons?.[0]?.code,
    revision,
    members: `${revision ? `,"revision":"${revision}"` : ''}${reasons ? `,"reasons":${JSON.stringify(reasons)}` : ''}${ruled ? ruledMembers(ruled) : ''},"detail":${JSON.stringify(detail)}`,
    input: JSON.stringify({
      subject,
      ...(by && { target: by }),
      actors,
      action: { name: `approval.${event}` },
      resource: { type: 'approval', id: approval.id },
    }),
  });
}

/** JSON members, each with a leading comma. */
function ruledMembers({ rules, asked }: Ruled): string {
  const input = asked ? `,"policy_input":${JSON.stringify(asked.input)}` : '';
  const missing = asked?.missing.length ? `,"policy_input_missing":${JSON.stringify(asked.missing)}` : '';
  return `,"rules":${JSON.stringify(rules)}${input}${missing}`;
}

/** How an approval stands, as records tell it. */
export const standing = (row: ApprovalRow): object => ({
  state: row.state,
  expires_at: new Date(row.approvedUntil ?? row.expiresAt).toISOString(),
  uses_left: row.usesLeft,
});
