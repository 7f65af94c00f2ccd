import type { GrantId, PrincipalRef } from '../../ids.ts';
import type { Connection } from '../database.ts';
import { storedJson } from '../faults.ts';
import { type GrantRow, isTaskNode, type TaskCap, type TaskPart, type TenantNo } from '../rows.ts';
import { tighter } from './cap.ts';
import {
  type CredentialEnd,
  type EndName,
  issuerEnd,
  issuerIn,
  type KillName,
  killStore,
  principalEnd,
  TENANT_END,
} from './ends.ts';
import { CAP, ENDED_AT, EXPIRES_AT, isWithin, STEP } from './living.ts';

export interface GrantCommands {
  /**
   * `undefined` when the parent was revoked or has expired, its task was capped, the subject or an actor was disabled, or
   * the issuer, the tenant or what was presented killed since the exchange was decided: the check and the insert are one
   * transaction of one writer, so no revocation can pass between them.
   */
  readonly insertGrant: (args: { tenantNo: TenantNo; grant: GrantRow } & Presented) => boolean | undefined;
  /** The same of a task and the first grant in it, which stands below it: both or none. */
  readonly openTask: (
    args: { tenantNo: TenantNo; task: GrantRow; grant: GrantRow } & Presented,
  ) => boolean | undefined;
  /**
   * Revokes the grant and all below it; answers how many were alive, `undefined` when it had been ended before. Whether it
   * has expired is asked of no clock.
   */
  readonly revokeGrant: (args: { tenantNo: TenantNo; id: GrantId; at: number }) => number | undefined;
  /**
   * Narrows a task, and with it all that came and will come of it, to what this cap and those before it leave; answers
   * that. `undefined` for what is no task, or was ended before.
   */
  readonly capTask: (args: { tenantNo: TenantNo; id: GrantId; cap: TaskCap }) => TaskCap | undefined;
  /** Ends what was granted so far, and refuses what comes until it is restored. Answers how many were alive, up to MOST_COUNTED. */
  readonly kill: (args: { tenantNo: TenantNo; name: KillName; at: number }) => number;
  /** `undefined` for what is not killed. What had ended stays so. */
  readonly restore: (args: { tenantNo: TenantNo; name: KillName }) => true | undefined;
  /** Nobody authenticates by any of these until they are restored, and what was granted to the principal ends, as `kill` answers. */
  readonly killCredential: (
    args: { tenantNo: TenantNo; names: readonly CredentialEnd[]; at: number } & PrincipalRef,
  ) => number;
  /** `undefined` where none of them is killed. */
  readonly restoreCredential: (args: {
    tenantNo: TenantNo;
    names: readonly CredentialEnd[];
  }) => true | undefined;
}

/** By which credential a grant was asked for; nothing where that was none of a principal's. */
export interface Presented {
  readonly by?: readonly CredentialEnd[];
}

/** How long grants are kept once they have expired. In milliseconds. */
export const KEPT_MS = 7 * 86_400_000;

/** So many are looked at one by one to be counted: to end them takes no time, and must not wait for the number. */
export const MOST_COUNTED = 10_000;

/** How many of them go with each new one: more than one, so that those of a busy day go as well. */
const REMOVED_EACH = 2;

/** Ends the grants of principals. */
export interface GrantEnder {
  /** However a principal is disabled or taken out, what was granted to it or through it ends, and stays ended. */
  end(no: TenantNo, principal: PrincipalRef, at: number): void;
  /** How many living grants that is, up to MOST_COUNTED. */
  count(no: TenantNo, principal: PrincipalRef, at: number): number;
}

/** SQL that counts grants that have not ended among the first that are so. */
const countLiving = (so: string): string => `
  SELECT count(*) FROM (SELECT * FROM grants WHERE tenant_no = @no AND ${so} LIMIT ${MOST_COUNTED}) g
  WHERE ${ENDED_AT} IS NULL AND ${EXPIRES_AT} > @at`;

/** One row for each name: all grants up to the newest there is. No clock is asked which those are. */
function prepareMark(db: Connection): (no: TenantNo, name: EndName, at: number, isKilled: boolean) => void {
  const mark = db.prepare<[object]>(`
    INSERT INTO ends (tenant_no, name, upto, at, is_killed)
    VALUES (@no, @name, (SELECT grants FROM tenants WHERE no = @no), @at, @isKilled)
    ON CONFLICT DO UPDATE SET upto = excluded.upto, at = excluded.at, is_killed = excluded.is_killed`);
  return (no, name, at, isKilled) => void mark.run({ no, name, at, isKilled: isKilled ? 1 : 0 });
}

