import type { TenantId } from '../ids.ts';
import type { Connection } from './database.ts';
import type { TenantNo } from './rows.ts';

/** What was put of a tenant that has no folder. `files`: see `policy/intake/put.ts`. */
export interface PutTenantStore {
  list(): TenantId[];
  find(id: TenantId): Uint8Array | undefined;
}

export interface PutTenantCommands {
  readonly putTenantFiles: (args: { tenant: TenantId; files: Uint8Array; at: number }) => true;
  /** What was put of it is gone, and its manifest counts nowhere. `undefined` where there was neither. */
  readonly retireTenant: (args: { tenantNo: TenantNo }) => true | undefined;
}

export function putTenantStore(db: Connection): PutTenantStore {
  const list = db.prepare<[], TenantId>('SELECT tenant FROM put_tenants ORDER BY tenant').pluck();
  const find = db.prepare<[string], Uint8Array>('SELECT files FROM put_tenants WHERE tenant = ?').pluck();
  return { list: () => list.all(), find: (id) => find.get(id) };
}

export function preparePutTenants(db: Connection): PutTenantCommands {
  const put = db.prepare(
    'INSERT INTO put_tenants (tenant, files, at) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET files = excluded.files, at = excluded.at',
  );
  const remove = db.prepare('DELETE FROM put_tenants WHERE tenant = (SELECT id FROM tenants WHERE no = ?)');
  const unmake = db.prepare('DELETE FROM manifests WHERE tenant_no = ?');
  // The same manifest is a change again if it comes back.
  const forget = db.prepare("UPDATE tenants SET manifest_hash = '' WHERE no = ?");
  return {
    putTenantFiles: ({ tenant, files, at }) => {
      put.run(tenant, files, at);
      return true;
    },
    retireTenant: ({ tenantNo: no }) => {
      const gone = remove.run(no).changes + unmake.run(no).changes;
      forget.run(no);
      return gone > 0 || undefined;
    },
  };
}
