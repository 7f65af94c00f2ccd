import type { TenantId } from '../ids.ts';
import type { Connection } from './database.ts';
import type { KeyRow, TenantNo } from './rows.ts';

export interface KeyStore {
  /** The tenant's keys, newest first. */
  list(tenantNo: TenantNo): KeyRow[];
  /** The newest key of all tenants, to try a master key on. */
  any(): { readonly tenant: TenantId; readonly kid: string; readonly sealed: Uint8Array } | undefined;
}

export function keyStore(db: Connection): KeyStore {
  const list = db.prepare<[number], KeyRow>(
    'SELECT kid, alg, public_jwk AS publicJwk, sealed, created_at AS createdAt FROM keys WHERE tenant_no = ? ORDER BY created_at DESC, kid',
  );
  const any = db.prepare<[], { tenant: TenantId; kid: string; sealed: Uint8Array }>(
    'SELECT tenants.id AS tenant, kid, sealed FROM keys JOIN tenants ON tenants.no = tenant_no ORDER BY created_at DESC LIMIT 1',
  );
  return { list: (no) => list.all(no), any: () => any.get() };
}
