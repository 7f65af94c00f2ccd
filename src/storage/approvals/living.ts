import { TENANT_END } from '../granting/ends.ts';
import { ENDED_AT } from '../granting/living.ts';

export const ACTIVE = 'disabled_at IS NULL AND suspended_at IS NULL AND retired_at IS NULL';

/**
 * SQL, of the row `a`: nothing ended it. No clock is asked: whoever was disabled and the tenant that was killed are known
 * by the numbers that grants and approvals are counted with, so that to be enabled again brings nothing back.
 */
export const LIVING = `
  NOT EXISTS (SELECT 1 FROM json_each(a.parties) party
    CROSS JOIN ends e ON e.tenant_no = a.tenant_no AND e.name = 'principal ' || (party.value ->> 'class') || ':' || (party.value ->> 'id')
    WHERE e.upto >= a.seq)
  AND NOT EXISTS (SELECT 1 FROM json_each(a.parties) party WHERE NOT EXISTS (SELECT 1 FROM principals p
    WHERE p.tenant_no = a.tenant_no AND p.class = party.value ->> 'class' AND p.id = party.value ->> 'id' AND ${ACTIVE}))
  AND NOT EXISTS (SELECT 1 FROM ends e WHERE e.tenant_no = a.tenant_no AND e.name IN ('${TENANT_END}', 'issuer ' || a.issuer)
    AND (e.upto >= a.seq OR e.is_killed = 1))
  AND (a.grant_id IS NULL OR EXISTS (SELECT 1 FROM grants g WHERE g.tenant_no = a.tenant_no AND g.id = a.grant_id AND ${ENDED_AT} IS NULL))`;

/** The same of whoever approved it. Operators are no principals. */
export const APPROVER_LASTS = `
  (a.approver_is_principal = 0 OR EXISTS (SELECT 1 FROM principals p
    WHERE p.tenant_no = a.tenant_no AND p.class = a.approver_class AND p.id = a.approver_id AND ${ACTIVE})
  AND NOT EXISTS (SELECT 1 FROM ends e WHERE e.tenant_no = a.tenant_no
    AND e.name = 'principal ' || a.approver_class || ':' || a.approver_id AND e.upto >= a.approved_seq))`;

/**
 * Of the caller's for the very same question, one that may be decided or used at that time. What has ended stands in the
 * way of none that is asked for anew.
 */
export const GOES_ON = `
  a.tenant_no = @no AND a.digest = @digest AND a.caller = @caller AND ${LIVING}
  AND (a.state = 'pending' AND a.expires_at > @at OR a.state = 'approved' AND a.approved_until > @at AND ${APPROVER_LASTS})`;
