import { type PrincipalRef, principalKey } from '../../ids.ts';
import type { Connection } from '../database.ts';
import type { TenantNo } from '../rows.ts';

/** What ends grants beside themselves: whom or what they are of. How `ends` names it. */
export type EndName = `principal ${string}` | `issuer ${string}` | 'tenant';

export const principalEnd = (ref: PrincipalRef): EndName => `principal ${principalKey(ref)}`;
export const issuerEnd = (issuer: string): EndName => `issuer ${issuer}`;
export const TENANT_END = 'tenant';

/** What was killed, and is until it is restored. */
export interface KillStore {
  isKilled(tenantNo: TenantNo, name: EndName): boolean;
}

/** As it stands in the last commit. */
export function killStore(db: Connection): KillStore {
  const find = db
    .prepare<[number, string], 1>('SELECT 1 FROM ends WHERE tenant_no = ? AND name = ? AND is_killed = 1')
    .pluck();
  return { isKilled: (no, name) => find.get(no, name) !== undefined };
}
