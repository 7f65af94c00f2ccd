import { type CredentialEnd, issuerEnd, type KillStore, TENANT_END } from '../storage/granting/ends.ts';
import { Kept } from '../storage/granting/kept.ts';
import type { TenantNo } from '../storage/rows.ts';
import { type Credential, killedAs } from './registry/credentials.ts';
import type { Tenant } from './tenants.ts';

const ISSUERS_BYTES = 1024 * 1024;

/** What of a tenant is killed. Whether the tenant itself is, each decision asks, so that is kept until it changes. */
export class Kills {
  readonly #store: KillStore;
  readonly #tenants = new Map<TenantNo, boolean>();
  readonly #credentials = new Map<TenantNo, { ends: number; killed: ReadonlyMap<CredentialEnd, number> }>();
  readonly #ends: () => number;
  /** By tenant number and issuer. */
  readonly #issuers = new Kept<boolean>(ISSUERS_BYTES);

  /** `ends` is another number once something may have been killed (`Pulse.ends`). */
  constructor(store: KillStore, ends: () => number) {
    this.#store = store;
    this.#ends = ends;
  }

  isKilled({ no }: Tenant): boolean {
    const known = this.#tenants.get(no);
    if (known !== undefined) return known;
    const killed = this.#store.isKilled(no, TENANT_END);
    this.#tenants.set(no, killed);
    return killed;
  }

  isIssuerKilled({ no }: Tenant, issuer: string): boolean {
    const ends = this.#ends();
    const name = `${no} ${issuer}`;
    const known = this.#issuers.get(name, ends);
    if (known !== undefined) return known;
    const killed = this.#store.isKilled(no, issuerEnd(issuer));
    this.#issuers.set(name, killed, 2 * name.length, ends);
    return killed;
  }

  /** Since when nobody authenticates by it, in milliseconds since the epoch; undefined where it is not killed. */
  credentialKilledAt(tenant: Tenant, credential: Credential): number | undefined {
    const killed = this.#credentialsOf(tenant);
    if (killed.size === 0) return undefined;
    for (const name of killedAs(credential)) {
      const at = killed.get(name);
      if (at !== undefined) return at;
    }
    return undefined;
  }

  #credentialsOf({ no }: Tenant): ReadonlyMap<CredentialEnd, number> {
    const ends = this.#ends();
    const known = this.#credentials.get(no);
    // Without a number to tell by, NaN, each look is a new one.
    if (known?.ends === ends) return known.killed;
    const killed = this.#store.credentials(no);
    this.#credentials.set(no, { ends, killed });
    return killed;
  }

  /** Called after a commit that killed or restored something of the tenant, and before anybody hears of it. */
  changed({ no }: Tenant): void {
    this.#tenants.delete(no);
  }
}
