import { type NamedRef, namedIn, type TenantId } from '../ids.ts';
import type { RecordRow, TenantNo } from '../storage/rows.ts';
import { buildRecord } from './record.ts';

/** A change that somebody made, or the server itself. */
export interface Change {
  readonly tenant: { readonly id: TenantId; readonly no: TenantNo };
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly decisionId: string;
  readonly caller: string;
  readonly action: string;
  /** Whom it is about. */
  readonly target: NamedRef | undefined;
  readonly detail: Readonly<Record<string, unknown>>;
  readonly revision?: string | undefined;
  readonly outcome?: 'done' | 'error' | undefined;
}

/** The record of a change. */
export function changeRow(change: Change): RecordRow {
  const { tenant, caller, action, target, detail, revision = '', outcome = 'done' } = change;
  // Who did it, and to whom: both are found by their names.
  const by = namedIn(caller);
  return buildRecord({
    tenantNo: tenant.no,
    time: change.time,
    kind: 'administration',
    outcome,
    decisionId: change.decisionId,
    caller,
    subject: by,
    actor: target,
    revision,
    members: `${revision === '' ? '' : `,"revision":"${revision}"`},"detail":${JSON.stringify(detail)}`,
    input: JSON.stringify({
      subject: by ?? null,
      target: target ?? null,
      action: { name: action },
      resource: { type: 'tenant', id: tenant.id },
    }),
  });
}
