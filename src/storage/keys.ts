import type { Connection } from './database.ts';
import type { KeyRow, TenantNo } from './rows.ts';

export interface KeyStore {
  /** The tenant's keys, newest first. */
  list(tenantNo: TenantNo): KeyRow[];
}

export function keyStore(db: Connection): KeyStore {
  const list = db.prepare<[number], KeyRow>(
    'SELECT kid, alg, public_jwk AS publicJwk, sealed, created_at AS createdAt FROM keys WHERE tenant_no = ? ORDER BY created_at DESC, kid',
  );
  return { list: (no) => list.all(no) };
}
