import type { NamedRef, TenantId } from '../ids.ts';
import type { Connection } from './database.ts';
import { type KeyRow, type MemberKeyRow, SET_ASIDE, type TenantNo } from './rows.ts';

export interface KeyStore {
  /** The tenant's keys, newest first. */
  list(tenantNo: TenantNo): KeyRow[];
  /** The newest keys of all tenants and logs, to try a master key on. */
  newest(): readonly SealedKey[];
}

export interface SealedKey {
  readonly sealed: Uint8Array;
  /** What it is bound to. */
  readonly binding: string;
}

/** More than one, as one may be damaged. */
const MOST_TRIED = 64;

/** What a tenant's sealed signing key is bound to. */
export const keyBinding = (tenant: TenantId, kid: string): string => `mandate-key ${tenant} ${kid}`;

/** The same of a log's. */
export const logKeyBinding = (tenant: TenantId, origin: string): string =>
  `mandate-log-key ${tenant} ${origin}`;

/** The same of one that seals members of records, which is of somebody. */
export const memberKeyBinding = (tenant: TenantId, { class: cls, id }: NamedRef, kid: string): string =>
  `mandate-member-key ${JSON.stringify([tenant, cls, id, kid])}`;

export function keyStore(db: Connection): KeyStore {
  const list = db.prepare<[number], KeyRow>(
    'SELECT kid, alg, public_jwk AS publicJwk, sealed, created_at AS createdAt FROM keys WHERE tenant_no = ? ORDER BY created_at DESC, kid',
  );
  // A log that was set aside is called otherwise than when its key was sealed.
  const newest = db.prepare<[], { isLog: number; tenant: TenantId; name: string; sealed: Uint8Array }>(
    `SELECT isLog, substr(id, 1, instr(id || '${SET_ASIDE}', '${SET_ASIDE}') - 1) AS tenant, name, sealed FROM (
       SELECT 0 AS isLog, tenant_no, kid AS name, sealed, created_at FROM keys
       UNION ALL SELECT 1, tenant_no, origin, sealed, created_at FROM log_keys
     ) JOIN tenants ON tenants.no = tenant_no ORDER BY created_at DESC LIMIT ${MOST_TRIED}`,
  );
  // There may be millions, and their order is that in which they were made.
  const ofMembers = db.prepare<[], MemberKeyRow & { tenant: TenantId }>(
    `SELECT substr(tenants.id, 1, instr(tenants.id || '${SET_ASIDE}', '${SET_ASIDE}') - 1) AS tenant,
       kid, class, name, sealed, created_at AS createdAt
     FROM (SELECT * FROM member_keys ORDER BY id DESC LIMIT ${MOST_TRIED}) JOIN tenants ON tenants.no = tenant_no
     WHERE destroyed = 0`,
  );
  return {
    list: (no) => list.all(no),
    newest: () => [
      ...newest.all().map(({ isLog, tenant, name, sealed }) => ({
        sealed,
        binding: (isLog ? logKeyBinding : keyBinding)(tenant, name),
      })),
      ...ofMembers.all().map(({ tenant, class: cls, name, kid, sealed }) => ({
        sealed,
        binding: memberKeyBinding(tenant, { class: cls, id: name }, kid),
      })),
    ],
  };
}
