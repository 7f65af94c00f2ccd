import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { ServiceImpl } from '@connectrpc/connect';
import type { KillSwitches, KillTarget, RestoreTarget } from '../../delegation/kill-switches.ts';
import { ServiceError } from '../../errors.ts';
import {
  CredentialRefSchema,
  type KillRequest,
  type KillService,
  type RestoreRequest,
} from '../../gen/mandate/v1/kill_pb.ts';
import { principalClass } from '../../ids.ts';
import type { Callers } from '../../tenancy/callers.ts';
import type { Tenants } from '../../tenancy/tenants.ts';
import { admit } from './context.ts';

export function killService(parts: {
  tenants: Tenants;
  callers: Callers;
  killSwitches: KillSwitches;
}): ServiceImpl<typeof KillService> {
  const { killSwitches } = parts;
  return {
    async kill(message, context) {
      const { tenant, caller } = await admit(parts, context, message.tenant, 'kill');
      return { ended: await killSwitches.kill(tenant, caller, killTargetIn(message), message.reason) };
    },
    async restore(message, context) {
      const { tenant, caller } = await admit(parts, context, message.tenant, 'kill');
      await killSwitches.restore(tenant, caller, restoreTargetIn(message), message.reason);
      return {};
    },
    async listKills(message, context) {
      const { tenant } = await admit(parts, context, message.tenant, 'kill');
      return {
        kills: killSwitches
          .list(tenant)
          .map(({ target, since }) => ({ target: killedMessage(target), since: timestampFromMs(since) })),
      };
    },
  };
}

function killedMessage(target: RestoreTarget) {
  switch (target.what) {
    case 'issuer':
      return { case: 'issuer', value: target.name } as const;
    case 'tenant':
      return { case: 'wholeTenant', value: true } as const;
    case 'credential': {
      const { principal, id } = target;
      return {
        case: 'credential',
        value: create(CredentialRefSchema, { class: principal.class, id: principal.id, credentialId: id }),
      } as const;
    }
  }
}

/** Throws `invalid_request` and `principal_class_unknown`. */
function killTargetIn({ target }: KillRequest): KillTarget {
  switch (target.case) {
    case 'token':
      return { what: 'token', name: target.value };
    case 'grantId':
      return { what: 'grant', name: target.value };
    case 'agent':
      return { what: 'agent', principal: { class: 'agent', id: target.value } };
    case 'subject': {
      const { class: cls, id } = target.value;
      return { what: 'subject', principal: { class: principalClass(cls), id } };
    }
    default:
      return restoreTargetIn({ target });
  }
}

/** Throws `invalid_request` and `principal_class_unknown`. */
function restoreTargetIn({ target }: Pick<RestoreRequest, 'target'>): RestoreTarget {
  if (target.case === 'issuer') return { what: 'issuer', name: target.value };
  if (target.case === 'wholeTenant' && target.value) return { what: 'tenant' };
  if (target.case === 'credential') {
    const { class: cls, id, credentialId } = target.value;
    return { what: 'credential', principal: { class: principalClass(cls), id }, id: credentialId };
  }
  throw new ServiceError('invalid_request', 'a target is missing');
}
