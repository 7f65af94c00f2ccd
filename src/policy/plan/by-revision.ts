import { ServiceError } from '../../errors.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import type { PolicySources } from '../sources.ts';
import type { Plan } from './parts.ts';
import type { Planner } from './planner.ts';

/** A plan, and what its condition comes to where that is the same for every resource. */
export interface PlanMade extends Plan {
  readonly always: boolean | undefined;
}

/** Plans by the kept sources of a revision. Rejects with `unavailable` where they are kept no more. */
export const plansBy =
  (planner: Planner, sourcesOf: (tenant: Tenant, revision: string) => Promise<PolicySources | undefined>) =>
  async (tenant: Tenant, revision: string, input: string): Promise<PlanMade> => {
    const sources = async (): Promise<PolicySources> => {
      const kept = await sourcesOf(tenant, revision);
      if (!kept) throw new ServiceError('unavailable', 'the sources of the active revision are not kept');
      return kept;
    };
    const plan = await planner.plan({ tenant: tenant.id, revision, input, sources });
    const { condition } = plan;
    return { ...plan, always: condition.op === 'constant' ? condition.value : undefined };
  };
