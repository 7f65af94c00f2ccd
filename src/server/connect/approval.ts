import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { ServiceImpl } from '@connectrpc/connect';
import type { Approvers, Ruling } from '../../decision/approval/approvers.ts';
import type { Question } from '../../decision/approval/question.ts';
import type { RequestedAccess } from '../../decision/approval/requested.ts';
import {
  type Approval,
  ApprovalSchema,
  type ApprovalService,
  ApprovalState as State,
} from '../../gen/mandate/v1/approval_pb.ts';
import type { ApprovalRow, ApprovalState } from '../../storage/approvals/rows.ts';
import { storedJson } from '../../storage/faults.ts';
import type { Callers } from '../../tenancy/callers.ts';
import type { Tenants } from '../../tenancy/tenants.ts';
import { admit } from './context.ts';
import { proto } from './messages.ts';

const DEFAULT_PAGE = 50;

export function approvalService(parts: {
  tenants: Tenants;
  callers: Callers;
  approvers: Approvers;
}): ServiceImpl<typeof ApprovalService> {
  const { approvers } = parts;
  const settle = async (
    message: { tenant: string; id: string; note: string; approverToken: string },
    context: Parameters<typeof admit>[1],
    ruling: Ruling,
  ): Promise<{ approval: Approval }> => {
    const { tenant, caller } = await admit(parts, context, message.tenant, 'approval.write');
    const { id, note, approverToken } = message;
    const row = await approvers.settle(tenant, caller, { id, ruling, note, approverToken });
    return { approval: approvalMessage(row) };
  };
  return {
    async listApprovals(message, context) {
      const { tenant } = await admit(parts, context, message.tenant, 'approval.read');
      const { approvals, nextPageToken } = approvers.list(tenant, {
        includesSettled: message.includeSettled,
        pageSize: message.pageSize || DEFAULT_PAGE,
        pageToken: message.pageToken,
      });
      return { approvals: approvals.map(approvalMessage), nextPageToken };
    },
    async getApproval(message, context) {
      const { tenant, caller } = await admit(parts, context, message.tenant, 'approval.read');
      return { approval: approvalMessage(await approvers.show(tenant, caller, message.id)) };
    },
    approve: (message, context) => settle(message, context, 'approve'),
    reject: (message, context) => settle(message, context, 'reject'),
  };
}

const states = {
  pending: State.PENDING,
  approved: State.APPROVED,
  rejected: State.REJECTED,
  cancelled: State.CANCELLED,
  expired: State.EXPIRED,
  used: State.USED,
} as const satisfies Record<ApprovalState, State>;

function requestedOf(kept: string | null) {
  const { until, emergency = false } = kept === null ? {} : (storedJson(kept) as RequestedAccess);
  return { emergency, ...(until !== undefined && { requestedUntil: timestampFromMs(until) }) };
}

function approvalMessage(row: ApprovalRow): Approval {
  const question = storedJson(row.question) as Question;
  const { kind, subject, actors, action, resource, context, stated, grant } = question;
  return create(ApprovalSchema, {
    id: row.id,
    state: states[row.state],
    kind,
    caller: row.caller,
    subject,
    actors: [...actors],
    action: { name: action.name, properties: proto(action.properties ?? {}) },
    resource: { type: resource.type, id: resource.id, properties: proto(resource.properties ?? {}) },
    context: proto(context ?? {}),
    stated: proto(stated),
    ...(grant && { grant: proto({ ...grant }) }),
    reason: row.reason,
    template: row.template,
    ...requestedOf(row.requested),
    decisionId: row.decisionId,
    openedAt: timestampFromMs(row.openedAt),
    expiresAt: timestampFromMs(row.expiresAt),
    uses: row.uses,
    validForSeconds: row.validMs / 1_000,
    usesLeft: row.usesLeft,
    ...(row.approver && { approverClass: row.approver.class, approverId: row.approver.id }),
    ...(row.settledAt === null ? {} : { settledAt: timestampFromMs(row.settledAt) }),
    note: row.note,
    ...(row.approvedUntil === null ? {} : { approvedUntil: timestampFromMs(row.approvedUntil) }),
  });
}
