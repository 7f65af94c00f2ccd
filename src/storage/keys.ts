import type { TenantId } from '../ids.ts';
import type { Connection } from './database.ts';
import { type KeyRow, SET_ASIDE, type TenantNo } from './rows.ts';

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
  return {
    list: (no) => list.all(no),
    newest: () =>
      newest.all().map(({ isLog, tenant, name, sealed }) => ({
        sealed,
        binding: (isLog ? logKeyBinding : keyBinding)(tenant, name),
      })),
  };
}
