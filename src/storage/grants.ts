import type { GrantId, PrincipalClass, PrincipalRef } from '../ids.ts';
import type { Connection } from './database.ts';
import { storedJson } from './faults.ts';
import { capped } from './granting/cap.ts';
import { Kept } from './granting/kept.ts';
import { CAP, ENDED_AT } from './granting/living.ts';
import type { Authentication, GrantRow, TaskCap, TenantNo, Use } from './rows.ts';

export interface GrantStore {
  /** The grant as it stands in the last commit: a revocation that was answered is always seen. */
  find(tenantNo: TenantNo, id: GrantId): GrantRow | undefined;
  /**
   * Where grants are made by other servers as well: resolves once it is here, or has been waited for in vain. It is called
   * before `find` by whoever was told of the grant.
   */
  heard?(tenantNo: TenantNo, id: GrantId): Promise<unknown>;
  /** Another number once a grant may have ended: until then one that was found alive is. NaN where nobody can tell. */
  readonly ends: number;
}

/** A row as `GRANT_COLUMNS` selects it. */
export interface GrantColumns {
  id: string;
  parent_id: string | null;
  depth: number;
  subject_class: PrincipalClass;
  subject_id: string;
  actors: string;
  scopes: string;
  use: Use;
  details: string;
  audience: string;
  more_audiences: string;
  may_act: string | null;
  jkt: string | null;
  x5t_s256: string | null;
  task: string | null;
  cap: string | null;
  authentication: string;
  issued_at: number;
  expires_at: number;
  issuer: string;
  ended_at: number | null;
}

/** Of the row `g`. */
export const GRANT_COLUMNS = `g.id, g.parent_id, g.depth, g.subject_class, g.subject_id, g.actors, g.scopes, g.use, g.details,
  g.audience, g.more_audiences, g.may_act, g.jkt, g.x5t_s256, g.task, g.authentication, g.issued_at, g.expires_at, g.issuer, ${CAP} AS cap, ${ENDED_AT} AS ended_at`;

/** As it is good for now: what its task was capped to is all that is left of it. */
export function grantOf(row: GrantColumns): GrantRow {
  const grant = asMade(row);
  return row.cap === null ? grant : capped(grant, storedJson(row.cap) as TaskCap);
}

const asMade = (row: GrantColumns): GrantRow => ({
  id: row.id as GrantId,
  parentId: row.parent_id as GrantId | null,
  depth: row.depth,
  subject: { class: row.subject_class, id: row.subject_id },
  actors: storedJson(row.actors) as PrincipalRef[],
  scopes: storedJson(row.scopes) as string[],
  use: row.use,
  details: storedJson(row.details) as GrantRow['details'],
  audience: row.audience,
  moreAudiences: storedJson(row.more_audiences) as string[],
  mayAct: row.may_act === null ? null : (storedJson(row.may_act) as PrincipalRef),
  jkt: row.jkt,
  x5tS256: row.x5t_s256,
  task: row.task === null ? null : (storedJson(row.task) as GrantRow['task']),
  authentication: storedJson(row.authentication) as Authentication,
  issuedAt: row.issued_at,
  expiresAt: row.expires_at,
  issuer: row.issuer,
  revokedAt: row.ended_at,
});

/** `ends` is another number once a grant may have ended; without it each look-up is made anew. */
export function grantStore(db: Connection, ends?: () => number): GrantStore {
  const kept = new Kept<GrantRow>(KEPT_BYTES);
  const find = db.prepare<[number, string], GrantColumns>(
    `SELECT ${GRANT_COLUMNS} FROM grants g WHERE g.tenant_no = ? AND g.id = ?`,
  );
  return {
    get ends() {
      return ends?.() ?? Number.NaN;
    },
    find(no, id) {
      // Read before the row is: what ends in between makes it one of the number before.
      const now = ends?.();
      const name = `${no} ${id}`;
      const known = now === undefined ? undefined : kept.get(name, now);
      if (known) return known;
      const row = find.get(no, id);
      const grant = row && grantOf(row);
      if (now !== undefined && grant?.revokedAt === null)
        kept.set(name, grant, bytesOf(row as GrantColumns), now);
      return grant;
    },
  };
}

/** Of grants, with what decisions make of them. */
const KEPT_BYTES = 32 * 1024 * 1024;
const OVERHEAD = 2_560;

const bytesOf = (row: GrantColumns): number =>
  OVERHEAD +
  2 *
    (row.actors.length +
      row.scopes.length +
      row.details.length +
      (row.task?.length ?? 0) +
      (row.cap?.length ?? 0)) +
  2 * (row.more_audiences.length + row.authentication.length);
