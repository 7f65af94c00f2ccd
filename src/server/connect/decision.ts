import type { ServiceImpl } from '@connectrpc/connect';
import type { Decisions } from '../../decision/decisions.ts';
import type { DecisionService } from '../../gen/mandate/v1/decision_pb.ts';
import type { Callers } from '../../tenancy/callers.ts';
import type { Tenants } from '../../tenancy/tenants.ts';
import { admit } from './context.ts';
import { checkResponse, requestOf } from './messages.ts';

export function decisionService(parts: {
  tenants: Tenants;
  callers: Callers;
  decisions: Decisions;
}): Pick<ServiceImpl<typeof DecisionService>, 'check'> {
  return {
    async check(message, context) {
      const { tenant, caller } = admit(parts, context, message.tenant, 'check');
      return checkResponse(await parts.decisions.check(tenant, caller, requestOf(message)));
    },
  };
}