export function prepareGrantEnder(db: Connection): GrantEnder {
  const mark = prepareMark(db);
  // Its own, and those below each that it acts by. They expire no later than what they came from.
  const count = db
    .prepare<[object], number>(`
    SELECT count(*) FROM (
      SELECT id FROM grants
      WHERE tenant_no = @no AND subject_class = @class AND subject_id = @id AND expires_at > @at
      UNION SELECT g.id FROM grants own
        CROSS JOIN grants g ON g.tenant_no = @no AND ${isWithin('g.path', 'own.path')} AND g.expires_at > @at
      WHERE own.tenant_no = @no AND own.actor_class = @class AND own.actor_id = @id AND own.expires_at > @at
      LIMIT ${MOST_COUNTED}
    ) lasting CROSS JOIN grants g ON g.tenant_no = @no AND g.id = lasting.id WHERE ${ENDED_AT} IS NULL AND ${EXPIRES_AT} > @at`)
    .pluck();
  return {
    end: (no, principal, at) => mark(no, principalEnd(principal), at, false),
    count: (no, { class: cls, id }, at) => count.get({ no, class: cls, id, at }) ?? 0,
  };
}

export function prepareGrantCommands(db: Connection): GrantCommands {
  const mark = prepareMark(db);
  const kills = killStore(db);
  const ender = prepareGrantEnder(db);
  const parentOf = db.prepare<[object], { path: string; cap: string | null }>(
    `SELECT g.path, ${CAP} AS cap FROM grants g
     WHERE g.tenant_no = @no AND g.id = @id AND ${EXPIRES_AT} >= @until AND ${ENDED_AT} IS NULL`,
  );
  const active = db
    .prepare(
      'SELECT 1 FROM principals WHERE tenant_no = ? AND class = ? AND id = ? AND disabled_at IS NULL AND suspended_at IS NULL AND retired_at IS NULL',
    )
    .pluck();
  const nextSeq = db
    .prepare<[number], number>('UPDATE tenants SET grants = grants + 1 WHERE no = ? RETURNING grants')
    .pluck();
  const insert = db.prepare<[object]>(`
    INSERT INTO grants (tenant_no, id, parent_id, depth, subject_class, subject_id, actors, actor_class, actor_id,
      scopes, use, details, audience, more_audiences, may_act, jkt, x5t_s256, task, is_task, authentication, issued_at,
      expires_at, seq, path, issuer)
    VALUES (@no, @id, @parentId, @depth, @subjectClass, @subjectId, @actors, @actorClass, @actorId,
      @scopes, @use, @details, @audience, @moreAudiences, @mayAct, @jkt, @x5tS256, @task, @isTask, @authentication, @issuedAt, @expiresAt, @seq, @path,
      @issuer)`);
  // A child goes before its parent, so that no grant is looked at whose parent cannot be.
  const removeOld = db.prepare<[object]>(`
    DELETE FROM grants WHERE tenant_no = @no AND id IN (
      SELECT id FROM grants WHERE tenant_no = @no AND expires_at < @before
      ORDER BY expires_at, path DESC LIMIT ${REMOVED_EACH})`);
  const living = db.prepare<[object], Living>(
    `SELECT g.path, g.seq, ${CAP} AS cap FROM grants g WHERE g.tenant_no = @no AND g.id = @id AND ${ENDED_AT} IS NULL`,
  );
  const revoke = db.prepare<[object]>(
    'UPDATE grants SET revoked_at = @at WHERE tenant_no = @no AND id = @id',
  );
  const setCap = db.prepare<[object]>(
    `UPDATE grants SET cap = @cap WHERE tenant_no = @no AND id = @id AND task ->> 'id' = id`,
  );
  const countBelow = prepareCountBelow(db);
  const countAll = (of: string) =>
    db.prepare<[object], number>(countLiving(`${of} expires_at > @at`)).pluck();
  const [countOfIssuer, countOfTenant] = [countAll('issuer = @issuer AND'), countAll('')];
  const restore = db.prepare<[object]>(
    'UPDATE ends SET is_killed = 0 WHERE tenant_no = @no AND name = @name AND is_killed = 1',
  );

  /** Undefined where there is none to come from any more; empty for a grant that comes from none. */
  const pathAbove = (no: TenantNo, { parentId, expiresAt, task }: GrantRow): string | undefined => {
    if (parentId === null) return '';
    const parent = parentOf.get({ no, id: parentId, until: expiresAt });
    // What was decided by what it was before it was capped may be wider.
    return parent && parent.cap === capText(task) ? `${parent.path}${STEP}` : undefined;
  };

  const insertGrant: GrantCommands['insertGrant'] = ({ tenantNo: no, grant, by = [] }) => {
    const above = pathAbove(no, grant);
    if (above === undefined) return undefined;
    for (const principal of [grant.subject, ...grant.actors])
      if (!active.get(no, principal.class, principal.id)) return undefined;
    for (const name of [TENANT_END, issuerEnd(grant.issuer), ...by] as const)
      if (kills.isKilled(no, name)) return undefined;
    insert.run({ no, ...columnsOf(grant), seq: nextSeq.get(no), path: above + grant.id });
    removeOld.run({ no, before: grant.issuedAt - KEPT_MS });
    return true;
  };

  return {
    insertGrant,
    openTask: ({ tenantNo, task, grant, by = [] }) => {
      if (!insertGrant({ tenantNo, grant: task, by })) return undefined;
      // What let the task in lets its first grant in.
      if (!insertGrant({ tenantNo, grant, by })) throw new Error('a task stands without its grant');
      return true;
    },
    revokeGrant: ({ tenantNo: no, id, at }) => {
      const grant = living.get({ no, id });
      if (!grant) return undefined;
      const count = countBelow(no, grant, at);
      revoke.run({ no, id, at });
      return count;
    },
    capTask: ({ tenantNo: no, id, cap }) => {
      const task = living.get({ no, id });
      if (!task) return undefined;
      const left = tighter(task.cap === null ? undefined : (storedJson(task.cap) as TaskCap), cap);
      return setCap.run({ no, id, cap: JSON.stringify(left) }).changes === 1 ? left : undefined;
    },
    kill: ({ tenantNo: no, name, at }) => {
      const issuer = issuerIn(name);
      const ended =
        issuer === undefined ? countOfTenant.get({ no, at }) : countOfIssuer.get({ no, issuer, at });
      mark(no, name, at, true);
      return ended ?? 0;
    },
    restore: ({ tenantNo: no, name }) => restore.run({ no, name }).changes === 1 || undefined,
    killCredential: ({ tenantNo: no, names, at, ...ref }) => {
      for (const name of names) mark(no, name, at, true);
      const ended = ender.count(no, ref, at);
      ender.end(no, ref, at);
      return ended;
    },
    restoreCredential: ({ tenantNo: no, names }) => {
      let restored = 0;
      for (const name of names) restored += restore.run({ no, name }).changes;
      return restored > 0 || undefined;
    },
  };
}

