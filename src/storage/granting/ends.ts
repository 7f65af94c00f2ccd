import { type PrincipalRef, principalKey } from '../../ids.ts';
import type { Connection } from '../database.ts';
import type { TenantNo } from '../rows.ts';

/** What ends grants beside themselves: whom or what they are of. How `ends` names it. */
export type EndName = `principal ${string}` | KillName;
/** What is killed until it is restored. A principal is disabled instead. */
export type KillName = `issuer ${string}` | 'tenant';

export const principalEnd = (ref: PrincipalRef): EndName => `principal ${principalKey(ref)}`;
const ISSUER = 'issuer ';
export const issuerEnd = (issuer: string): KillName => `${ISSUER}${issuer}`;
export const TENANT_END = 'tenant';

/** The issuer that a name is of; undefined for the tenant. */
export const issuerIn = (name: KillName): string | undefined =>
  name === TENANT_END ? undefined : name.slice(ISSUER.length);

export interface KillRow {
  readonly name: KillName;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

export interface KillStore {
  isKilled(tenantNo: TenantNo, name: KillName): boolean;
  /** Whether a grant is kept whose chain began with a token of the issuer. */
  hasGrantsOf(tenantNo: TenantNo, issuer: string): boolean;
  list(tenantNo: TenantNo): KillRow[];
}

/** As it stands in the last commit. */
export function killStore(db: Connection): KillStore {
  const find = db
    .prepare<[number, string], 1>('SELECT 1 FROM ends WHERE tenant_no = ? AND name = ? AND is_killed = 1')
    .pluck();
  const granted = db
    .prepare<[number, string], 1>('SELECT 1 FROM grants WHERE tenant_no = ? AND issuer = ? LIMIT 1')
    .pluck();
  const list = db.prepare<[number], KillRow>(
    'SELECT name, at FROM ends WHERE tenant_no = ? AND is_killed = 1 ORDER BY name',
  );
  return {
    isKilled: (no, name) => find.get(no, name) !== undefined,
    hasGrantsOf: (no, issuer) => granted.get(no, issuer) !== undefined,
    list: (no) => list.all(no),
  };
}
