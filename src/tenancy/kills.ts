import { issuerEnd, type KillStore, TENANT_END } from '../storage/granting/ends.ts';
import type { TenantNo } from '../storage/rows.ts';
import type { Tenant } from './tenants.ts';

/** What of a tenant is killed. Whether the tenant itself is, each decision asks, so that is kept until it changes. */
export class Kills {
  readonly #store: KillStore;
  readonly #tenants = new Map<TenantNo, boolean>();

  constructor(store: KillStore) {
    this.#store = store;
  }

  isKilled({ no }: Tenant): boolean {
    const known = this.#tenants.get(no);
    if (known !== undefined) return known;
    const killed = this.#store.isKilled(no, TENANT_END);
    this.#tenants.set(no, killed);
    return killed;
  }

  isIssuerKilled({ no }: Tenant, issuer: string): boolean {
    return this.#store.isKilled(no, issuerEnd(issuer));
  }

  /** Called after a commit that killed or restored something of the tenant, and before anybody hears of it. */
  changed({ no }: Tenant): void {
    this.#tenants.delete(no);
  }
}
