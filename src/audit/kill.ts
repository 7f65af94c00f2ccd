import type { NamedRef } from '../ids.ts';
import type { RecordRow, TenantNo } from '../storage/rows.ts';
import { buildRecord } from './record.ts';

/** A kill switch that somebody pressed. */
export interface KillRecord {
  readonly tenantNo: TenantNo;
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly decisionId: string;
  readonly caller: string;
  /** `kill.grant` and the like. */
  readonly action: string;
  readonly resource: { readonly type: string; readonly id: string };
  /** The grant that ended, where it is one that was named. */
  readonly grant?:
    | {
        readonly id: string;
        readonly subject: NamedRef;
        readonly actors: readonly NamedRef[];
        readonly task: { readonly id: string } | null;
      }
    | undefined;
  /** The principal that was named. */
  readonly target?: NamedRef | undefined;
  readonly reason: string;
}

/** The member of an input that says in which task a grant was that ended: its records are found by that. */
export const inTask = ({ id, task }: Pick<NonNullable<KillRecord['grant']>, 'id' | 'task'>): object =>
  task ? { grant: { id, task: { id: task.id } } } : {};

/** Its record: found by the principals of the grant, or by the one that was named; the caller is who did it. */
export function killRow(kill: KillRecord): RecordRow {
  const { tenantNo, time, decisionId, caller, action, resource, grant, target, reason } = kill;
  const about = grant
    ? { subject: grant.subject, actors: grant.actors, ...inTask(grant) }
    : { subject: null };
  return buildRecord({
    tenantNo,
    time,
    kind: 'revocation',
    outcome: 'done',
    decisionId,
    caller,
    subject: grant?.subject,
    actor: grant?.actors[0] ?? target,
    grantId: grant?.id,
    members: `${grant ? `,"grant_id":${JSON.stringify(grant.id)}` : ''},"detail":${JSON.stringify({ reason })}`,
    input: JSON.stringify({ ...about, ...(target && { target }), action: { name: action }, resource }),
  });
}
