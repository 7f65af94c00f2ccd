import { type NamedRef, principalClasses } from '../../ids.ts';
import type { Connection } from '../database.ts';
import type { GrantCommands, Presented } from '../granting/commands.ts';
import type { GrantRow, TenantNo } from '../rows.ts';
import type { UsageCommands } from '../usage.ts';
import { ACTIVE, APPROVER_LASTS, GOES_ON, LIVING } from './living.ts';
import type { ApprovalKey, NewApproval } from './rows.ts';
import { requesterText } from './store.ts';

/** One use of an approval: all of it must still be so. */
export interface ApprovalUse {
  readonly id: string;
  readonly digest: Uint8Array;
  readonly caller: string;
  /** How often it may be used yet, as whoever decided saw it: of two uses at once, one decides anew. */
  readonly usesLeft: number;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

export interface ApprovalCommands {
  /**
   * `undefined` where one of the caller's for the same question goes on, there are as many as may be, or somebody who has a
   * part in it is not active, or what it is asked under has ended; and for a key that is known.
   */
  readonly openApproval: (args: {
    tenantNo: TenantNo;
    /** An earlier version says nothing of what is requested. */
    approval: Omit<NewApproval, 'requested'> & Partial<Pick<NewApproval, 'requested'>>;
    key?: ApprovalKey | undefined;
  }) => true | undefined;
  /** Notes a key for a request that goes on. `undefined` where it is known, there are too many, or there is no such request. */
  readonly keepApprovalKey: (args: { tenantNo: TenantNo; id: string; key: ApprovalKey }) => true | undefined;
  /**
   * Decides what is pending, once; what was approved may be rejected after all. `undefined` where it is not so any more, or
   * what is to be approved could not be used. Without an approver it is given up.
   */
  readonly settleApproval: (args: {
    tenantNo: TenantNo;
    id: string;
    to: 'approved' | 'rejected' | 'cancelled';
    approver: NamedRef | null;
    note: string;
    at: number;
  }) => true | undefined;
  /** Notes that the time of one is over; `undefined` where that is noted, or it is not. */
  readonly expireApproval: (args: { tenantNo: TenantNo; id: string; at: number }) => true | undefined;
  /** Uses an approval, and counts what is done by it. `undefined` where it may not be used any more: then neither is done. */
  readonly useApproval: (args: {
    tenantNo: TenantNo;
    use: ApprovalUse;
    counts?: Parameters<UsageCommands['countUsage']>[0] | undefined;
  }) => true | undefined;
  /** Uses an approval for a grant, or for a task and its first one: all of it or nothing. */
  readonly grantApproved: (
    args: {
      tenantNo: TenantNo;
      use: ApprovalUse;
      grant: GrantRow;
      task: GrantRow | undefined;
    } & Presented,
  ) => true | undefined;
}

/** How many may wait to be decided, in a tenant and of one who would act. */
export const MOST_PENDING = 1_000;
export const MOST_PENDING_EACH = 20;

/** How long they are kept once their time is over. In milliseconds. */
export const APPROVALS_KEPT_MS = 7 * 86_400_000;
/** How many of those go with each new one, and of those that are settled where there are more in all than so many. */
const REMOVED_EACH = 2;
const MOST_KEPT = 10_000;

/** By how many keys one request is known. */
const MOST_KEYS_EACH = 32;

const isPrincipal = ({ class: cls }: NamedRef): boolean => principalClasses.some((each) => each === cls);

export function prepareApprovalCommands(
  db: Connection,
  {
    insertGrant,
    openTask,
    countUsage,
  }: Pick<GrantCommands, 'insertGrant' | 'openTask'> & Pick<UsageCommands, 'countUsage'>,
): ApprovalCommands {
  const nextSeq = db.prepare<[number], number>('SELECT grants + 1 FROM tenants WHERE no = ?').pluck();
  // Counted only with what is done: what is not has to leave everything as it was.
  const count = db.prepare('UPDATE tenants SET grants = grants + 1 WHERE no = ?');
  const goesOn = db.prepare<[object], 1>(`SELECT 1 FROM approvals a WHERE ${GOES_ON} LIMIT 1`).pluck();
  const countPending = db.prepare<[object], { all: number; own: number }>(`
    SELECT count(*) AS "all", coalesce(sum(requester = @requester), 0) AS own
    FROM approvals WHERE tenant_no = @no AND state = 'pending' AND expires_at > @openedAt`);
  const insert = db.prepare<[object]>(`
    INSERT INTO approvals (tenant_no, id, seq, state, digest, caller, requester, parties, grant_id, issuer, question, uses, valid_ms,
      reason, template, requested, decision_id, callback, opened_at, expires_at, note, uses_left)
    VALUES (@no, @id, @seq, 'pending', @digest, @caller, @requester, @parties, @grantId, @issuer, @question, @uses, @validMs,
      @reason, @template, @requested, @decisionId, @callback, @openedAt, @expiresAt, '', @uses)`);
  const drop = db.prepare('DELETE FROM approvals WHERE tenant_no = ? AND id = ?');
  const living = db
    .prepare<[object], 1>(`SELECT 1 FROM approvals a WHERE tenant_no = @no AND id = @id AND ${LIVING}`)
    .pluck();
  const removeOld = db.prepare<[object]>(`
    DELETE FROM approvals WHERE tenant_no = @no AND id IN (
      SELECT id FROM approvals WHERE tenant_no = @no AND coalesce(approved_until, expires_at) < @before
      ORDER BY coalesce(approved_until, expires_at) LIMIT ${REMOVED_EACH})`);
  const forgetKeys = db.prepare<[object]>(`
    DELETE FROM approval_keys WHERE tenant_no = @no AND NOT EXISTS (
      SELECT 1 FROM approvals a WHERE a.tenant_no = @no AND a.id = approval)`);
  const insertKey = db.prepare<[object]>(`
    INSERT INTO approval_keys (tenant_no, name, body, approval)
    SELECT @no, @name, @body, @id WHERE EXISTS (SELECT 1 FROM approvals WHERE tenant_no = @no AND id = @id)
      AND (SELECT count(*) FROM approval_keys WHERE tenant_no = @no AND approval = @id) < ${MOST_KEYS_EACH}
    ON CONFLICT DO NOTHING`);
  const hasKey = db
    .prepare<[object], 1>('SELECT 1 FROM approval_keys WHERE tenant_no = @no AND name = @name')
    .pluck();
  const isFull = db
    .prepare<[object], 1>(`SELECT 1 FROM approvals WHERE tenant_no = @no LIMIT 1 OFFSET ${MOST_KEPT}`)
    .pluck();
  const removeSettled = db.prepare<[object]>(`
    DELETE FROM approvals WHERE tenant_no = @no AND id IN (
      SELECT id FROM approvals WHERE tenant_no = @no AND state NOT IN ('pending', 'approved')
      ORDER BY opened_at LIMIT ${REMOVED_EACH})`);
  const settle = db.prepare<[object]>(`
    UPDATE approvals AS a SET state = @to, settled_at = @at, approver_class = @approverClass, approver_id = @approverId,
      approver_is_principal = @isPrincipal, approved_seq = @seq, note = @note,
      approved_until = CASE @to WHEN 'approved' THEN min(@at + valid_ms, coalesce(requested ->> 'until', @at + valid_ms)) END
    WHERE tenant_no = @no AND id = @id
      AND (@to <> 'approved' OR ${LIVING} AND (@isPrincipal = 0 OR EXISTS (SELECT 1 FROM principals p
        WHERE p.tenant_no = @no AND p.class = @approverClass AND p.id = @approverId AND ${ACTIVE})))
      AND (state = 'pending' AND expires_at > @at OR state = 'approved' AND @to = 'rejected')`);
  const expire = db.prepare<[object]>(`
    UPDATE approvals SET state = 'expired'
    WHERE tenant_no = @no AND id = @id AND (state = 'pending' AND expires_at <= @at OR state = 'approved' AND approved_until <= @at)`);
  const usable = `a.tenant_no = @no AND a.id = @id AND a.state = 'approved' AND a.digest = @digest AND a.caller = @caller
    AND a.approved_until > @at AND a.uses_left = @usesLeft AND ${LIVING} AND ${APPROVER_LASTS}`;
  const mayUse = db.prepare<[object], 1>(`SELECT 1 FROM approvals a WHERE ${usable}`).pluck();
  const take = db.prepare<[object]>(`
    UPDATE approvals AS a SET uses_left = uses_left - 1, state = CASE uses_left WHEN 1 THEN 'used' ELSE state END
    WHERE ${usable}`);

  const useApproval: ApprovalCommands['useApproval'] = ({ tenantNo: no, use, counts }) => {
    if (mayUse.get({ no, ...use }) === undefined) return undefined;
    // Its number is another one in another store.
    if (counts && countUsage({ ...counts, tenantNo: no }) === undefined) return undefined;
    take.run({ no, ...use });
    return true;
  };

  return {
    openApproval: ({ tenantNo: no, approval, key }) => {
      const { requester, parties, ...rest } = approval;
      const { requested = null } = approval;
      const row = {
        no,
        ...rest,
        requested,
        requester: requesterText(requester),
        parties: JSON.stringify(parties),
      };
      if (goesOn.get({ ...row, at: approval.openedAt })) return undefined;
      if (key && hasKey.get({ no, name: key.name })) return undefined;
      const { all = 0, own = 0 } = countPending.get(row) ?? {};
      if (all >= MOST_PENDING || own >= MOST_PENDING_EACH) return undefined;
      let removed = removeOld.run({ no, before: approval.openedAt - APPROVALS_KEPT_MS }).changes;
      if (isFull.get({ no })) removed += removeSettled.run({ no }).changes;
      if (removed > 0) forgetKeys.run({ no });
      insert.run({ ...row, seq: nextSeq.get(no) });
      if (living.get({ no, id: approval.id })) {
        if (key) insertKey.run({ no, id: approval.id, ...key });
        count.run(no);
        return true;
      }
      drop.run(no, approval.id);
      return undefined;
    },
    keepApprovalKey: ({ tenantNo: no, id, key }) =>
      insertKey.run({ no, id, ...key }).changes === 1 || undefined,
    settleApproval: ({ tenantNo: no, id, to, approver, note, at }) => {
      const bound = { no, id, to, note, at, seq: nextSeq.get(no) };
      const by = {
        approverClass: approver?.class ?? null,
        approverId: approver?.id ?? null,
        isPrincipal: approver && isPrincipal(approver) ? 1 : 0,
      };
      if (settle.run({ ...bound, ...by }).changes !== 1) return undefined;
      count.run(no);
      return true;
    },
    expireApproval: ({ tenantNo: no, id, at }) => expire.run({ no, id, at }).changes === 1 || undefined,
    useApproval,
    grantApproved: ({ tenantNo, use, grant, task, by = [] }) => {
      if (!mayUse.get({ no: tenantNo, ...use })) return undefined;
      const isGranted = task ? openTask({ tenantNo, task, grant, by }) : insertGrant({ tenantNo, grant, by });
      if (!isGranted) return undefined;
      // What might be used a moment ago is used: nothing else runs in between.
      if (!useApproval({ tenantNo, use })) throw new Error('a grant stands without its approval');
      return true;
    },
  };
}
