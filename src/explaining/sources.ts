import { sourcesBehind } from '../policy/bundle.ts';
import type { Policies } from '../policy/policies.ts';
import type { PolicySources } from '../policy/sources.ts';
import type { Tenant } from '../tenancy/tenants.ts';

/** What a revision of a tenant was made from; undefined where it is not kept. */
export type SourcesOf = (tenant: Tenant, revision: string) => Promise<PolicySources | undefined>;

/** Of the active revision alone, whose sources are in memory: the one place to put a store of revisions behind. */
export const activeSources =
  (policies: Pick<Policies, 'bundleOf'>): SourcesOf =>
  async (tenant, revision) => {
    const bundle = policies.bundleOf(tenant);
    return bundle?.revision === revision ? sourcesBehind(bundle, tenant.id) : undefined;
  };
