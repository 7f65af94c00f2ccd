import type { TenantId } from '../ids.ts';
import type { Connection } from './database.ts';
import { type LogKeyRow, RECEIVED, SET_ASIDE, type TenantNo } from './rows.ts';

export interface LogKeyStore {
  find(tenantNo: TenantNo): LogKeyRow | undefined;
  /** Its second key, of ML-DSA-44. */
  findMlDsa(tenantNo: TenantNo): Omit<LogKeyRow, 'origin'> | undefined;
  /** All that have a key or a checkpoint, but for those that were set aside, and those of other servers. */
  all(): TenantNo[];
  /** Whose log it is, also of a tenant that is not served. */
  tenantOf(tenantNo: TenantNo): TenantId | undefined;
}

export function logKeyStore(db: Connection): LogKeyStore {
  const find = db.prepare<[number], LogKeyRow>(
    'SELECT origin, public AS publicKey, sealed, created_at AS createdAt FROM log_keys WHERE tenant_no = ?',
  );
  const findMlDsa = db.prepare<[number], Omit<LogKeyRow, 'origin'>>(
    'SELECT public AS publicKey, sealed, created_at AS createdAt FROM ml_dsa_keys WHERE tenant_no = ?',
  );
  const tenantOf = db.prepare<[number], TenantId>('SELECT id FROM tenants WHERE no = ?').pluck();
  const all = db
    .prepare<[], TenantNo>(
      `SELECT no FROM tenants WHERE id NOT LIKE '%${SET_ASIDE}%' AND id NOT LIKE '%${RECEIVED}%'
         AND (no IN (SELECT tenant_no FROM log_keys) OR no IN (SELECT tenant_no FROM checkpoints))`,
    )
    .pluck();
  return {
    all: () => all.all(),
    find: (no) => find.get(no),
    findMlDsa: (no) => findMlDsa.get(no),
    tenantOf: (no) => tenantOf.get(no),
  };
}
