import type { TenantId } from '../ids.ts';
import type { Connection } from './database.ts';
import type { LogKeyRow, TenantNo } from './rows.ts';

export interface LogKeyStore {
  find(tenantNo: TenantNo): LogKeyRow | undefined;
  /** Whose log it is, also of a tenant that is not served. */
  tenantOf(tenantNo: TenantNo): TenantId | undefined;
}

export function logKeyStore(db: Connection): LogKeyStore {
  const find = db.prepare<[number], LogKeyRow>(
    'SELECT origin, public AS publicKey, sealed, created_at AS createdAt FROM log_keys WHERE tenant_no = ?',
  );
  const tenantOf = db.prepare<[number], TenantId>('SELECT id FROM tenants WHERE no = ?').pluck();
  return { find: (no) => find.get(no), tenantOf: (no) => tenantOf.get(no) };
}
