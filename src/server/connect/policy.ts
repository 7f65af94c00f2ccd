import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { ServiceImpl } from '@connectrpc/connect';
import { type PolicyService, type Revision, RevisionSchema } from '../../gen/mandate/v1/policy_pb.ts';
import type { Policies } from '../../policy/policies.ts';
import type { Callers } from '../../tenancy/callers.ts';
import type { Tenant, Tenants } from '../../tenancy/tenants.ts';
import { admit } from './context.ts';

export function policyService(parts: {
  tenants: Tenants;
  callers: Callers;
  policies: Policies;
  /** Compiles and activates, recorded; answers whether the revision changed. Throws `policy_invalid`. */
  reload: (tenant: Tenant, caller: string) => Promise<boolean>;
}): ServiceImpl<typeof PolicyService> {
  const revisionOf = (tenant: Tenant): Revision => {
    const active = parts.policies.of(tenant);
    return create(RevisionSchema, {
      tenant: tenant.id,
      revision: active.revision,
      activatedAt: timestampFromMs(active.activatedAt),
      files: [...active.files],
      current: active.rejected.length === 0,
      diagnostics: [...active.rejected],
    });
  };
  return {
    async getActiveRevision(message, context) {
      const { tenant } = await admit(parts, context, message.tenant, 'policy.read');
      return { revision: revisionOf(tenant) };
    },
    async reloadPolicy(message, context) {
      const { tenant, caller } = await admit(parts, context, message.tenant, 'policy.write');
      const changed = await parts.reload(tenant, caller.id);
      return { changed, revision: revisionOf(parts.tenants.get(tenant.id)) };
    },
  };
}
