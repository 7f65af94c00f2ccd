import type { TenantId } from '../ids.ts';
import type { Connection } from './database.ts';
import type { KeyRow, TenantNo } from './rows.ts';

export interface KeyStore {
  /** The tenant's keys, newest first. */
  list(tenantNo: TenantNo): KeyRow[];
  /** The newest key of all tenants and logs, to try a master key on, and what it is bound to. */
  any(): { readonly sealed: Uint8Array; readonly binding: string } | undefined;
}

/** What a tenant's sealed signing key is bound to. */
export const keyBinding = (tenant: TenantId, kid: string): string => `mandate-key ${tenant} ${kid}`;

/** The same of a log's. */
export const logKeyBinding = (tenant: TenantId, origin: string): string =>
  `mandate-log-key ${tenant} ${origin}`;

export function keyStore(db: Connection): KeyStore {
  const list = db.prepare<[number], KeyRow>(
    'SELECT kid, alg, public_jwk AS publicJwk, sealed, created_at AS createdAt FROM keys WHERE tenant_no = ? ORDER BY created_at DESC, kid',
  );
  const any = db.prepare<[], { isLog: number; tenant: TenantId; name: string; sealed: Uint8Array }>(
    `SELECT isLog, tenants.id AS tenant, name, sealed FROM (
       SELECT 0 AS isLog, tenant_no, kid AS name, sealed, created_at FROM keys
       UNION ALL SELECT 1, tenant_no, origin, sealed, created_at FROM log_keys
     ) JOIN tenants ON tenants.no = tenant_no ORDER BY created_at DESC LIMIT 1`,
  );
  return {
    list: (no) => list.all(no),
    any: () => {
      const row = any.get();
      return (
        row && { sealed: row.sealed, binding: (row.isLog ? logKeyBinding : keyBinding)(row.tenant, row.name) }
      );
    },
  };
}