interface Living {
  readonly path: string;
  readonly seq: number;
  readonly cap: string | null;
}

/** As a cap is kept. */
const capText = (task: TaskPart | null): string | null => (task?.cap ? JSON.stringify(task.cap) : null);

/**
 * How many living grants there are in the tree of a living one. Where nobody was ended since it was made, nor its task
 * capped, it is enough to count those in the tree, and to take off the trees in it that were ended before.
 */
function prepareCountBelow(db: Connection): (no: TenantNo, grant: Living, at: number) => number {
  const lasting = `${isWithin('path', '@path')} AND expires_at > @at`;
  const countAll = db
    .prepare<[object], number>(`SELECT count(*) FROM grants WHERE tenant_no = @no AND ${lasting}`)
    .pluck();
  const countEach = db.prepare<[object], number>(countLiving(lasting)).pluck();
  const endedSince = db.prepare<[object], 1>(
    'SELECT 1 FROM ends WHERE tenant_no = @no AND upto > @seq LIMIT 1',
  );
  const revoked = db
    .prepare<[object], string>(
      `SELECT path FROM grants WHERE tenant_no = @no AND revoked_at IS NOT NULL AND ${isWithin('path', '@path')} ORDER BY path`,
    )
    .pluck();
  return (no, { path, seq, cap }, at) => {
    if (cap !== null || endedSince.get({ no, seq })) return countEach.get({ no, path, at }) ?? 0;
    let count = countAll.get({ no, path, at }) ?? 0;
    for (const top of topmost(revoked.all({ no, path }))) count -= countAll.get({ no, path: top, at }) ?? 0;
    return count;
  };
}

/** Of paths in their order, those that are in no other one's tree. */
function topmost(paths: readonly string[]): string[] {
  const tops: string[] = [];
  for (const path of paths) if (!path.startsWith(`${tops.at(-1)}${STEP}`)) tops.push(path);
  return tops;
}

/** Without the cap, which stands with the task alone. */
const taskText = ({ cap: _cap, ...task }: TaskPart): string => JSON.stringify(task);

const columnsOf = ({ subject, actors, scopes, ...grant }: GrantRow) => ({
  id: grant.id,
  parentId: grant.parentId,
  depth: grant.depth,
  subjectClass: subject.class,
  subjectId: subject.id,
  actors: JSON.stringify(actors),
  actorClass: actors[0]?.class ?? '',
  actorId: actors[0]?.id ?? '',
  scopes: JSON.stringify(scopes),
  use: grant.use,
  details: JSON.stringify(grant.details),
  audience: grant.audience,
  moreAudiences: JSON.stringify(grant.moreAudiences),
  mayAct: grant.mayAct && JSON.stringify(grant.mayAct),
  jkt: grant.jkt,
  x5tS256: grant.x5tS256,
  task: grant.task && taskText(grant.task),
  isTask: isTaskNode(grant) ? 1 : 0,
  authentication: JSON.stringify(grant.authentication),
  issuedAt: grant.issuedAt,
  expiresAt: grant.expiresAt,
  issuer: grant.issuer,
});
