import type { GrantId, PrincipalRef } from '../../ids.ts';
import type { Connection } from '../database.ts';
import { storedJson } from '../faults.ts';
import type { TenantNo } from '../rows.ts';
import { GOES_ON } from './living.ts';
import type { ApprovalRow, ApprovalState } from './rows.ts';

export interface ApprovalStore {
  /** As it stands in the last commit. */
  find(tenantNo: TenantNo, id: string): ApprovalRow | undefined;
  /** Of the same caller and the very same question, one that goes on at that time: pending, or approved, not used up and of use. */
  open(tenantNo: TenantNo, digest: Uint8Array, caller: string, at: number): ApprovalRow | undefined;
  /** What was sent with the key, and the request that it opened. */
  byKey(tenantNo: TenantNo, name: Uint8Array): { body: Uint8Array; row: ApprovalRow } | undefined;
  /** The newest first, behind a place. */
  list(
    tenantNo: TenantNo,
    filter: ApprovalFilter,
    after: ApprovalPlace | undefined,
    count: number,
  ): ApprovalRow[];
  /** How many may still be decided at that time, of the tenant and of a requester. */
  pending(tenantNo: TenantNo, requester: PrincipalRef, at: number): { ofTenant: number; ofRequester: number };
}

export interface ApprovalFilter {
  /** Only those that may still be decided at that time. */
  readonly pendingAt?: number | undefined;
}

export interface ApprovalPlace {
  readonly openedAt: number;
  readonly id: string;
}

interface Columns {
  id: string;
  state: ApprovalState;
  digest: Uint8Array;
  caller: string;
  requester: string;
  parties: string;
  grant_id: string | null;
  issuer: string;
  question: string;
  uses: number;
  valid_ms: number;
  reason: string;
  template: string;
  requested: string | null;
  decision_id: string;
  callback: string | null;
  opened_at: number;
  expires_at: number;
  settled_at: number | null;
  approver_class: string | null;
  approver_id: string | null;
  note: string;
  approved_until: number | null;
  uses_left: number;
}

const COLUMNS = `id, state, digest, caller, requester, parties, grant_id, issuer, question, uses, valid_ms, reason, template,
  requested, decision_id, callback, opened_at, expires_at, settled_at, approver_class, approver_id, note, approved_until, uses_left`;

const approvalOf = (row: Columns): ApprovalRow => ({
  id: row.id,
  state: row.state,
  digest: row.digest,
  caller: row.caller,
  requester: storedJson(row.requester) as PrincipalRef,
  parties: storedJson(row.parties) as PrincipalRef[],
  grantId: row.grant_id as GrantId | null,
  issuer: row.issuer,
  question: row.question,
  uses: row.uses,
  validMs: row.valid_ms,
  reason: row.reason,
  template: row.template,
  requested: row.requested,
  decisionId: row.decision_id,
  callback: row.callback,
  openedAt: row.opened_at,
  expiresAt: row.expires_at,
  settledAt: row.settled_at,
  approver:
    row.approver_class === null || row.approver_id === null
      ? null
      : { class: row.approver_class, id: row.approver_id },
  note: row.note,
  approvedUntil: row.approved_until,
  usesLeft: row.uses_left,
});

/** How requesters are told apart. */
export const requesterText = ({ class: cls, id }: PrincipalRef): string => JSON.stringify({ class: cls, id });

export function approvalStore(db: Connection): ApprovalStore {
  const find = db.prepare<[number, string], Columns>(
    `SELECT ${COLUMNS} FROM approvals WHERE tenant_no = ? AND id = ?`,
  );
  const byKey = db.prepare<[number, Uint8Array], { body: Uint8Array; approval: string }>(
    'SELECT body, approval FROM approval_keys WHERE tenant_no = ? AND name = ?',
  );
  const open = db.prepare<[object], Columns>(`
    SELECT ${COLUMNS} FROM approvals a WHERE ${GOES_ON} ORDER BY opened_at DESC, id LIMIT 1`);
  const behind = '(opened_at, id) < (@openedAt, @id)';
  const newest = 'ORDER BY opened_at DESC, id DESC LIMIT @count';
  const all = db.prepare<[object], Columns>(
    `SELECT ${COLUMNS} FROM approvals WHERE tenant_no = @no AND ${behind} ${newest}`,
  );
  const waiting = db.prepare<[object], Columns>(
    `SELECT ${COLUMNS} FROM approvals WHERE tenant_no = @no AND state = 'pending' AND expires_at > @at AND ${behind} ${newest}`,
  );
  const counts = db.prepare<[object], { ofTenant: number; ofRequester: number }>(`
    SELECT count(*) AS ofTenant, coalesce(sum(requester = @requester), 0) AS ofRequester
    FROM approvals WHERE tenant_no = @no AND state = 'pending' AND expires_at > @at`);
  return {
    find(no, id) {
      const row = find.get(no, id);
      return row && approvalOf(row);
    },
    byKey(no, name) {
      const known = byKey.get(no, name);
      const row = known && find.get(no, known.approval);
      return row && { body: known.body, row: approvalOf(row) };
    },
    open(no, digest, caller, at) {
      const row = open.get({ no, digest, caller, at });
      return row && approvalOf(row);
    },
    list(no, { pendingAt }, after, count) {
      const { openedAt, id } = after ?? { openedAt: Number.MAX_SAFE_INTEGER, id: '' };
      const bound = { no, openedAt, id, count };
      const rows = pendingAt === undefined ? all.all(bound) : waiting.all({ ...bound, at: pendingAt });
      return rows.map(approvalOf);
    },
    pending: (no, requester, at) =>
      counts.get({ no, requester: requesterText(requester), at }) ?? { ofTenant: 0, ofRequester: 0 },
  };
}
