import type { TenantId } from '../ids.ts';
import type { Connection } from './database.ts';
import type { TenantNo } from './rows.ts';

/** The key that seals a tenant's other keys, sealed itself by a master key; see `delegation/keys/tenant-keys.ts`. */
export interface TenantKeyRow {
  readonly tenant: TenantId;
  readonly sealed: Uint8Array;
}

export interface TenantKeyStore {
  find(tenant: TenantId): Uint8Array | undefined;
  /** All, with the number of the log that is to say what becomes of them. */
  all(): (TenantKeyRow & { readonly no: TenantNo })[];
  /** Master keys of before, each sealed by the one that followed. */
  olderMasters(): Uint8Array[];
}

export interface TenantKeyCommands {
  /** `undefined` where there is one. */
  readonly putTenantKey: (args: TenantKeyRow) => true | undefined;
  /** The same key, sealed anew. */
  readonly sealTenantKey: (args: TenantKeyRow) => true | undefined;
  /** Replaces all older master keys by these. */
  readonly putOlderMasters: (args: { sealed: readonly Uint8Array[] }) => true;
}

export function tenantKeyStore(db: Connection): TenantKeyStore {
  const find = db.prepare<[string], Uint8Array>('SELECT sealed FROM tenant_keys WHERE tenant = ?').pluck();
  const all = db.prepare<[], TenantKeyRow & { no: TenantNo }>(
    'SELECT tenant, sealed, no FROM tenant_keys JOIN tenants ON tenants.id = tenant',
  );
  const older = db.prepare<[], Uint8Array>('SELECT sealed FROM older_masters ORDER BY at').pluck();
  return { find: (tenant) => find.get(tenant), all: () => all.all(), olderMasters: () => older.all() };
}

export function prepareTenantKeyCommands(db: Connection): TenantKeyCommands {
  const insert = db.prepare('INSERT INTO tenant_keys (tenant, sealed) VALUES (?, ?) ON CONFLICT DO NOTHING');
  const update = db.prepare('UPDATE tenant_keys SET sealed = ? WHERE tenant = ?');
  const clear = db.prepare('DELETE FROM older_masters');
  const insertOlder = db.prepare('INSERT INTO older_masters (at, sealed) VALUES (?, ?)');
  return {
    putTenantKey: ({ tenant, sealed }) => insert.run(tenant, sealed).changes === 1 || undefined,
    sealTenantKey: ({ tenant, sealed }) => update.run(sealed, tenant).changes === 1 || undefined,
    putOlderMasters: ({ sealed }) => {
      clear.run();
      for (const [at, each] of sealed.entries()) insertOlder.run(at, each);
      return true;
    },
  };
}
