import type { GrantId, PrincipalRef, TenantId } from '../ids.ts';
import type { Connection } from './database.ts';
import { type IssuerCommands, prepareIssuers } from './issuers.ts';
import type { LogAppender } from './log/appender.ts';
import { type LogCommands, prepareLogCommands } from './log/commands.ts';
import { type MemberKeyCommands, prepareMemberKeyCommands } from './member-keys.ts';
import { type OnceCommands, prepareOnce } from './once.ts';
import { type PrincipalCommands, preparePrincipalCommands } from './principals/commands.ts';
import { prepareUses, type UseCommands } from './principals/uses.ts';
import { checkTenantNo, type GrantRow, type KeyRow, type TenantNo } from './rows.ts';
import { prepareSitting, type SittingCommands } from './sitting.ts';
import { prepareVolumeCommands, type VolumeCommands } from './volume/commands.ts';

/**
 * Every change of state that the store knows, run inside the writer's transaction. A command answers
 * `undefined` when its condition no longer holds; then its record is not appended either.
 */
export interface Commands
  extends LogCommands,
    VolumeCommands,
    MemberKeyCommands,
    SittingCommands,
    PrincipalCommands,
    UseCommands,
    OnceCommands,
    IssuerCommands {
  /** Makes the tenant if it is new. */
  readonly putTenant: (args: { id: TenantId }) => { no: TenantNo; manifestHash: string };
  readonly putKey: (args: { tenantNo: TenantNo; key: KeyRow }) => boolean;
  /**
   * `undefined` when the parent was revoked or has expired, or the subject or an actor was disabled since the
   * exchange was decided: the check and the insert are one transaction of one writer, so no revocation can pass
   * between them.
   */
  readonly insertGrant: (args: { tenantNo: TenantNo; grant: GrantRow }) => boolean | undefined;
  /** Revokes the grant and its subtree; answers how many were alive, `undefined` when none was. */
  readonly revokeGrant: (args: { tenantNo: TenantNo; id: GrantId; at: number }) => number | undefined;
}

export type CommandName = keyof Commands;

/** `log` is what the records of the same transactions are appended by. */
export function prepareCommands(db: Connection, log: LogAppender): Commands {
  const tenantByName = db.prepare<[string], { no: number; manifest_hash: string }>(
    'SELECT no, manifest_hash FROM tenants WHERE id = ?',
  );
  const insertTenant = db.prepare('INSERT INTO tenants (id) VALUES (?)');
  // Also what has expired, as the clock has it: a clock that is wrong today is right tomorrow, and would let it live.
  const revokeOf = db
    .prepare<[object], number>(`
    WITH RECURSIVE doomed(id) AS (
      SELECT id FROM grants WHERE tenant_no = @no AND subject_class = @class AND subject_id = @id
      UNION SELECT id FROM grants WHERE tenant_no = @no AND actor_class = @class AND actor_id = @id
      UNION SELECT g.id FROM grants g JOIN doomed d ON g.tenant_no = @no AND g.parent_id = d.id
    )
    UPDATE grants SET revoked_at = @at
    WHERE tenant_no = @no AND revoked_at IS NULL AND id IN (SELECT id FROM doomed)
    RETURNING expires_at > @at`)
    .pluck();
  const revokeTree = db.prepare(`
    WITH RECURSIVE doomed(id) AS (
      SELECT id FROM grants WHERE tenant_no = @no AND id = @id
      UNION SELECT g.id FROM grants g JOIN doomed d ON g.tenant_no = @no AND g.parent_id = d.id
    )
    UPDATE grants SET revoked_at = @at
    WHERE tenant_no = @no AND revoked_at IS NULL AND id IN (SELECT id FROM doomed)`);
  const insertKey = db.prepare(
    'INSERT INTO keys (tenant_no, kid, alg, public_jwk, sealed, created_at) VALUES (?, ?, ?, ?, ?, ?)',
  );
  const parentAlive = db
    .prepare('SELECT 1 FROM grants WHERE tenant_no = ? AND id = ? AND revoked_at IS NULL AND expires_at >= ?')
    .pluck();
  const active = db
    .prepare(
      'SELECT 1 FROM principals WHERE tenant_no = ? AND class = ? AND id = ? AND disabled_at IS NULL AND suspended_at IS NULL',
    )
    .pluck();
  const insertGrant = db.prepare(`
    INSERT INTO grants (tenant_no, id, parent_id, depth, subject_class, subject_id, actors, actor_class, actor_id,
      scopes, use, details, audience, more_audiences, may_act, authentication, issued_at, expires_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);

  /** However a principal is disabled or taken out, what was granted to it or through it ends, and stays ended. */
  const endGrants = (no: TenantNo, { class: klass, id }: PrincipalRef, at: number): number => {
    let alive = 0;
    for (const wasAlive of revokeOf.iterate({ no, class: klass, id, at })) alive += wasAlive;
    return alive;
  };

  return {
    ...prepareLogCommands(db, log),
    ...prepareVolumeCommands(db, log),
    ...prepareMemberKeyCommands(db),
    ...prepareSitting(db),
    ...preparePrincipalCommands(db, endGrants),
    ...prepareUses(db),
    ...prepareOnce(db),
    ...prepareIssuers(db),
    putTenant: ({ id }) => {
      const known = tenantByName.get(id);
      if (known) return { no: checkTenantNo(known.no), manifestHash: known.manifest_hash };
      return { no: checkTenantNo(Number(insertTenant.run(id).lastInsertRowid)), manifestHash: '' };
    },
    putKey: ({ tenantNo, key }) =>
      insertKey.run(tenantNo, key.kid, key.alg, key.publicJwk, key.sealed, key.createdAt).changes === 1,
    insertGrant: ({ tenantNo, grant }) => {
      if (grant.parentId && !parentAlive.get(tenantNo, grant.parentId, grant.expiresAt)) return undefined;
      for (const principal of [grant.subject, ...grant.actors])
        if (!active.get(tenantNo, principal.class, principal.id)) return undefined;
      const [actor] = grant.actors;
      insertGrant.run(
        tenantNo,
        grant.id,
        grant.parentId,
        grant.depth,
        grant.subject.class,
        grant.subject.id,
        JSON.stringify(grant.actors),
        actor?.class ?? '',
        actor?.id ?? '',
        JSON.stringify(grant.scopes),
        grant.use,
        JSON.stringify(grant.details),
        grant.audience,
        JSON.stringify(grant.moreAudiences),
        grant.mayAct && JSON.stringify(grant.mayAct),
        JSON.stringify(grant.authentication),
        grant.issuedAt,
        grant.expiresAt,
      );
      return true;
    },
    revokeGrant: ({ tenantNo, id, at }) => revokeTree.run({ no: tenantNo, id, at }).changes || undefined,
  };
}
