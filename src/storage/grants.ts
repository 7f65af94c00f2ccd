import type { GrantId, PrincipalClass, PrincipalRef } from '../ids.ts';
import type { Connection } from './database.ts';
import { storedJson } from './faults.ts';
import { ENDED_AT } from './granting/living.ts';
import type { Authentication, GrantRow, TenantNo, Use } from './rows.ts';

export interface GrantStore {
  /** The grant as it stands in the last commit: a revocation that was answered is always seen. */
  find(tenantNo: TenantNo, id: GrantId): GrantRow | undefined;
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
  authentication: string;
  issued_at: number;
  expires_at: number;
  issuer: string;
  ended_at: number | null;
}

/** Of the row `g`. */
export const GRANT_COLUMNS = `g.id, g.parent_id, g.depth, g.subject_class, g.subject_id, g.actors, g.scopes, g.use, g.details,
  g.audience, g.more_audiences, g.may_act, g.jkt, g.authentication, g.issued_at, g.expires_at, g.issuer, ${ENDED_AT} AS ended_at`;

export const grantOf = (row: GrantColumns): GrantRow => ({
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
  authentication: storedJson(row.authentication) as Authentication,
  issuedAt: row.issued_at,
  expiresAt: row.expires_at,
  issuer: row.issuer,
  revokedAt: row.ended_at,
});

export function grantStore(db: Connection): GrantStore {
  const find = db.prepare<[number, string], GrantColumns>(
    `SELECT ${GRANT_COLUMNS} FROM grants g WHERE g.tenant_no = ? AND g.id = ?`,
  );
  return {
    find(no, id) {
      const row = find.get(no, id);
      return row && grantOf(row);
    },
  };
}
