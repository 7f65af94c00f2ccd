import { LRUCache } from 'lru-cache';
import type { PrincipalRef } from '../ids.ts';
import type { PrincipalStore } from '../storage/principals.ts';
import { heldScopes, type Tenant } from './tenants.ts';

/** What the directory says about a principal at one moment. */
export interface Facts {
  readonly ref: PrincipalRef;
  readonly status: 'active' | 'disabled' | 'unknown';
  /** JSON members as stored, `"properties":{…},"groups":[…],"roles":[…]`; the policy input has them word for word. */
  readonly members: string;
}

/** The policy information point: facts by indexed look-up, joined into each request. */
export interface FactSource {
  of(tenant: Tenant, ref: PrincipalRef): Facts;
  /** The scopes the principal holds: its own and those of its roles. */
  heldScopes(tenant: Tenant, ref: PrincipalRef): Set<string>;
  /** Called after a commit that changed principals of the tenant and before anybody hears of it. */
  changed(tenant: Tenant): void;
}

/** How many principals are kept at hand, over all tenants: a quarter of a kilobyte each. */
const KEPT = 100_000;

/** Looks facts up in the store and keeps them until the tenant's principals change, of which `onChange` hears. */
export function factSource(store: PrincipalStore, onChange: (tenant: Tenant) => void = () => {}): FactSource {
  const kept = new LRUCache<string, Facts>({ max: KEPT });
  /** Part of each key: when a tenant's principals change, all of its entries are out of reach at once. */
  const generations = new Map<string, number>();
  return {
    of(tenant, ref) {
      const key = `${tenant.no}.${generations.get(tenant.id) ?? 0}|${ref.class}:${ref.id}`;
      const known = kept.get(key);
      if (known) return known;
      const facts = lookUp(store, tenant, ref);
      // Who is not there is not remembered: names that callers make up would push out those that matter.
      if (facts.status !== 'unknown') kept.set(key, facts);
      return facts;
    },
    heldScopes(tenant, ref) {
      const row = store.find(tenant.no, ref);
      return row
        ? heldScopes(tenant, JSON.parse(row.roles) as string[], JSON.parse(row.scopes) as string[])
        : new Set();
    },
    changed(tenant) {
      generations.set(tenant.id, (generations.get(tenant.id) ?? 0) + 1);
      onChange(tenant);
    },
  };
}

const UNKNOWN = '"properties":{},"groups":[],"roles":[]';

function lookUp(store: PrincipalStore, tenant: Tenant, ref: PrincipalRef): Facts {
  const row = store.facts(tenant.no, ref);
  if (!row) return { ref, status: 'unknown', members: UNKNOWN };
  return { ref, status: row.disabledAt === null ? 'active' : 'disabled', members: row.members };
}
