import { ServiceError } from '../../errors.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import type { PolicySources } from '../sources.ts';
import type { OpaAnswer, OpaQueries, OpaQuestion } from './query.ts';

/** Queries by the kept sources of a revision. Rejects with `unavailable` where they are kept no more. */
export const queriesBy =
  (
    queries: OpaQueries,
    sourcesOf: (tenant: Tenant, revision: string) => Promise<PolicySources | undefined>,
  ) =>
  (tenant: Tenant, revision: string, question: OpaQuestion): Promise<OpaAnswer> =>
    queries.ask(tenant.id, question, async () => {
      const kept = await sourcesOf(tenant, revision);
      if (!kept) throw new ServiceError('unavailable', 'the sources of the active revision are not kept');
      return kept;
    });
