import type { Clock } from '../../effects.ts';
import type { TenantId } from '../../ids.ts';
import type { Policies } from '../../policy/policies.ts';
import type { TenantNo } from '../../storage/rows.ts';
import type { Callers, Presented } from '../../tenancy/callers.ts';
import type { Freshness } from '../../tenancy/freshness.ts';
import type { Tenant, Tenants } from '../../tenancy/tenants.ts';
import { withoutSecrets } from '../offload/thread.ts';
import type { AskedWith, Ticket, ToAccepting, Vouch, WantedToken } from './protocol.ts';

export interface TenantParts {
  readonly policies: Pick<Policies, 'bundleOf' | 'stagedOf'>;
  readonly tenants: Pick<Tenants, 'find'>;
  readonly callers: Pick<Callers, 'known'>;
  /** Whether a token is one that was found good (`Tokens.vouches`). */
  readonly vouches: (tenant: Tenant, token: string, now: number) => boolean;
  readonly freshness: Freshness;
  readonly clock: Clock;
  /** How far what main knows of a tenant is. */
  readonly versionOf: (no: TenantNo) => number;
}

/** What one thread has been told of tenants, and of who may ask there. */
export class ToldTenants {
  readonly #parts: TenantParts;
  readonly #post: (message: ToAccepting) => void;
  readonly #raise: () => void;
  /** As it was told of them. */
  readonly #known = new Map<TenantId, Tenant>();
  /** Whose policy it has, known or not. */
  readonly #taken = new Set<TenantId>();
  readonly #ids: (TenantId | undefined)[] = [];

  /** `raise`: what was posted before is known to the thread before whatever it decides from now on. */
  constructor(parts: TenantParts, post: (message: ToAccepting) => void, raise: () => void) {
    this.#parts = parts;
    this.#post = post;
    this.#raise = raise;
  }

  idOf(no: TenantNo): TenantId | undefined {
    return this.#ids[no];
  }

  forget(tenant: TenantId): void {
    const isRetired = this.#parts.tenants.find(tenant) === undefined;
    const isKnown = this.#known.delete(tenant);
    if (isRetired ? this.#taken.delete(tenant) : isKnown) this.#tell({ forget: tenant, isRetired });
  }

  changed(tenant: Tenant): void {
    if (this.#ids[tenant.no] !== undefined) this.#tell({ changed: withoutSecrets(tenant) });
  }

  reached(no: TenantNo, version: number): void {
    if (this.#ids[no] !== undefined) this.#tell({ version, of: no });
  }

  #tell(message: ToAccepting): void {
    this.#post(message);
    this.#raise();
  }

  /**
   * Says who that is in a tenant, and tells of the tenant first. What can be known of no one at a look is asked each time.
   * `presented`: undefined where the connection has ended.
   */
  ticket({ tenant: id, asked }: NonNullable<AskedWith['wants']>, presented: Presented | undefined): Ticket {
    const { tenants, callers } = this.#parts;
    const tenant = tenants.find(id);
    const known = tenant && presented && callers.known(tenant, presented, 'check');
    // A tenant is not told of for whoever is nobody there: to take it in costs the thread, and so everybody on it.
    if (!known || !this.#learn(tenant))
      return { tenant: id as TenantId, asked, caller: undefined, forMs: TICKET_MS };
    const { caller, forMs } = known;
    return {
      tenant: tenant.id,
      asked,
      caller: {
        caller: caller.id,
        audiences: caller.audiences,
        readsPolicy: caller.may.has('policy.read'),
        no: 0,
      },
      forMs: Math.min(TICKET_MS, forMs),
    };
  }

  /** A token that is new is looked at by the call that brings it, and is known by the next. */
  vouch({ tenant: id, token, asked }: WantedToken): Vouch {
    const { tenants, vouches, freshness, clock } = this.#parts;
    const tenant = tenants.find(id);
    const isVouched = tenant !== undefined && vouches(tenant, token, clock());
    // The next one is to bring it again at once.
    return {
      tenant: id,
      token,
      asked,
      isVouched,
      forMs: isVouched ? Math.min(TICKET_MS, freshness.leftMs) : 0,
    };
  }

  /** Tells it of the tenant, unless it knows. Answers whether it can decide for it. */
  #learn(tenant: Tenant): boolean {
    // What is sealed takes keys, which no thread but main has.
    if (tenant.manifest.audit.sealed.length > 0) return false;
    if (this.#known.get(tenant.id) === tenant) return true;
    const { policies, versionOf } = this.#parts;
    const bundle = policies.bundleOf(tenant);
    if (!bundle) return false;
    this.#post({ tenant: withoutSecrets(tenant), bundle, staged: policies.stagedOf(tenant) });
    this.#post({ version: versionOf(tenant.no), of: tenant.no });
    this.#known.set(tenant.id, tenant);
    this.#taken.add(tenant.id);
    this.#ids[tenant.no] = tenant.id;
    return true;
  }
}

/** For how long a caller may ask before main looks at it again: as near as the last use of a credential is known. */
const TICKET_MS = 10_000;
