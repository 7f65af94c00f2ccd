import type { TenantId } from '../ids.ts';
import type { Connection } from './database.ts';

/** What was put of a tenant that has no folder. `files`: see `policy/intake/put.ts`. */
export interface PutTenantStore {
  list(): TenantId[];
  find(id: TenantId): Uint8Array | undefined;
}

export interface PutTenantCommands {
  readonly putTenantFiles: (args: { tenant: TenantId; files: Uint8Array; at: number }) => true;
  /** `undefined` where nothing was put. */
  readonly removeTenantFiles: (args: { tenant: TenantId }) => true | undefined;
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
  const remove = db.prepare('DELETE FROM put_tenants WHERE tenant = ?');
  return {
    putTenantFiles: ({ tenant, files, at }) => {
      put.run(tenant, files, at);
      return true;
    },
    removeTenantFiles: ({ tenant }) => remove.run(tenant).changes === 1 || undefined,
  };
}
