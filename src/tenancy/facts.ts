import type { PrincipalStore } from '../storage/principals.ts';
import type { PrincipalRef } from '../ids.ts';
import type { Tenant } from './tenants.ts';

/** What the directory says about a principal at one moment. */
export interface Facts {
  readonly ref: PrincipalRef;
  readonly status: 'active' | 'disabled' | 'unknown';
  /** JSON texts, as stored; they go into policy input without being parsed. */
  readonly groups: string;
  readonly roles: string;
  readonly scopes: string;
  readonly properties: string;
}

/** The policy information point: facts by indexed look-up, joined into each request. */
export type FactSource = (tenant: Tenant, ref: PrincipalRef) => Facts;

export function factSource(store: PrincipalStore): FactSource {
  return (tenant, ref) => {
    const row = store.find(tenant.no, ref);
    if (!row) return { ref, status: 'unknown', groups: '[]', roles: '[]', scopes: '[]', properties: '{}' };
    const { groups, roles, scopes, properties } = row;
    return {
      ref,
      status: row.disabledAt === null ? 'active' : 'disabled',
      groups,
      roles,
      scopes,
      properties,
    };
  };
}
