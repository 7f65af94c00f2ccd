import { ServiceError } from '../../errors.ts';
import type { TenantId } from '../../ids.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import { type Look, type Polling, Puller, type PullerParts } from './puller.ts';
import { type BundleSource, NotPulled } from './source.ts';

/** A tenant whose policy is pulled. */
export interface PulledTenant {
  readonly tenant: TenantId;
  readonly source: BundleSource;
  readonly polling: Polling;
}

/** What whoever asked is told. */
const toCaller =
  (source: string) =>
  (cause: unknown): never => {
    if (!(cause instanceof NotPulled)) throw cause;
    throw new ServiceError('unavailable', `${source} could not be pulled: ${cause.message}`, { cause });
  };

/** The tenants whose policy comes from elsewhere: of their folders the manifest counts alone. */
export class Pulls implements Disposable {
  readonly #parts: PullerParts;
  readonly #configured: ReadonlyMap<TenantId, PulledTenant>;
  readonly #pullers = new Map<TenantId, Puller>();
  /** Whose folder holds a policy that does not count. */
  readonly #unused = new Set<TenantId>();

  constructor(configured: readonly PulledTenant[], parts: PullerParts) {
    this.#configured = new Map(configured.map((each) => [each.tenant, each]));
    this.#parts = parts;
  }

  has(tenant: TenantId): boolean {
    return this.#configured.has(tenant);
  }

  /**
   * The tenant's manifest is as it is now. What was active goes on at once, and the source is looked at behind it; where
   * somebody asks for it, the look is waited for, and rejects as it does. Answers whether the revision changed.
   */
  async enter(tenant: Tenant, { caller, isAsked }: Look, hasFiles: boolean): Promise<boolean> {
    const configured = this.#configured.get(tenant.id);
    if (!configured) return false;
    if (hasFiles) this.#unused.add(tenant.id);
    else this.#unused.delete(tenant.id);
    const puller =
      this.#pullers.get(tenant.id) ??
      new Puller(tenant.id, configured.source, configured.polling, this.#parts);
    this.#pullers.set(tenant.id, puller);
    const isServed = (): boolean => this.#pullers.get(tenant.id) === puller;
    // Where the store fails it is tried again with the next look.
    const changed = await this.#parts.releases.goOn(tenant, { caller, isServed }).catch(() => false);
    if (isAsked) return puller.now({ caller, isAsked }).catch(toCaller(configured.source.name));
    if (!isServed()) return changed;
    puller.remind(tenant);
    void puller.now({ caller: configured.source.name, isAsked }).catch(() => undefined);
    return changed;
  }

  /** Of a tenant that is served no more. */
  forget(tenant: TenantId): void {
    this.#pullers.get(tenant)?.[Symbol.dispose]();
    this.#pullers.delete(tenant);
    this.#unused.delete(tenant);
  }

  /** Why a tenant's policy may not be what stands at its source; empty where it is. */
  problemOf(tenant: TenantId): string {
    const puller = this.#pullers.get(tenant);
    if (!puller || puller.problem === '') return '';
    return `its bundle could not be pulled from ${puller.source.name}: ${puller.problem}`;
  }

  /** What an operator should know, a line each. */
  problems(): string[] {
    return [...this.#configured.keys()].flatMap((id) => {
      const tenant = this.#parts.tenants.find(id);
      if (!tenant) return [`bundles: no tenant ${id} is served`];
      // Without a policy this is what is wrong with it, and said so.
      const problem = this.#parts.policies.of(tenant).revision === '' ? '' : this.problemOf(id);
      const unused = this.#unused.has(id)
        ? 'the policy in its folder does not count, as its bundle is pulled'
        : '';
      return [problem, unused].filter((each) => each !== '').map((each) => `tenant ${id}: ${each}`);
    });
  }

  /** How many tenants' policies may not be what stands at their sources. */
  stale(): number {
    return [...this.#pullers].filter(([id, { problem }]) => {
      const tenant = this.#parts.tenants.find(id);
      return problem !== '' || (tenant && this.#parts.policies.of(tenant).rejected.length > 0);
    }).length;
  }

  [Symbol.dispose](): void {
    for (const puller of this.#pullers.values()) puller[Symbol.dispose]();
    this.#pullers.clear();
  }
}
