import type { NamedRef, TenantId } from '../ids.ts';
import type { Connection } from './database.ts';
import { type KeyRow, type MemberKeyRow, SET_ASIDE, type TenantNo } from './rows.ts';

export interface KeyStore {
  /** The tenant's keys, newest first, without those that are gone. */
  list(tenantNo: TenantNo): KeyRow[];
  /** The newest keys of all tenants and logs, to try a master key on. */
  newest(): readonly SealedKey[];
}

export interface KeyCommands {
  /** `undefined` where there is one in that state already. */
  readonly putKey: (args: { tenantNo: TenantNo; key: KeyRow }) => true | undefined;
  /** The next key signs from now on, and the one before verifies; `undefined` where it is not the next one. */
  readonly activateKey: (args: { tenantNo: TenantNo; kid: string; at: number }) => true | undefined;
  /** A key that signs no more is gone; `undefined` for another one. */
  readonly removeKey: (args: { tenantNo: TenantNo; kid: string; at: number }) => true | undefined;
  /** All are gone but this one, which signs. */
  readonly replaceKeys: (args: { tenantNo: TenantNo; key: KeyRow; at: number }) => true;
}

export interface SealedKey {
  readonly sealed: Uint8Array;
  /** What it is bound to. */
  readonly binding: string;
}

/** More than one, as one may be damaged. */
const MOST_TRIED = 64;

/** What the key that seals a tenant's others is bound to. */
export const tenantKeyBinding = (tenant: TenantId): string => `mandate-tenant-key ${tenant}`;

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
    `SELECT kid, alg, public_jwk AS publicJwk, sealed, created_at AS createdAt, state, state_at AS stateAt
     FROM keys WHERE tenant_no = ? AND state <> 'gone' ORDER BY created_at DESC, kid`,
  );
  // A log that was set aside is called otherwise than when its key was sealed.
  const newest = db.prepare<[], { isLog: number; tenant: TenantId; name: string; sealed: Uint8Array }>(
    `SELECT isLog, substr(id, 1, instr(id || '${SET_ASIDE}', '${SET_ASIDE}') - 1) AS tenant, name, sealed FROM (
       SELECT 0 AS isLog, tenant_no, kid AS name, sealed, created_at FROM keys WHERE state IN ('next', 'active')
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
  const ofTenants = db.prepare<[], { tenant: TenantId; sealed: Uint8Array }>(
    `SELECT tenant, sealed FROM tenant_keys LIMIT ${MOST_TRIED}`,
  );
  return {
    list: (no) => list.all(no),
    newest: () => [
      ...ofTenants.all().map(({ tenant, sealed }) => ({ sealed, binding: tenantKeyBinding(tenant) })),
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

export function prepareKeyCommands(db: Connection): KeyCommands {
  const insert = db.prepare<[object]>(`
    INSERT INTO keys (tenant_no, kid, alg, public_jwk, sealed, created_at, state, state_at)
    VALUES (@no, @kid, @alg, @publicJwk, @sealed, @createdAt, @state, @stateAt)
    ON CONFLICT (tenant_no, state) WHERE state IN ('next', 'active') DO NOTHING`);
  const move = db.prepare<[object]>(
    'UPDATE keys SET state = @to, state_at = @at WHERE tenant_no = @no AND kid = @kid AND state = @from',
  );
  // Nobody signs with these any more: what is written over is in no copy of the store that is made from now on.
  const retire = db.prepare<[object]>(`
    UPDATE keys SET state = 'retiring', state_at = @at, sealed = zeroblob(length(sealed))
    WHERE tenant_no = @no AND state = 'active' AND EXISTS
      (SELECT 1 FROM keys WHERE tenant_no = @no AND kid = @kid AND state = 'next')`);
  const removeAll = db.prepare<[object]>(`
    UPDATE keys SET state = 'gone', state_at = @at, sealed = zeroblob(length(sealed))
    WHERE tenant_no = @no AND state <> 'gone'`);
  return {
    putKey: ({ tenantNo: no, key }) => insert.run({ no, ...key }).changes === 1 || undefined,
    activateKey: ({ tenantNo: no, kid, at }) => {
      retire.run({ no, kid, at });
      return move.run({ no, kid, at, from: 'next', to: 'active' }).changes === 1 || undefined;
    },
    removeKey: ({ tenantNo: no, kid, at }) =>
      move.run({ no, kid, at, from: 'retiring', to: 'gone' }).changes === 1 || undefined,
    replaceKeys: ({ tenantNo: no, key, at }) => {
      removeAll.run({ no, at });
      insert.run({ no, ...key });
      return true;
    },
  };
}
