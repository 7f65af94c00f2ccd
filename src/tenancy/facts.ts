import { type PrincipalClass, type PrincipalRef, principalClasses } from '../ids.ts';
import { storedJson } from '../storage/faults.ts';
import type { PrincipalStore } from '../storage/principals/store.ts';
import type { TenantNo } from '../storage/rows.ts';
import { heldScopes, type Tenant } from './tenants.ts';

/** What the directory says about a principal at one moment. */
export class Facts {
  readonly ref: PrincipalRef;
  readonly status: 'active' | 'disabled' | 'unknown';
  /** JSON members as stored, `"properties":{…},"groups":[…],"roles":[…]`; the policy input has them word for word. */
  readonly members: string;
  /** How often they came, and what decision/ made of them; to others both mean nothing. */
  asked = 0;
  form: unknown;

  constructor(ref: PrincipalRef, status: Facts['status'], members: string) {
    this.ref = ref;
    this.status = status;
    this.members = members;
  }
}

/** The policy information point: facts by indexed look-up, joined into each request. */
export interface FactSource {
  of(tenant: Tenant, ref: PrincipalRef): Facts;
  /** The scopes the principal holds: its own and those of its roles. */
  heldScopes(tenant: Tenant, ref: PrincipalRef): Set<string>;
  /** Called after a commit that changed principals of the tenant and before anybody hears of it. */
  changed(tenant: Tenant): void;
}

/** Looks facts up in the store and keeps them until the tenant's principals change, of which `onChange` hears. */
export function factSource(store: PrincipalStore, onChange: (tenant: Tenant) => void = () => {}): FactSource {
  const kept = new Kept();
  return {
    of(tenant, ref) {
      const known = kept.get(tenant.no, ref);
      if (known) return known;
      const facts = lookUp(store, tenant, ref);
      // Who is not there is not remembered: names that callers make up would push out those that matter.
      if (facts.status !== 'unknown') kept.keep(tenant.no, facts);
      return facts;
    },
    heldScopes(tenant, ref) {
      const row = store.find(tenant.no, ref);
      return row
        ? heldScopes(tenant, storedJson(row.roles) as string[], storedJson(row.scopes) as string[])
        : new Set();
    },
    changed(tenant) {
      kept.forget(tenant.no);
      store.renew();
      onChange(tenant);
    },
  };
}

/**
 * How many principals each thread keeps at hand, over all tenants: a quarter of a kilobyte for one who came once, two
 * for one who comes often (`form`).
 */
const KEPT = 200_000;

/** Facts by id, for each class and number of a tenant: every map on the way is one more that is in no cache. */
type Generation = Readonly<Record<PrincipalClass, (Map<string, Facts> | undefined)[]>>;

const nobody = (): Generation => ({ user: [], agent: [], mcp_server: [], service: [], job: [] });

/**
 * The facts that were asked for last, in two generations: what is asked for moves to the younger one, and when that has
 * half of what may be kept, the older one is dropped. An order of use for every entry would cost more to keep than most
 * look-ups save once there are many.
 */
class Kept {
  #young = nobody();
  #old = nobody();
  #count = 0;

  get(no: TenantNo, { class: cls, id }: PrincipalRef): Facts | undefined {
    const facts = this.#young[cls][no]?.get(id);
    if (facts) return facts;
    const older = this.#old[cls][no]?.get(id);
    if (older) this.keep(no, older);
    return older;
  }

  keep(no: TenantNo, facts: Facts): void {
    if (this.#count >= KEPT / 2) {
      this.#old = this.#young;
      this.#young = nobody();
      this.#count = 0;
    }
    const { class: cls, id } = facts.ref;
    const ids = (this.#young[cls][no] ??= new Map<string, Facts>());
    ids.set(id, facts);
    this.#count += 1;
  }

  forget(no: TenantNo): void {
    for (const cls of principalClasses) {
      this.#count -= this.#young[cls][no]?.size ?? 0;
      this.#young[cls][no] = undefined;
      this.#old[cls][no] = undefined;
    }
  }
}

const UNKNOWN = '"properties":{},"groups":[],"roles":[]';

function lookUp(store: PrincipalStore, tenant: Tenant, ref: PrincipalRef): Facts {
  const row = store.facts(tenant.no, ref);
  if (!row) return new Facts(ref, 'unknown', UNKNOWN);
  return new Facts(ref, row.disabledAt === null ? 'active' : 'disabled', row.members);
}
