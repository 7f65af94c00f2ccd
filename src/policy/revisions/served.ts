import { LRUCache } from 'lru-cache';
import { ServiceError } from '../../errors.ts';
import type { TenantId } from '../../ids.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import { Turns } from '../../turns.ts';
import type { Bundle } from '../bundle.ts';
import { bundleFiles, packed } from '../exported.ts';
import { type Platform, readPlatform } from '../opa/platform.ts';
import type { PolicySources } from '../sources.ts';

/** How many tenants' archives are kept, and of how many bytes in all. */
const KEPT = 64;
const KEPT_BYTES = 64 * 1024 * 1024;

interface Archive {
  readonly revision: string;
  readonly bytes: Uint8Array;
}

export interface ServedBundlesOptions {
  /** The platform's Rego: `policies/` of the package. */
  readonly policies: string;
  readonly activeOf: (tenant: Tenant) => Bundle | undefined;
  readonly sourcesOf: (tenant: Tenant, revision: string) => Promise<PolicySources | undefined>;
}

/** What decides in a tenant as an archive that OPA takes, so that both can run side by side. */
export class ServedBundles {
  readonly #options: ServedBundlesOptions;
  readonly #archives = new LRUCache<TenantId, Archive>({
    max: KEPT,
    maxSize: KEPT_BYTES,
    sizeCalculation: ({ bytes }) => bytes.length,
  });
  readonly #turns = new Turns<TenantId>();
  #platform: Promise<Platform> | undefined;

  constructor(options: ServedBundlesOptions) {
    this.#options = options;
  }

  /** The revision that is active, as its name is. Throws `policy_undefined`. */
  revisionOf(tenant: Tenant): string {
    const active = this.#options.activeOf(tenant);
    if (!active) throw new ServiceError('policy_undefined', 'the tenant has no policy that compiles');
    return active.revision;
  }

  /** One at a time for each tenant: who asks meanwhile is given the same. */
  archiveOf(tenant: Tenant): Promise<Archive> {
    return this.#turns.run(tenant.id, async () => {
      const revision = this.revisionOf(tenant);
      const known = this.#archives.get(tenant.id);
      if (known?.revision === revision) return known;
      const archive = await this.#made(tenant, revision);
      this.#archives.set(tenant.id, archive);
      return archive;
    });
  }

  async #made(tenant: Tenant, revision: string): Promise<Archive> {
    const { activeOf, sourcesOf, policies } = this.#options;
    const active = activeOf(tenant);
    const sources = await sourcesOf(tenant, revision);
    if (active?.revision !== revision || !sources)
      throw new ServiceError('unavailable', 'the policy changes just now', { retryAfterMs: 1_000 });
    this.#platform ??= readPlatform(policies);
    this.#platform.catch(() => (this.#platform = undefined));
    return { revision, bytes: await packed(bundleFiles(active, sources, await this.#platform)) };
  }
}
